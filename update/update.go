// Package update is the client that a product embeds to update itself: it puts
// nothing in place that did not come through the vendor's whole release process.
//
// It promises that an installed version was named by the vendor's TUF repository,
// stands in the vendor's log with the quorum of witnesses, was approved, was not
// revoked, and was rebuilt by as many builders as the product's policy asks for;
// that a power cut or a kill at any moment leaves the old version or the new one;
// and that the last good version stays when anything is wrong.
//
// It refuses to go back: to an older state of the repository, of the log or of
// the channel. It believes one file, the trusted root, and needs no server of
// Clerestory: a plain static mirror will do. Each refusal is a [Refusal] whose
// Code says which attack or accident it is and whose text says exactly why.
//
// Start at [New] and [Client.Update]. [Head] is what a channel offers;
// [MakeDelta] and [ApplyDelta] are how small a change travels.
package update

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// Config is what a client needs to know. Trust, Repo, Dir, Product and Channel
// must be set.
type Config struct {
	// Trust is the vendor's trusted_root.json, as it was built into the product or
	// compared by a person. All belief starts here.
	Trust []byte
	// Repo is where the vendor's repository lies: an http(s) URL, a file:// URL or
	// a folder. It needs no protection: nothing it says is believed unproven.
	Repo string
	// Log is where the log's static files lie; "" tries "log/" in the repository,
	// then the URL in the trusted root.
	Log string
	// Dir gets versions/, the link current, and state/. It belongs to this client
	// alone; whoever can write there can replace the product.
	Dir     string
	Product string
	Channel string
	// HTTP makes the requests; nil means a client of its own that honours
	// HTTPS_PROXY, HTTP_PROXY and NO_PROXY.
	HTTP *http.Client
	// Now is the local clock; nil means time.Now.
	Now    func() time.Time
	Policy Policy
	// Health is the product's own check of a version that was just put in place, in
	// its folder; an error brings the version before back. nil means none.
	Health func(ctx context.Context, folder, version string) error
	// Mode is a file's permissions; nil means 0755 for what can be run (ELF,
	// Mach-O, PE, "#!") and 0644 for the rest.
	Mode   func(name string, start []byte) os.FileMode
	Limits Limits
}

// Policy is what this product asks for beyond what the trusted root does.
type Policy struct {
	// Builders is how many different builders must have got the same bytes, the
	// vendor's own included, of every file but the bill of materials. 0 asks for
	// none: a file that no build lists is told of in a note.
	Builders int
	// UnsafeUnreproducible accepts a version that nobody rebuilt after one that
	// others had rebuilt. Without it such a change is refused: a build that stops
	// being reproducible is how a tampered builder looks.
	UnsafeUnreproducible bool
}

// Limits are the caps on what comes from outside; a zero means the default.
type Limits struct {
	Root      int64 // bytes of one version of the root; 256 KB
	Timestamp int64 // 16 KB
	Metadata  int64 // bytes of a snapshot, a targets role or a head; 8 MB
	Roots     int   // root versions followed at once; 64
	Roles     int   // targets roles read for one target; 32
	Total     int64 // bytes of one version's files; 64 GB
	// MinSpeed is how many bytes a second must come, over each Patience; less is a
	// mirror that would never let the update end. 1024.
	MinSpeed int64
	Patience time.Duration // 30 s
	Tries    int           // of one file, each going on where the last broke off; 4
	// LogEntries is how many entries of the log are read at once for revocations;
	// beyond that the report says that they were not looked for. 20,000.
	LogEntries int64
	Health     time.Duration // how long the product's own check may take; 2 minutes
}

func (l Limits) withDefaults() Limits {
	or := func(v *int64, d int64) {
		if *v <= 0 {
			*v = d
		}
	}
	or(&l.Root, int64(verify.Limits.Trust))
	or(&l.Timestamp, 16<<10)
	or(&l.Metadata, 8<<20)
	or(&l.Total, 64<<30)
	or(&l.MinSpeed, 1024)
	or(&l.LogEntries, 20_000)
	or((*int64)(&l.Patience), int64(30*time.Second))
	or((*int64)(&l.Health), int64(2*time.Minute))
	if l.Roots <= 0 {
		l.Roots = 64
	}
	if l.Roles <= 0 {
		l.Roles = 32
	}
	if l.Tries <= 0 {
		l.Tries = 4
	}
	return l
}

// Client updates one product in one folder. Its methods may be called from
// several goroutines and processes: one works at a time, the others get Busy.
type Client struct {
	cfg   Config
	trust *verify.Trust
	repo  source
	// at is told where the work is: a test kills the process there.
	at func(moment string)
}

// New checks the configuration. It reads no file and asks nobody.
func New(cfg Config) (*Client, error) {
	trust, err := verify.ParseTrust(cfg.Trust)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(statement.CheckID("product", cfg.Product), statement.CheckID("channel", cfg.Channel)); err != nil {
		return nil, err
	}
	if cfg.Dir == "" || cfg.Repo == "" {
		return nil, errors.New("the update client needs a repository and a folder")
	}
	if cfg.Policy.Builders < 0 || cfg.Policy.Builders > 100 {
		return nil, errors.New("the policy's builders must be 0 to 100")
	}
	if cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.HTTP == nil {
		cfg.HTTP = &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()}
	}
	if cfg.Mode == nil {
		cfg.Mode = modeOf
	}
	cfg.Limits = cfg.Limits.withDefaults()
	c := &Client{cfg: cfg, trust: trust, at: func(string) {}}
	if c.repo, err = openSource(cfg.Repo, cfg.HTTP); err != nil {
		return nil, err
	}
	return c, nil
}
