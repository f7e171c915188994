// Package record reads statements for pages: what they say, who signed them
// with which role at their place in the log, and what took them back.
//
// It promises that roles, holders and revocations come from the same code that
// every stranger uses (package verify), applied to the statements that this
// vendor has said; it takes no table's word for them. It refuses nothing: what
// it can not read or believe it hands on as such, so that a page can show it.
//
// Start at [Reader.At] and [Reader.List].
package record

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/ledger/keyring"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// Ledger is the published log. Calls may be concurrent and answer from what is
// on disk now.
type Ledger interface {
	// Checkpoint is the newest published, witnessed checkpoint. Before the first
	// one it is fault.Unavailable.
	Checkpoint(ctx context.Context) ([]byte, error)
	// Prove proves that entry n is in the log with that checkpoint, which covers it.
	Prove(ctx context.Context, n int64, checkpoint []byte) (*verify.Proof, error)
}

// Status is how far the log has come, as its newest checkpoint says.
type Status struct {
	Origin     string    `json:"origin"`
	Size       int64     `json:"size"`
	At         time.Time `json:"at,omitzero"` // by the witnesses; zero without any
	Witnesses  []Witness `json:"witnesses"`
	Checkpoint string    `json:"checkpoint"` // the signed note
}

// Witness is somebody who cosigned the checkpoint.
type Witness struct {
	Name string    `json:"name"`
	At   time.Time `json:"at"`
}

// Reader reads statements. Its methods may be called concurrently.
type Reader struct {
	DB     *store.DB
	Ledger Ledger
	Trust  func() (*verify.Trust, error) // the root in force

	mu        sync.Mutex
	authority *verify.Authority
	seen      authoritySeen
}

// authoritySeen is what an authority was made from: it is made anew when a key
// or revocation statement is added, or the root changes.
type authoritySeen struct {
	key, revocation int64
	root            string
}

// Statement is one statement as pages show it.
type Statement struct {
	N       int64
	At      time.Time
	Kind    string
	SHA256  string // of the envelope
	Raw     []byte // the envelope
	Said    *statement.Statement
	Keys    []string // ids of the keys that signed, believed or not
	Signers []verify.Signer
	Revoked *verify.Revoked
	// Broken says why the statement can not be read. It is shown, never hidden.
	Broken string
}

// At reads statement n.
func (r *Reader) At(ctx context.Context, n int64) (*Statement, error) {
	said, err := r.DB.SaidAt(ctx, n)
	if err != nil {
		return nil, err
	}
	return r.one(ctx, said)
}

// ByHash reads the statement whose envelope has this SHA-256.
func (r *Reader) ByHash(ctx context.Context, sum string) (*Statement, error) {
	said, err := r.DB.SaidByHash(ctx, sum)
	if err != nil {
		return nil, err
	}
	return r.one(ctx, said)
}

// List reads the statements that a filter lets through, newest first.
func (r *Reader) List(ctx context.Context, f store.Filter) ([]*Statement, error) {
	said, err := r.DB.Find(ctx, f)
	if err != nil {
		return nil, err
	}
	authority, err := r.believed(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]*Statement, len(said))
	for i, s := range said {
		list[i] = read(s, authority)
	}
	return list, nil
}

func (r *Reader) one(ctx context.Context, said store.Said) (*Statement, error) {
	authority, err := r.believed(ctx)
	if err != nil {
		return nil, err
	}
	return read(said, authority), nil
}

func read(said store.Said, authority *verify.Authority) *Statement {
	s := &Statement{N: said.N, At: said.At, Kind: said.Kind, Raw: said.Envelope, SHA256: statement.HashOf(said.Envelope)}
	entry, err := verify.ParseEntry(said.N, said.Envelope)
	if err != nil {
		s.Broken = err.Error()
		return s
	}
	s.Said = entry.Statement
	for _, sig := range entry.Envelope.Signatures {
		s.Keys = append(s.Keys, sig.KeyID)
	}
	s.Signers = authority.Signers(entry)
	if gone, ok := authority.RevokedBy(entry); ok {
		s.Revoked = &gone
	}
	return s
}

// Roles are the roles in which a key signed, with the holder; empty when the key
// had none at that place in the log.
func (s *Statement) Roles(keyID string) []verify.Signer {
	var found []verify.Signer
	for _, signer := range s.Signers {
		if signer.KeyID == keyID {
			found = append(found, signer)
		}
	}
	return found
}

// believed is the authority over everything said so far.
func (r *Reader) believed(ctx context.Context) (*verify.Authority, error) {
	trust, err := r.Trust()
	if err != nil {
		return nil, err
	}
	key, err := r.newest(ctx, "key")
	if err != nil {
		return nil, err
	}
	revocation, err := r.newest(ctx, "revocation")
	if err != nil {
		return nil, err
	}
	now := authoritySeen{key, revocation, trust.Fingerprint()}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.authority != nil && r.seen == now {
		return r.authority, nil
	}
	a, err := keyring.Authority(ctx, r.DB, trust)
	if err != nil {
		return nil, err
	}
	r.authority, r.seen = a, now
	return a, nil
}

func (r *Reader) newest(ctx context.Context, kind string) (int64, error) {
	said, err := r.DB.Find(ctx, store.Filter{Kind: kind, Limit: 1})
	if err != nil || len(said) == 0 {
		return -1, err
	}
	return said[0].N, nil
}

// Proof proves a statement against the newest checkpoint; nil while no witnessed
// checkpoint covers it.
func (r *Reader) Proof(ctx context.Context, n int64) (*verify.Proof, error) {
	status, err := r.Status(ctx)
	if errors.Is(err, fault.Unavailable) || err == nil && status.Size <= n {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	proof, err := r.Ledger.Prove(ctx, n, []byte(status.Checkpoint))
	if err != nil {
		return nil, fmt.Errorf("proving statement %d: %w", n, err)
	}
	return proof, nil
}

// Status is how far the log has come; fault.Unavailable before its first
// checkpoint. One that the trusted root would not believe is fault.Tampered:
// what a stranger would refuse is not shown as fine.
func (r *Reader) Status(ctx context.Context) (*Status, error) {
	raw, err := r.Ledger.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	trust, err := r.Trust()
	if err != nil {
		return nil, err
	}
	c, err := trust.Policy.Open(raw)
	if err != nil {
		return nil, fault.Tampered.New("reading the log's checkpoint: %w", err)
	}
	s := &Status{Origin: c.Origin, Size: c.Size, At: c.Time(), Witnesses: []Witness{}, Checkpoint: string(raw)}
	for _, w := range c.Cosigned {
		s.Witnesses = append(s.Witnesses, Witness{w.Witness, w.Time})
	}
	return s, nil
}
