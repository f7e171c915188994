// Package advisory is the room where weaknesses of released products are told of,
// and where reports of weaknesses come in.
//
// It promises: an advisory is a CSAF 2.0 document about exact versions that were
// released, and it is said, with an OpenVEX document derived from it, in the
// transaction that publishes it; an advisory that was published is never changed
// in place, a newer version takes its place and both can be read; nothing is said
// that package verify would not believe. A report is encrypted before it is
// stored, to a key that is on no server; what is said about reports are counts.
// It refuses documents that the standard's mandatory tests refuse, those that are
// not public (TLP), and products and versions that were never released.
//
// Start at [Service.Check] and [Service.Publish]; at [Service.File] for the folder
// that CSAF readers ask for; at [Service.Receive] for a report.
package advisory

import (
	"context"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/programme"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/ledger/keyring"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// Caps are the bounds on what comes from outside.
var Caps = struct {
	Document int // bytes of a CSAF document
	Findings int // that are told at once
	Versions int // bound versions of a document
	Report   int // bytes of one report's text
	Field    int // bytes of its other fields
	PerDay   int // reports that are taken in 24 hours, from everybody together
	Open     int // reports that wait for their first step; more are not taken
}{Document: 1 << 20, Findings: 50, Versions: 256, Report: 32 << 10, Field: 400, PerDay: 500, Open: 5000}

// Releases is what this room asks of the room of releases.
type Releases interface {
	// Files are the files of a version that was released, whether or not it was
	// revoked later; another version is NotFound.
	Files(ctx context.Context, product, version string) ([]verify.File, error)
}

// Service is the room. Its methods may be called concurrently.
type Service struct {
	DB       *store.DB
	Releases Releases
	// Roots are all versions of the trusted root, the first one first.
	Roots func() ([][]byte, error)
	// Programme is the programme in force.
	Programme func(context.Context) (*programme.Programme, error)
	URL       string // the portal's, without a slash at the end
	Now       func() time.Time
}

// authority is who may say what, by the key statements said so far.
func (s *Service) authority(ctx context.Context) (*verify.Authority, error) {
	return keyring.AuthorityNow(ctx, s.DB, s.Roots)
}

// say signs a payload, checks as a stranger would that the statement will be
// believed at its place in the log, and writes it in this transaction.
func (s *Service) say(ctx context.Context, tx *store.Tx, a *verify.Authority, payload []byte, signer statement.Signer) (int64, error) {
	e, err := statement.Sign(payload, signer)
	if err != nil {
		return 0, err
	}
	n, err := tx.Say(ctx, e, s.Now())
	if err != nil {
		return 0, err
	}
	raw, err := e.Format()
	if err != nil {
		return 0, err
	}
	entry, err := verify.ParseEntry(n, raw)
	if err != nil {
		return 0, fault.Invalid.New("saying it: %w", err)
	}
	if _, err := a.Believe(entry); err != nil {
		return 0, fault.Denied.New("nobody would believe it: %w", err)
	}
	return n, nil
}

func (s *Service) stamp() string { return stamp(s.Now()) }

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// moment reads a time of a document that was checked.
func moment(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}
