package detection

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"clerestory.dev/clerestory/internal/base/blob"
	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/ledger/keyring"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// The gates that tests of a base answer.
const (
	GateCheck = "base-check"   // it compiles, and its own tests pass
	GateClean = "replay-clean" // it newly matches nothing in the clean corpora
	GateKnown = "replay-known" // what it detected in the known corpora it still does
)

// MaxReport is the largest full report that is kept beside its statement, in bytes.
const MaxReport = 64 << 20

// shown is how many single results a statement names, the first number with which
// it fits into a log entry; the full report is named by its hash.
var shown = []int{100, 30, 8, 1}

// Service says what tests came to. Its methods may be called concurrently.
type Service struct {
	DB *store.DB
	// Blobs keeps the full reports, by their hash.
	Blobs *blob.Disk
	// Roots are all versions of the trusted root, the first one first.
	Roots func() ([][]byte, error)
	Now   func() time.Time
}

// Outcome is what one gate's test came to.
type Outcome struct {
	Gate    string
	Passed  bool
	With    []statement.Resource // what it ran with: corpora, engines, the base before
	Passes  []string             // what was looked at and found good
	Fails   []string             // what was not; none when it passed
	Numbers map[string]int64
}

// Said names a statement that was said.
type Said struct {
	Entry int64
	Hash  string // statement.HashOf its envelope
}

// SayTests says what tests of exactly these files came to, a statement for each
// gate, all or none. report is the full result, for people; it is kept. signer
// must have the role "tester" for the product in the log.
func (s *Service) SayTests(ctx context.Context, product string, subjects []statement.Subject, outcomes []Outcome, report []byte, signer statement.Signer) ([]Said, error) {
	kept, err := s.Blobs.Put(ctx, bytes.NewReader(report), MaxReport)
	if err != nil {
		return nil, fmt.Errorf("keeping the report of the tests: %w", err)
	}
	now := s.Now()
	var envelopes []*statement.Envelope
	for _, o := range outcomes {
		e, err := o.sign(product, subjects, kept.SHA256, now, signer)
		if err != nil {
			return nil, fmt.Errorf("stating the test for the gate %s: %w", o.Gate, err)
		}
		envelopes = append(envelopes, e)
	}
	a, err := s.authority(ctx)
	if err != nil {
		return nil, err
	}
	var said []Said
	err = s.DB.Write(ctx, func(tx *store.Tx) error {
		said = nil // the transaction may run again
		for _, e := range envelopes {
			one, err := say(ctx, tx, a, e, now)
			if err != nil {
				return err
			}
			said = append(said, one)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("stating the tests of %s: %w", product, err)
	}
	return said, nil
}

func (o Outcome) sign(product string, subjects []statement.Subject, report string, now time.Time, signer statement.Signer) (*statement.Envelope, error) {
	var payload []byte
	var err error
	for _, n := range shown {
		if payload, err = statement.New(subjects, o.result(product, report, now, n)); err != nil {
			continue
		}
		if len(payload)/3*4+1024 < statement.Limits.Envelope {
			return statement.Sign(payload, signer)
		}
		err = fmt.Errorf("it has %d bytes, too many for a log entry", len(payload))
	}
	return nil, fault.Invalid.New("%w", err)
}

func (o Outcome) result(product, report string, now time.Time, shown int) *statement.TestResult {
	r := &statement.TestResult{
		Result:        statement.TestPassed,
		Configuration: append([]statement.Resource{{Name: o.Gate}}, o.With...),
		PassedTests:   short(o.Passes, shown), FailedTests: short(o.Fails, shown),
		Clerestory: statement.TestFacts{
			Product: product, Numbers: o.Numbers, At: now.UTC().Format(time.RFC3339),
			Report: statement.Resource{Name: "report.json", Digest: map[string]string{"sha256": report}},
		},
	}
	if !o.Passed || len(o.Fails) > 0 { // a gate fails closed
		r.Result = statement.TestFailed
	}
	return r
}

// short is the first n of many results, and how many more there are.
func short(all []string, n int) []string {
	var out []string
	for i, name := range all {
		if i == n {
			return append(out, fmt.Sprintf("and %d more: see the report", len(all)-n))
		}
		out = append(out, clip(plain(name), 200))
	}
	return out
}

func (s *Service) authority(ctx context.Context) (*verify.Authority, error) {
	return keyring.AuthorityNow(ctx, s.DB, s.Roots)
}

// say writes a statement in this transaction, if a stranger would believe it at
// its place in the log.
func say(ctx context.Context, tx *store.Tx, a *verify.Authority, e *statement.Envelope, now time.Time) (Said, error) {
	n, err := tx.Say(ctx, e, now)
	if err != nil {
		return Said{}, err
	}
	raw, err := e.Format()
	if err != nil {
		return Said{}, err
	}
	entry, err := verify.ParseEntry(n, raw)
	if err != nil {
		return Said{}, fault.Invalid.New("saying it: %w", err)
	}
	if _, err := a.Believe(entry); err != nil {
		return Said{}, fault.Denied.New("nobody would believe it: %w", err)
	}
	return Said{n, statement.HashOf(raw)}, nil
}
