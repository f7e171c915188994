package release

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// Bundle makes FILE.clerestory for the file with this SHA-256, against the
// newest checkpoint, and judges it as a stranger would before handing it out.
// A release that no published checkpoint covers yet is Unavailable.
func (s *Service) Bundle(ctx context.Context, sha string) ([]byte, error) {
	rel, file, err := s.WithFile(ctx, sha)
	if err != nil {
		return nil, err
	}
	b, err := s.bundle(ctx, rel, file)
	if err != nil {
		return nil, fmt.Errorf("bundling %s of %s: %w", file.Name, label(rel.Statement.Product, rel.Statement.Version), err)
	}
	raw, err := b.Format()
	if err != nil {
		return nil, err
	}
	if err := s.judge(raw, rel, file); err != nil {
		return nil, err
	}
	if rel.State == Logged {
		// A bundle that verifies shows that a witnessed checkpoint covers the release.
		// That somebody else notes it at the same moment is no reason to keep it back.
		if err := s.publish(ctx, rel); err != nil && !errors.Is(err, fault.Conflict) {
			return nil, fmt.Errorf("bundling %s: %w", file.Name, err)
		}
	}
	return raw, nil
}

func (s *Service) bundle(ctx context.Context, rel *Release, file File) (*verify.Bundle, error) {
	entries, err := s.evidence(ctx, rel)
	if err != nil {
		return nil, err
	}
	roots, err := s.Roots()
	if err != nil {
		return nil, err
	}
	checkpoint, err := s.Ledger.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	b := &verify.Bundle{}
	for _, r := range roots[1:] {
		b.Roots = append(b.Roots, string(r))
	}
	for _, n := range entries {
		said, err := s.DB.SaidAt(ctx, n)
		if err != nil {
			return nil, err
		}
		p, err := s.Ledger.Prove(ctx, n, checkpoint)
		if err != nil {
			return nil, err
		}
		b.Entries = append(b.Entries, verify.BundleEntry{Envelope: string(said.Envelope), Proof: string(p.Format())})
	}
	if rel.Statement.Manifest.Files > statement.InlineFiles {
		if b.Member, err = member(rel.Files, file); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func member(files []File, file File) (*verify.Member, error) {
	var all []verify.File
	for _, f := range files {
		all = append(all, verify.File{Name: f.Name, SHA256: f.SHA256})
	}
	m, err := verify.NewManifest(all)
	if err != nil {
		return nil, fault.Tampered.New("its files: %w", err)
	}
	i := slices.IndexFunc(m.Files, func(f verify.File) bool { return f.Name == file.Name })
	return m.Member(i)
}

// evidence lists the entries that the release's verification needs: itself, its
// source and builds, revocations of it, advisories about it, and all that was said about the keys
// that signed any of them.
func (s *Service) evidence(ctx context.Context, rel *Release) ([]int64, error) {
	need := map[int64]bool{rel.Entry: true}
	find := func(f store.Filter) error {
		f.Limit = 100
		said, err := s.DB.Find(ctx, f)
		for _, x := range said {
			need[x.N] = true
		}
		return err
	}
	for _, hash := range []string{rel.Statement.Source, rel.Statement.Build} {
		said, err := s.DB.SaidByHash(ctx, hash)
		if err != nil {
			return nil, err
		}
		need[said.N] = true
	}
	filters := []store.Filter{{Kind: "revocation", Subject: fmt.Sprintf("entry:%d", rel.Entry)}}
	for _, f := range rel.Files {
		if len(filters) > 16 {
			break // other builders' statements about the first files are enough to find them
		}
		filters = append(filters, store.Filter{Kind: "build", Subject: f.SHA256})
	}
	for _, f := range filters {
		if err := find(f); err != nil {
			return nil, err
		}
	}
	if err := s.warned(ctx, rel, need); err != nil {
		return nil, err
	}
	keys := map[string]bool{}
	for n := range need {
		said, err := s.DB.SaidAt(ctx, n)
		if err != nil {
			return nil, err
		}
		e, err := statement.ParseEnvelope(said.Envelope)
		if err != nil {
			return nil, fault.Tampered.New("reading entry %d: %w", n, err)
		}
		for _, sig := range e.Signatures {
			keys[sig.KeyID] = true
		}
	}
	for id := range keys {
		if err := find(store.Filter{Kind: "key", Subject: "key:" + id}); err != nil {
			return nil, err
		}
	}
	var all []int64
	for n := range need {
		all = append(all, n)
	}
	slices.Sort(all)
	return all, nil
}

// judge is the stranger's check on our own bundle. A revoked release must be
// refused, and every other one verified.
func (s *Service) judge(bundle []byte, rel *Release, file File) error {
	roots, err := s.Roots()
	if err != nil {
		return err
	}
	r := verify.JudgeBundle(roots[0], bundle, verify.Artifact{Name: file.Name, SHA256: file.SHA256, Size: file.Size}, s.Now())
	revoked := rel.State == Revoked
	if r.Verdict != verify.Verified && !revoked || r.Code != verify.CodeRevoked && revoked {
		return fault.Tampered.New("the bundle of %s does not verify: %s", file.Name, r.Reason)
	}
	return nil
}
