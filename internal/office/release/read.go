package release

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/statement"
)

// Filter narrows a list of releases; empty members do not filter.
type Filter struct {
	Product string
	State   string
	Before  string // cursor: id of the last release of the page before
	Limit   int    // 1 to 200
}

const columns = "id, state, payload, payload_hash, proposed_by, proposed_at, entry, published_at, revoked_by"

// List gives releases, the latest proposed first, without files and approvals.
func (s *Service) List(ctx context.Context, f Filter) ([]*Release, error) {
	rows, err := s.DB.Query(ctx, "SELECT "+columns+` FROM release
		WHERE ($1 = '' OR product = $1) AND ($2 = '' OR state = $2) AND ($3 = '' OR id < $3) ORDER BY id DESC LIMIT $4`,
		f.Product, f.State, f.Before, min(max(f.Limit, 1), 200))
	if err != nil {
		return nil, fmt.Errorf("listing releases: %w", err)
	}
	defer rows.Close()
	var all []*Release
	for rows.Next() {
		r, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("listing releases: %w", err)
	}
	return all, nil
}

// Show gives one release with its files and approvals.
func (s *Service) Show(ctx context.Context, product, version string) (*Release, error) {
	rows, err := s.DB.Query(ctx, "SELECT "+columns+" FROM release WHERE product = $1 AND version = $2", product, version)
	if err != nil {
		return nil, fmt.Errorf("reading a release: %w", err)
	}
	defer rows.Close()
	if !rows.Next() {
		return nil, errors.Join(rows.Err(), fault.NotFound.New("there is no release %s (clerestory release list shows them)", label(product, version)))
	}
	r, err := scan(rows)
	if err != nil {
		return nil, err
	}
	if err := rows.Close(); err != nil {
		return nil, fmt.Errorf("reading a release: %w", err)
	}
	if err := s.readFiles(ctx, r); err != nil {
		return nil, err
	}
	return r, s.readApprovals(ctx, r)
}

func scan(rows *sql.Rows) (*Release, error) {
	r := &Release{Entry: -1, RevokedBy: -1}
	var proposed int64
	var entry, published, revoked sql.NullInt64
	if err := rows.Scan(&r.ID, &r.State, &r.Payload, &r.PayloadHash, &r.ProposedBy, &proposed, &entry, &published, &revoked); err != nil {
		return nil, fmt.Errorf("reading a release: %w", err)
	}
	r.ProposedAt = time.UnixMilli(proposed).UTC()
	if entry.Valid {
		r.Entry, r.PublishedAt = entry.Int64, time.UnixMilli(published.Int64).UTC()
	}
	if revoked.Valid {
		r.RevokedBy = revoked.Int64
	}
	st, err := statement.Parse(r.Payload)
	if err != nil {
		return nil, fault.Tampered.New("reading release %s: %w", r.ID, err)
	}
	rel, err := statement.As(st, &statement.Release{})
	if err != nil || statement.HashOf(r.Payload) != r.PayloadHash {
		return nil, fault.Tampered.New("reading release %s: its statement was changed", r.ID)
	}
	r.Statement = *rel
	return r, nil
}

func (s *Service) readFiles(ctx context.Context, r *Release) error {
	rows, err := s.DB.Query(ctx, "SELECT name, sha256, size FROM release_file WHERE release_id = $1 ORDER BY name", r.ID)
	if err != nil {
		return fmt.Errorf("reading a release's files: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var f File
		if err := rows.Scan(&f.Name, &f.SHA256, &f.Size); err != nil {
			return fmt.Errorf("reading a release's files: %w", err)
		}
		r.Files = append(r.Files, f)
	}
	return rows.Err()
}

func (s *Service) readApprovals(ctx context.Context, r *Release) error {
	rows, err := s.DB.Query(ctx, "SELECT holder, keyid, sig, at FROM release_approval WHERE release_id = $1 AND payload_hash = $2 ORDER BY holder", r.ID, r.PayloadHash)
	if err != nil {
		return fmt.Errorf("reading a release's approvals: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var a Approval
		var at int64
		if err := rows.Scan(&a.Holder, &a.KeyID, &a.sig, &at); err != nil {
			return fmt.Errorf("reading a release's approvals: %w", err)
		}
		a.At = time.UnixMilli(at).UTC()
		r.Approvals = append(r.Approvals, a)
	}
	return rows.Err()
}

// WithFile finds the latest published or revoked release that has these bytes.
func (s *Service) WithFile(ctx context.Context, sha string) (*Release, File, error) {
	var product, version string
	err := s.DB.QueryRow(ctx, `SELECT r.product, r.version FROM release_file f JOIN release r ON r.id = f.release_id
		WHERE f.sha256 = $1 AND r.state <> $2 ORDER BY r.entry DESC LIMIT 1`, sha, Proposed).Scan(&product, &version)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, File{}, fault.NotFound.New("no release has a file with sha256 %s", sha)
	}
	if err != nil {
		return nil, File{}, fmt.Errorf("finding a file's release: %w", err)
	}
	r, err := s.Show(ctx, product, version)
	if err != nil {
		return nil, File{}, err
	}
	for _, f := range r.Files {
		if f.SHA256 == sha {
			return r, f, nil
		}
	}
	return nil, File{}, fault.NotFound.New("no release has a file with sha256 %s", sha)
}
