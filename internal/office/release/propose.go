package release

import (
	"context"
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
	// Emergency is why the release can not wait, for everybody to read: it goes the
	// emergency path of its rule. Empty is the usual way.
	Emergency string
	// Restores is the version whose content this one brings back, if it does.
	Restores string
}

// Propose makes a draft into a proposal that others can look at. Its author may
// propose a version again: that replaces the text, and drops reviews, approvals
// and signatures. Another person can not, and a version that was said has its
// content for ever. Of two who propose a version at once, one wins.
func (s *Service) Propose(ctx context.Context, d Draft) (*Release, error) {
	return s.save(ctx, d, true)
}

// Save keeps a draft that nobody else is asked about yet; Propose hands it in.
func (s *Service) Save(ctx context.Context, d Draft) (*Release, error) {
	return s.save(ctx, d, false)
}

func (s *Service) save(ctx context.Context, d Draft, handIn bool) (*Release, error) {
	if err := statement.CheckID("person", d.By); err != nil {
		return nil, fault.Invalid.New("proposing: %w", err)
	}
	payload, err := s.payload(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("proposing %s: %w", label(d.Product, d.Version), err)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("making an id: %w", err)
	}
	err = s.DB.Write(ctx, func(tx *store.Tx) error {
		rel, err := s.insert(ctx, tx, id.String(), d, payload)
		if err != nil || !handIn {
			return err
		}
		return s.step(ctx, tx, rel, Proposed, d.By, "", nil)
	})
	if err != nil {
		return nil, fmt.Errorf("proposing %s: %w", label(d.Product, d.Version), err)
	}
	return s.Show(ctx, d.Product, d.Version)
}

// emergency is what the statement says about the path, by the rule in force.
func (s *Service) emergency(ctx context.Context, d Draft) (statement.Emergency, error) {
	l, err := s.lawFor(ctx, d.Product, d.Channel)
	if err != nil {
		return statement.Emergency{}, err
	}
	if _, known := l.person(d.By); !known {
		return statement.Emergency{}, fault.Invalid.New("the programme in force names no person %q", d.By)
	}
	if d.Emergency == "" {
		return statement.Emergency{}, nil
	}
	if !l.rule.Emergency.Allowed() {
		return statement.Emergency{}, fault.Denied.New("the rule for channel %s has no emergency path", d.Channel)
	}
	return statement.Emergency{Why: d.Emergency, ReviewHours: int64(l.rule.Emergency.ReviewHours)}, nil
}

func (s *Service) payload(ctx context.Context, d Draft) ([]byte, error) {
	emergency, err := s.emergency(ctx, d)
	if err != nil {
		return nil, err
	}
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
		Notes: d.Notes, At: s.stamp(), Emergency: emergency,
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

// insert writes a draft: in the place of an earlier one of the same author, if
// there is one that was not said yet.
func (s *Service) insert(ctx context.Context, tx *store.Tx, id string, d Draft, payload []byte) (*Release, error) {
	old, err := s.read(ctx, tx.QueryContext, d.Product, d.Version)
	switch {
	case errors.Is(err, fault.NotFound):
		return s.insertNew(ctx, tx, id, d, payload)
	case err != nil:
		return nil, err
	case old.State.Said():
		return nil, fault.Conflict.New("this version was released already; a version never gets another content, choose a new one")
	case old.ProposedBy != d.By:
		return nil, fault.Conflict.New("%s has proposed this version already: choose another one, or agree with %s", old.ProposedBy, old.ProposedBy)
	}
	if old.State != Drafted {
		m, _ := moveOf(old.State, Drafted)
		if err := s.step(ctx, tx, old, Drafted, d.By, m.When, nil); err != nil {
			return nil, err
		}
	}
	if err := forget(ctx, tx, old.ID, "release_review", "release_approval", "release_signature", "release_request", "release_file"); err != nil {
		return nil, err
	}
	hash := statement.HashOf(payload)
	res, err := tx.ExecContext(ctx, `UPDATE release SET channel = $1, payload = $2, payload_hash = $3, proposed_at = $4, restores = $5, emergency = $6
		WHERE id = $7 AND payload_hash = $8 AND state = $9`, d.Channel, payload, hash, s.Now().UnixMilli(), d.Restores, flag(d.Emergency != ""), old.ID, old.PayloadHash, Drafted)
	if err != nil {
		return nil, fmt.Errorf("writing the proposal: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return nil, fault.Conflict.New("it was proposed anew meanwhile: look again")
	}
	return s.insertFiles(ctx, tx, old.ID, d)
}

func (s *Service) insertNew(ctx context.Context, tx *store.Tx, id string, d Draft, payload []byte) (*Release, error) {
	res, err := tx.ExecContext(ctx, `INSERT INTO release (id, product, version, channel, state, payload, payload_hash, proposed_by, proposed_at, restores, emergency)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (product, version) DO NOTHING`,
		id, d.Product, d.Version, d.Channel, Drafted, payload, statement.HashOf(payload), d.By, s.Now().UnixMilli(), d.Restores, flag(d.Emergency != ""))
	if err != nil {
		return nil, fmt.Errorf("writing the proposal: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return nil, fault.Conflict.New("somebody proposed this version at the same moment: look at that first")
	}
	return s.insertFiles(ctx, tx, id, d)
}

func (s *Service) insertFiles(ctx context.Context, tx *store.Tx, id string, d Draft) (*Release, error) {
	for _, f := range d.Files {
		if _, err := tx.ExecContext(ctx, "INSERT INTO release_file (release_id, name, sha256, size) VALUES ($1, $2, $3, $4)", id, f.Name, f.SHA256, f.Size); err != nil {
			return nil, fmt.Errorf("writing the proposal's files: %w", err)
		}
	}
	return s.read(ctx, tx.QueryContext, d.Product, d.Version)
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

// forget removes what hangs on a release.
func forget(ctx context.Context, tx *store.Tx, id string, tables ...string) error {
	for _, t := range tables {
		if _, err := tx.ExecContext(ctx, "DELETE FROM "+t+" WHERE release_id = $1", id); err != nil {
			return fmt.Errorf("removing the earlier proposal: %w", err)
		}
	}
	return nil
}

// drop removes a proposal that something else takes the place of.
func drop(ctx context.Context, tx *store.Tx, id string) error {
	if err := forget(ctx, tx, id, "release_review", "release_approval", "release_signature", "release_request", "release_step", "release_file"); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM release WHERE id = $1", id); err != nil {
		return fmt.Errorf("removing the earlier proposal: %w", err)
	}
	return nil
}
