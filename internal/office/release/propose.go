package release

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"

	"github.com/google/uuid"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// Store streams one file of a release to the blobs.
func (s *Service) Store(ctx context.Context, name string, r io.Reader) (File, error) {
	if err := statement.CheckFileName(name); err != nil {
		return File{}, fault.Invalid.New("storing a file: %w", err)
	}
	info, err := s.Blobs.Put(ctx, r, MaxFile)
	if err != nil {
		return File{}, fmt.Errorf("storing %s: %w", name, err)
	}
	return File{name, info.SHA256, info.Size}, nil
}

// Draft is what somebody proposes to release. Source and Build were said
// already; the files are in the blobs.
type Draft struct {
	Product, Version, Channel string
	Files                     []File // the bill of materials among them
	SBOM                      File
	Source, Build             Said
	Notes                     string
	By                        string // programme id of the person who proposes
}

// Propose makes a draft into a proposal that can be approved. Proposing a
// version again replaces the proposal, and drops its approvals; a version that
// was published can not be proposed again.
func (s *Service) Propose(ctx context.Context, d Draft) (*Release, error) {
	payload, err := s.payload(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("proposing %s: %w", label(d.Product, d.Version), err)
	}
	if err := statement.CheckID("person", d.By); err != nil {
		return nil, fault.Invalid.New("proposing: %w", err)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("making an id: %w", err)
	}
	err = s.DB.Write(ctx, func(tx *store.Tx) error { return s.insert(ctx, tx, id.String(), d, payload) })
	if err != nil {
		return nil, fmt.Errorf("proposing %s: %w", label(d.Product, d.Version), err)
	}
	return s.Show(ctx, d.Product, d.Version)
}

func (s *Service) payload(ctx context.Context, d Draft) ([]byte, error) {
	said, err := s.DB.SaidByHash(ctx, d.Source.Hash)
	if err != nil {
		return nil, fmt.Errorf("finding its source statement: %w", err)
	}
	entry, err := verify.ParseEntry(said.N, said.Envelope)
	if err != nil {
		return nil, err
	}
	src, err := statement.As(entry.Statement, &statement.Source{})
	if err != nil {
		return nil, fault.Invalid.New("its source: %w", err)
	}
	if err := s.checkBuild(ctx, d, src.Commit); err != nil {
		return nil, err
	}
	var files []verify.File
	for _, f := range d.Files {
		files = append(files, verify.File{Name: f.Name, SHA256: f.SHA256})
	}
	m, err := verify.NewManifest(files)
	if err != nil {
		return nil, fault.Invalid.New("its files: %w", err)
	}
	payload, err := statement.New(m.Subjects(d.Product, d.Version), &statement.Release{
		Product: d.Product, Version: d.Version, Channel: d.Channel, Manifest: m.Tree(),
		Commit: src.Commit, Tree: src.Tree, Source: d.Source.Hash, Build: d.Build.Hash,
		SBOM:  statement.Digest{Name: d.SBOM.Name, SHA256: d.SBOM.SHA256, Size: d.SBOM.Size},
		Notes: d.Notes, At: s.stamp(),
	})
	if err != nil {
		return nil, fault.Invalid.New("its statement: %w", err)
	}
	return payload, nil
}

// checkBuild refuses a provenance that is of another commit or made none of the
// files, before anybody approves it.
func (s *Service) checkBuild(ctx context.Context, d Draft, commit string) error {
	said, err := s.DB.SaidByHash(ctx, d.Build.Hash)
	if err != nil {
		return fmt.Errorf("finding its build statement: %w", err)
	}
	entry, err := verify.ParseEntry(said.N, said.Envelope)
	if err != nil {
		return err
	}
	b, err := statement.As(entry.Statement, &statement.Build{})
	if err != nil {
		return fault.Invalid.New("its build: %w", err)
	}
	if b.Commit() != commit {
		return fault.Invalid.New("it was built from commit %s, but its source is %s", b.Commit(), commit)
	}
	made := map[string]bool{}
	for _, sub := range entry.Statement.Subject {
		made[sub.Digest["sha256"]] = true
	}
	for _, f := range d.Files {
		if made[f.SHA256] {
			return nil
		}
	}
	return fault.Invalid.New("its build made none of its files")
}

func (s *Service) insert(ctx context.Context, tx *store.Tx, id string, d Draft, payload []byte) error {
	var old, state string
	err := tx.QueryRowContext(ctx, "SELECT id, state FROM release WHERE product = $1 AND version = $2", d.Product, d.Version).Scan(&old, &state)
	switch {
	case errors.Is(err, sql.ErrNoRows):
	case err != nil:
		return fmt.Errorf("looking for an earlier proposal: %w", err)
	case state != Proposed:
		return fault.Conflict.New("this version was released already; a version never gets another content, choose a new one")
	default:
		if err := drop(ctx, tx, old); err != nil {
			return err
		}
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO release (id, product, version, channel, state, payload, payload_hash, proposed_by, proposed_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		id, d.Product, d.Version, d.Channel, Proposed, payload, statement.HashOf(payload), d.By, s.Now().UnixMilli())
	if err != nil {
		return fmt.Errorf("writing the proposal: %w", err)
	}
	for _, f := range d.Files {
		if _, err := tx.ExecContext(ctx, "INSERT INTO release_file (release_id, name, sha256, size) VALUES ($1, $2, $3, $4)", id, f.Name, f.SHA256, f.Size); err != nil {
			return fmt.Errorf("writing the proposal's files: %w", err)
		}
	}
	return nil
}

// drop removes a proposal that something else takes the place of.
func drop(ctx context.Context, tx *store.Tx, id string) error {
	for _, q := range []string{"DELETE FROM release_approval WHERE release_id = $1", "DELETE FROM release_file WHERE release_id = $1", "DELETE FROM release WHERE id = $1"} {
		if _, err := tx.ExecContext(ctx, q, id); err != nil {
			return fmt.Errorf("removing the earlier proposal: %w", err)
		}
	}
	return nil
}
