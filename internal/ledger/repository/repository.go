// Package repository writes the TUF repository (TUF 1.0) that update clients
// read: a folder of static files which any web server or bucket can serve.
//
// It promises: the folder is a whole, valid repository at every moment, whenever
// the process is killed or the disk is full; numbers (of heads, offers and
// metadata) never go down; a path never gets other bytes; nothing becomes visible
// that an independent TUF client, asked before, would refuse. What clients may
// install is signed by the threshold of a product's release keys, which this
// package never holds: it gives out signing requests and takes answers. The one
// key that it may hold, the online key, dates what others have signed.
//
// It does not decide whether a release may be offered, nor whether its log entry
// is good: the release room does, and clients check it themselves.
//
// Start at [Service.Offer], then [Service.Stage], [Service.Assemble] and
// [Service.Renew]; [Handler] serves the folder.
package repository

import (
	"cmp"
	"context"
	"slices"
	"time"

	"clerestory.dev/clerestory/internal/base/blob"
	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/ledger/keyring"
	"clerestory.dev/clerestory/internal/ledger/signing"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// Policy is how long things are valid and kept. The zero value of a field means
// its default.
type Policy struct {
	// Timestamp is how long the newest state counts as new (default 24 h). The
	// shorter, the sooner a client notices that somebody withholds updates, and
	// the less time there is to repair a server that can not sign.
	Timestamp time.Duration
	Snapshot  time.Duration // default 7 days
	// Product is for what release keys sign (default 90 days), Targets for what
	// root keys sign (default 1 year): people must be called together for these.
	Product time.Duration
	Targets time.Duration
	// Keep is how many versions of a channel stay offered (default 10, at most 16).
	Keep int
	// Deltas is from how many earlier versions a delta is made (default 10), and
	// DeltaSize the largest file that gets one (default 64 MiB): both contents are
	// held in memory.
	Deltas    int
	DeltaSize int64
	// Grace is how long files of an earlier state stay for clients that are in the
	// middle of an update, and for mirrors (default 7 days).
	Grace time.Duration
	// Flat is up to how many targets of a product stand in one file; more are
	// spread over hash bins (default 500).
	Flat int
	// Stop halts an offer by itself.
	Stop Stop
}

// Stop is when clients' reports halt an offer: Failed percent (default 5) of at
// least Reports (default 20) have failed.
type Stop struct {
	Failed  int
	Reports int64
}

// Service writes one repository. Its methods may be called concurrently, also
// from several processes on one database and folder.
type Service struct {
	DB    *store.DB
	Blobs *blob.Disk
	Dir   string // of the repository
	// Roots are all versions of the trusted root, the first one first.
	Roots func() ([][]byte, error)
	// Release gives the keys that release a product, and how many must sign.
	Release func(ctx context.Context, product string) (Keys, error)
	// Online are the unlocked keys of the roles snapshot and timestamp; without
	// them nothing becomes visible.
	Online []statement.Signer
	Now    func() time.Time
	Policy Policy
}

// Keys are the keys of a role. Each should have a holder of its own: TUF counts
// keys, not people (see [KeysOfLog]).
type Keys struct {
	Parties   []signing.Party
	Threshold int // how many must sign
}

func (k Keys) ids() []string {
	all := []string{}
	for _, p := range k.Parties {
		all = append(all, p.Public.ID())
	}
	slices.Sort(all)
	return all
}

// KeysOfLog finds the keys that the log gives the role release for a product,
// now, and as the threshold how many holders the root in force asks for. Of a
// holder's keys the one that got the role last counts, so that nobody can meet
// the threshold alone.
func KeysOfLog(db *store.DB, roots func() ([][]byte, error)) func(context.Context, string) (Keys, error) {
	return func(ctx context.Context, product string) (Keys, error) {
		trust, _, err := newestTrust(roots)
		if err != nil {
			return Keys{}, err
		}
		next, err := db.Next(ctx)
		if err != nil {
			return Keys{}, err
		}
		states, err := keyring.States(ctx, db)
		if err != nil {
			return Keys{}, err
		}
		revoked := map[string]bool{} // in one role is in all: others may hold the key
		for _, st := range states {
			revoked[st.Key.KeyID] = revoked[st.Key.KeyID] || st.Key.Action == statement.KeyRevoke
		}
		slices.SortFunc(states, func(a, b keyring.State) int { return cmp.Compare(b.Entry, a.Entry) })
		keys := Keys{Threshold: trust.ReleaseHolders(product, next)}
		for _, st := range states {
			k := st.Key
			counted := slices.ContainsFunc(keys.Parties, func(p signing.Party) bool { return p.Holder == k.Holder })
			covers := slices.Contains(k.Products, product) || slices.Contains(k.Products, "*")
			if st.Active && k.Role == "release" && covers && !counted && !revoked[k.KeyID] {
				keys.Parties = append(keys.Parties, signing.Party{Public: k.Public, Holder: k.Holder})
			}
		}
		return keys, nil
	}
}

// filled is the policy with its defaults.
func (p Policy) filled() Policy {
	day := 24 * time.Hour
	or(&p.Timestamp, day)
	or(&p.Snapshot, 7*day)
	or(&p.Product, 90*day)
	or(&p.Targets, 365*day)
	or(&p.Keep, 10)
	or(&p.Deltas, 10)
	or(&p.DeltaSize, 64<<20)
	or(&p.Grace, 7*day)
	or(&p.Flat, 500)
	or(&p.Stop.Failed, 5)
	or(&p.Stop.Reports, 20)
	return p
}

func or[T comparable](field *T, standard T) {
	var zero T
	if *field == zero {
		*field = standard
	}
}

// trust is the root in force, and the files of all.
func (s *Service) trust() (*verify.Trust, [][]byte, error) { return newestTrust(s.Roots) }

func newestTrust(roots func() ([][]byte, error)) (*verify.Trust, [][]byte, error) {
	all, err := roots()
	if err != nil {
		return nil, nil, err
	}
	if len(all) == 0 {
		return nil, nil, fault.Unavailable.New("there is no trusted root yet")
	}
	t, err := verify.ParseTrust(all[len(all)-1])
	return t, all, err
}

// now is the time in the whole seconds that TUF has.
func (s *Service) now() time.Time { return s.Now().UTC().Truncate(time.Second) }
