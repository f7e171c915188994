package repository

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/ledger/signing"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// Progress is how far a stage is.
type Progress struct {
	Stage   *Stage
	Waiting []Waiting // documents that need more signatures
	// Published tells whether clients see it now. With nothing waiting and not
	// published, it waits for the online key: see [Service.Renew].
	Published bool
}

// Waiting is a document that needs more signatures.
type Waiting struct {
	Role    string   `json:"role"`
	Have    int      `json:"have"`
	Need    int      `json:"need"`
	Missing []string `json:"missing"` // ids of the keys that have not signed
}

// Assemble takes answers to the staged requests, in any order and number. When
// all documents have their threshold and the online key is here, the state is
// published. An answer that is not good fails all of them and changes nothing.
func (s *Service) Assemble(ctx context.Context, answers ...*signing.Response) (*Progress, error) {
	stage, err := s.Staged(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.void(ctx, stage); err != nil {
		return nil, err
	}
	for _, a := range answers {
		if err := s.accept(ctx, stage, a); err != nil {
			return nil, fmt.Errorf("assembling: %w", err)
		}
	}
	err = s.DB.Write(ctx, func(tx *store.Tx) error {
		var id string
		if err := tx.QueryRowContext(ctx, "SELECT id FROM repository_stage").Scan(&id); err != nil || id != stage.ID {
			return fault.Conflict.New("assembling: something else was staged meanwhile")
		}
		return writeStage(ctx, tx, stage)
	})
	if err != nil {
		return nil, err
	}
	p, err := s.progress(ctx, stage)
	if err != nil || len(p.Waiting) > 0 || len(s.Online) == 0 {
		return p, err
	}
	if _, err := s.Renew(ctx); err != nil {
		return nil, err
	}
	p.Published = true
	return p, nil
}

// void refuses a stage that says something else than what is decided by now: a
// halted offer must not come back because somebody signed before it was halted,
// nor may a key sign that lost its role since.
func (s *Service) void(ctx context.Context, stage *Stage) error {
	trust, _, err := s.trust()
	if err != nil {
		return err
	}
	before, err := s.published(ctx)
	if err != nil {
		return err
	}
	heads, err := s.Heads(ctx)
	if err != nil {
		return err
	}
	roles, err := s.wanted(ctx, trust, heads, before)
	if err != nil {
		return err
	}
	for i := range stage.Documents {
		f, err := stage.Documents[i].file()
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(roles, func(r role) bool { return r.name == stage.Documents[i].Role && same(r.want, f) }) {
			return fault.Stale.New("what was decided, or who may sign, has changed since this was staged: stage again, and ask for new signatures")
		}
		if s.now().After(f.Signed.Expires) {
			return fault.Stale.New("the staged metadata of %s has expired: stage again", stage.Documents[i].Role)
		}
	}
	return nil
}

// accept adds an answer to the document that it is for.
func (s *Service) accept(ctx context.Context, stage *Stage, a *signing.Response) error {
	for i := range stage.Documents {
		d := &stage.Documents[i]
		if statement.HashOf(d.Request) != a.Request {
			continue
		}
		q, err := signing.ParseRequest(d.Request)
		if err != nil {
			return err
		}
		if q.Expired(s.now()) {
			return fault.Stale.New("the request for %s expired at %s: stage again", d.Role, q.Expires)
		}
		parties, err := s.parties(ctx, d)
		if err != nil {
			return err
		}
		sig, err := signing.Accept(q, a, parties)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(d.Signatures, func(x statement.Signature) bool { return x.KeyID == sig.KeyID }) {
			d.Signatures = append(d.Signatures, sig)
		}
		return nil
	}
	return fault.Conflict.New("an answer is for the request %s, which is not staged (any longer)", a.Request)
}

// parties are the keys whose answers count for a document.
func (s *Service) parties(ctx context.Context, d *Document) ([]signing.Party, error) {
	if d.Delegator != metadata.ROOT {
		product := d.Role
		if d.Delegator != metadata.TARGETS { // a bin
			product = d.Delegator
		}
		keys, err := s.Release(ctx, product)
		return keys.Parties, err
	}
	trust, roots, err := s.trust()
	if err != nil {
		return nil, err
	}
	keys, err := rootKeys(trust, metadata.TARGETS)
	if err != nil || d.Formerly == 0 {
		return keys.Parties, err
	}
	old, err := verify.ParseTrust(roots[d.Formerly-1])
	if err != nil {
		return nil, err
	}
	former, err := rootKeys(old, metadata.TARGETS)
	return append(keys.Parties, former.Parties...), err
}

// file is the document with the signatures that it has.
func (d *Document) file() (*targetsFile, error) {
	f := metadata.Targets()
	if err := json.Unmarshal(d.Signed, &f.Signed); err != nil {
		return nil, fault.Tampered.New("reading the staged metadata of %s: %w", d.Role, err)
	}
	for _, sig := range d.Signatures {
		f.Signatures = append(f.Signatures, metadata.Signature{KeyID: sig.KeyID, Signature: sig.Sig})
	}
	return f, nil
}

// progress asks for each document what a client would ask.
func (s *Service) progress(ctx context.Context, stage *Stage) (*Progress, error) {
	p := &Progress{Stage: stage}
	_, roots, err := s.trust()
	if err != nil {
		return nil, err
	}
	root, err := metadata.Root().FromBytes(roots[len(roots)-1])
	if err != nil {
		return nil, fault.Tampered.New("reading the root: %w", err)
	}
	before, err := s.published(ctx)
	if err != nil {
		return nil, err
	}
	files := map[string]*targetsFile{}
	for name, b := range before {
		files[name] = b.file
	}
	for i := range stage.Documents {
		d := &stage.Documents[i]
		if files[d.Role], err = d.file(); err != nil {
			return nil, err
		}
		good := root.VerifyDelegate
		if d.Delegator != metadata.ROOT {
			good = files[d.Delegator].VerifyDelegate
		}
		if good(d.Role, files[d.Role]) == nil {
			continue
		}
		q, err := signing.ParseRequest(d.Request)
		if err != nil {
			return nil, err
		}
		w := Waiting{Role: d.Role, Have: len(d.Signatures), Need: q.Threshold}
		for _, id := range q.Keys {
			if !slices.ContainsFunc(d.Signatures, func(x statement.Signature) bool { return x.KeyID == id }) {
				w.Missing = append(w.Missing, id)
			}
		}
		p.Waiting = append(p.Waiting, w)
	}
	return p, nil
}
