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
	State   State
	Open    bool   // only what is not said yet
	Before  string // cursor: id of the last release of the page before
	Limit   int    // 1 to 200
}

const columns = "id, state, payload, payload_hash, proposed_by, proposed_at, entry, published_at, revoked_by, restores, superseded_by"

// List gives releases, the latest proposed first, without files and approvals.
func (s *Service) List(ctx context.Context, f Filter) ([]*Release, error) {
	rows, err := s.DB.Query(ctx, "SELECT "+columns+` FROM release
		WHERE ($1 = '' OR product = $1) AND ($2 = '' OR state = $2) AND ($3 = '' OR id < $3) AND ($4 = 0 OR entry IS NULL) ORDER BY id DESC LIMIT $5`,
		f.Product, f.State, f.Before, flag(f.Open), min(max(f.Limit, 1), 200))
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

// Show gives one release with its files, reviews, approvals and signatures.
func (s *Service) Show(ctx context.Context, product, version string) (*Release, error) {
	return s.read(ctx, s.DB.Query, product, version)
}

// query reads rows: of the database, or of a transaction as it sees itself.
type query func(ctx context.Context, query string, args ...any) (*sql.Rows, error)

func (s *Service) read(ctx context.Context, q query, product, version string) (*Release, error) {
	var r *Release
	err := each(ctx, q, func(rows *sql.Rows) (err error) {
		r, err = scan(rows)
		return err
	}, "SELECT "+columns+" FROM release WHERE product = $1 AND version = $2", product, version)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, fault.NotFound.New("there is no release %s (clerestory release list shows them)", label(product, version))
	}
	return r, readParts(ctx, q, r)
}

// each calls do for every row, and closes them before anything else is read: one
// connection of a transaction does one thing at a time.
func each(ctx context.Context, q query, do func(*sql.Rows) error, text string, args ...any) error {
	rows, err := q(ctx, text, args...)
	if err != nil {
		return fmt.Errorf("reading a release: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := do(rows); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("reading a release: %w", err)
	}
	return nil
}

func scan(rows *sql.Rows) (*Release, error) {
	r := &Release{Entry: -1, RevokedBy: -1}
	var proposed int64
	var entry, published, revoked sql.NullInt64
	if err := rows.Scan(&r.ID, &r.State, &r.Payload, &r.PayloadHash, &r.ProposedBy, &proposed, &entry, &published, &revoked, &r.Restores, &r.SupersededBy); err != nil {
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

// readParts reads what hangs on a release: all of it only for its present text.
func readParts(ctx context.Context, q query, r *Release) error {
	var at int64
	err := each(ctx, q, func(rows *sql.Rows) error {
		var f File
		defer func() { r.Files = append(r.Files, f) }()
		return rows.Scan(&f.Name, &f.SHA256, &f.Size)
	}, "SELECT name, sha256, size FROM release_file WHERE release_id = $1 ORDER BY name", r.ID)
	if err != nil {
		return err
	}
	err = each(ctx, q, func(rows *sql.Rows) error {
		var v Review
		err := rows.Scan(&v.Holder, &v.Note, &at)
		v.At = time.UnixMilli(at).UTC()
		r.Reviews = append(r.Reviews, v)
		return err
	}, "SELECT holder, note, at FROM release_review WHERE release_id = $1 AND payload_hash = $2 ORDER BY holder", r.ID, r.PayloadHash)
	if err != nil {
		return err
	}
	err = each(ctx, q, func(rows *sql.Rows) error {
		var a Approval
		err := rows.Scan(&a.Holder, &a.KeyID, &a.sig, &at)
		a.At = time.UnixMilli(at).UTC()
		r.Approvals = append(r.Approvals, a)
		return err
	}, "SELECT holder, keyid, sig, at FROM release_approval WHERE release_id = $1 AND payload_hash = $2 ORDER BY holder", r.ID, r.PayloadHash)
	if err != nil {
		return err
	}
	return each(ctx, q, func(rows *sql.Rows) error {
		var g Signing
		err := rows.Scan(&g.KeyID, &g.sig, &at)
		g.At = time.UnixMilli(at).UTC()
		r.Signings = append(r.Signings, g)
		return err
	}, "SELECT keyid, sig, at FROM release_signature WHERE release_id = $1 AND payload_hash = $2 ORDER BY at, keyid", r.ID, r.PayloadHash)
}

// Step is one change of a release's state.
type Step struct {
	From, To State
	By       string // a holder; "clerestory" is the program itself
	Why      string
	At       time.Time
}

// Steps are the changes of a release's state, in order.
func (s *Service) Steps(ctx context.Context, rel *Release) ([]Step, error) {
	var all []Step
	err := each(ctx, s.DB.Query, func(rows *sql.Rows) error {
		var st Step
		var at int64
		err := rows.Scan(&st.From, &st.To, &st.By, &st.Why, &at)
		st.At = time.UnixMilli(at).UTC()
		all = append(all, st)
		return err
	}, "SELECT from_state, to_state, holder, why, at FROM release_step WHERE release_id = $1 ORDER BY n", rel.ID)
	return all, err
}

// WithFile finds the latest release in the log that has these bytes.
func (s *Service) WithFile(ctx context.Context, sha string) (*Release, File, error) {
	var product, version string
	err := s.DB.QueryRow(ctx, `SELECT r.product, r.version FROM release_file f JOIN release r ON r.id = f.release_id
		WHERE f.sha256 = $1 AND r.entry IS NOT NULL ORDER BY r.entry DESC LIMIT 1`, sha).Scan(&product, &version)
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
