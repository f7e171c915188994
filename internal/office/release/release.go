// Package release is the room where a version of a product comes to be: proposed
// with its files, source, provenance and bill of materials, looked at and tested,
// approved by different people with their own keys, signed, said as one statement
// that carries their signatures, and taken back if need be.
//
// It promises: a release takes only the steps of the table [Moves], whoever calls;
// what people approve is the exact bytes of the statement that is published; a
// proposal that changes loses its approvals; a version that was said never gets
// another content; what a rule of the programme asks for holds at the moment at
// which the release is said; nothing is said that package verify would not
// believe. It refuses approvals by keys that the log does not give the role, by
// the author under any account, and a second one by the same person. It renders
// no pages but the auditor's ([Service.Evidence]).
//
// Start at [Moves], then [Service.Propose], [Service.Approve], [Service.Publish],
// [Service.Missing] and [Service.Bundle].
package release

import (
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

// MaxFile is the largest file of a release, in bytes.
const MaxFile = 64 << 30

// Ledger is what this room asks of the log.
type Ledger interface {
	// Checkpoint is the newest published, witnessed checkpoint. Before the first
	// one it is Unavailable.
	Checkpoint(ctx context.Context) ([]byte, error)
	// Prove proves that entry n is in the log with that checkpoint, which covers it.
	Prove(ctx context.Context, n int64, checkpoint []byte) (*verify.Proof, error)
}

// Service is the room. Its methods may be called concurrently.
type Service struct {
	DB     *store.DB
	Blobs  *blob.Disk
	Ledger Ledger
	// Roots are all versions of the trusted root, the first one first.
	Roots func() ([][]byte, error)
	Now   func() time.Time
}

// Release is one version of a product, in whatever state.
type Release struct {
	ID           string
	State        State
	Statement    statement.Release
	Payload      []byte // the exact in-toto statement
	PayloadHash  string // SHA-256 of it, hex: what an approver compares
	ProposedBy   string
	ProposedAt   time.Time
	Entry        int64     // log entry of the release statement; -1 before it is said
	PublishedAt  time.Time // when it was said
	RevokedBy    int64     // log entry of the revocation, or -1
	Restores     string    // the version whose content this one brings back, or ""
	SupersededBy string    // the version that took its place, or ""
	Files        []File
	Reviews      []Review
	Approvals    []Approval
	Signings     []Signing
}

// Emergency tells whether the release goes, or went, the emergency path.
func (r *Release) Emergency() bool { return r.Statement.Emergency.Why != "" }

// File is one file of a release.
type File struct {
	Name   string
	SHA256 string
	Size   int64
}

// Approval is one person's signature over the payload.
type Approval struct {
	Holder string
	KeyID  string
	At     time.Time
	sig    []byte
}

// Review is that somebody has looked at exactly this text.
type Review struct {
	Holder string
	Note   string
	At     time.Time
}

// Signing is a release key's signature over the payload.
type Signing struct {
	Holder string // as the log has it when it is weighed; empty as stored
	KeyID  string
	At     time.Time
	sig    []byte
}

// trust is the root in force.
func (s *Service) trust() (*verify.Trust, error) {
	roots, err := s.Roots()
	if err != nil {
		return nil, err
	}
	if len(roots) == 0 {
		return nil, fault.Unavailable.New("there is no trusted root yet")
	}
	return verify.ParseTrust(roots[len(roots)-1])
}

// authority is who may say what, by the key statements said so far.
func (s *Service) authority(ctx context.Context) (*verify.Authority, error) {
	return keyring.AuthorityNow(ctx, s.DB, s.Roots)
}

// say signs a payload, checks as a stranger would that the statement will be
// believed at its place in the log, and writes it in this transaction.
func (s *Service) say(ctx context.Context, tx *store.Tx, a *verify.Authority, e *statement.Envelope) (verify.Entry, error) {
	n, err := tx.Say(ctx, e, s.Now())
	if err != nil {
		return verify.Entry{}, err
	}
	raw, err := e.Format()
	if err != nil {
		return verify.Entry{}, err
	}
	entry, err := verify.ParseEntry(n, raw)
	if err != nil {
		return verify.Entry{}, fault.Invalid.New("saying it: %w", err)
	}
	if _, err := a.Believe(entry); err != nil {
		return verify.Entry{}, fault.Denied.New("nobody would believe it: %w", err)
	}
	return entry, nil
}

// Said names a statement that was said.
type Said struct {
	Entry int64
	Hash  string // statement.HashOf its envelope
}

// sayOnce says a statement, or finds the one that was said already with the
// same bytes.
func (s *Service) sayOnce(ctx context.Context, payload []byte, signer statement.Signer) (Said, error) {
	e, err := statement.Sign(payload, signer)
	if err != nil {
		return Said{}, err
	}
	raw, err := e.Format()
	if err != nil {
		return Said{}, err
	}
	hash := statement.HashOf(raw)
	if old, err := s.DB.SaidByHash(ctx, hash); err == nil {
		return Said{old.N, hash}, nil
	}
	a, err := s.authority(ctx)
	if err != nil {
		return Said{}, err
	}
	said := Said{Hash: hash}
	err = s.DB.Write(ctx, func(tx *store.Tx) error {
		entry, err := s.say(ctx, tx, a, e)
		said.Entry = entry.Index
		return err
	})
	return said, err
}

func (s *Service) stamp() string { return s.Now().UTC().Format(time.RFC3339) }

func label(product, version string) string { return fmt.Sprintf("%s %s", product, version) }
