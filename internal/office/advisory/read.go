package advisory

import (
	"context"
	"fmt"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/ledger/keyring"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// Advisory is one published version of an advisory.
type Advisory struct {
	Slug        string
	Revision    int64 // from 1
	ID          string
	Version     string
	Title       string
	SHA256      string
	Raw         []byte // the document; nil where only its statement is here
	Entry       int64  // of the advisory statement
	Year        int
	ReleasedAt  time.Time
	PublishedAt time.Time
}

// VEXEntry is the entry of the VEX statement: both are said in one transaction.
func (a *Advisory) VEXEntry() int64 { return a.Entry + 1 }

const columns = "a.slug, a.revision, a.tracking, a.version, a.title, a.sha256, a.document, a.entry, a.year, a.released_at, a.published_at"

// newest keeps only the newest version of each advisory.
const newest = " a.revision = (SELECT max(b.revision) FROM advisory b WHERE b.slug = a.slug)"

// List gives the newest version of every advisory, the latest release first.
func (s *Service) List(ctx context.Context) ([]*Advisory, error) {
	return s.read(ctx, "SELECT "+columns+" FROM advisory a WHERE"+newest+" ORDER BY a.released_at DESC, a.slug LIMIT 5000")
}

// Show gives the versions of one advisory, the newest first; there being none is
// NotFound.
func (s *Service) Show(ctx context.Context, slug string) ([]*Advisory, error) {
	all, err := s.read(ctx, "SELECT "+columns+" FROM advisory a WHERE a.slug = $1 ORDER BY a.revision DESC", slug)
	if err == nil && len(all) == 0 {
		return nil, fault.NotFound.New("there is no such advisory")
	}
	return all, err
}

// Version gives one version of an advisory.
func (s *Service) Version(ctx context.Context, slug, version string) (*Advisory, error) {
	all, err := s.read(ctx, "SELECT "+columns+" FROM advisory a WHERE a.slug = $1 AND a.version = $2", slug, version)
	if err == nil && len(all) == 0 {
		return nil, fault.NotFound.New("there is no such version of the advisory")
	}
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// Touching gives the newest versions of the advisories that name a version of a
// product, in the order of their entries.
func (s *Service) Touching(ctx context.Context, product, version string) ([]*Advisory, error) {
	return s.read(ctx, "SELECT "+columns+` FROM advisory a JOIN advisory_product p ON p.slug = a.slug AND p.revision = a.revision
		WHERE p.product = $1 AND p.version = $2 AND`+newest+" ORDER BY a.entry", product, version)
}

// versions are the versions of an advisory, the oldest first.
func (s *Service) versions(ctx context.Context, slug string) ([]*Advisory, error) {
	return s.read(ctx, "SELECT "+columns+" FROM advisory a WHERE a.slug = $1 ORDER BY a.revision", slug)
}

func (s *Service) read(ctx context.Context, query string, args ...any) ([]*Advisory, error) {
	rows, err := s.DB.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("reading advisories: %w", err)
	}
	defer rows.Close()
	var all []*Advisory
	for rows.Next() {
		a := &Advisory{}
		var released, published int64
		if err := rows.Scan(&a.Slug, &a.Revision, &a.ID, &a.Version, &a.Title, &a.SHA256, &a.Raw, &a.Entry, &a.Year, &released, &published); err != nil {
			return nil, fmt.Errorf("reading an advisory: %w", err)
		}
		if a.Raw != nil && statement.HashOf(a.Raw) != a.SHA256 {
			return nil, fault.Tampered.New("the document of %s version %s is not the one that was published", a.ID, a.Version)
		}
		a.ReleasedAt, a.PublishedAt = time.UnixMilli(released).UTC(), time.UnixMilli(published).UTC()
		all = append(all, a)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading advisories: %w", err)
	}
	return all, nil
}

// Recover makes this room's tables agree with the statements, after a restored
// database has adopted what its log holds. Documents are not in the log: where
// one is missing the statement is shown, until the same bytes are published again.
// It returns how many advisories it found.
func (s *Service) Recover(ctx context.Context) (int, error) {
	a, err := s.authority(ctx)
	if err != nil {
		return 0, err
	}
	found := 0
	err = keyring.Each(ctx, s.DB, "advisory", func(e verify.Entry) error {
		if _, err := a.Believe(e); err != nil {
			return nil // nobody believes it: it is no advisory
		}
		st, err := statement.As(e.Statement, &statement.Advisory{})
		if err != nil {
			return fault.Tampered.New("reading advisory %d: %w", e.Index, err)
		}
		return s.DB.Write(ctx, func(tx *store.Tx) error {
			did, err := s.recover(ctx, tx, e.Index, st)
			if did {
				found++
			}
			return err
		})
	})
	if err != nil {
		return found, fmt.Errorf("recovering advisories from their statements: %w", err)
	}
	return found, nil
}

func (s *Service) recover(ctx context.Context, tx *store.Tx, entry int64, st *statement.Advisory) (bool, error) {
	name := slug(st.ID)
	var have, last int64
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM advisory WHERE slug = $1 AND version = $2", name, st.Version).Scan(&have); err != nil || have > 0 {
		return false, err
	}
	if err := tx.QueryRowContext(ctx, "SELECT COALESCE(max(revision), 0) FROM advisory WHERE slug = $1", name).Scan(&last); err != nil {
		return false, err
	}
	at := moment(st.At)
	if _, err := tx.ExecContext(ctx, `INSERT INTO advisory (slug, revision, tracking, version, title, sha256, document, entry, year, released_at, published_at)
		VALUES ($1, $2, $3, $4, $5, $6, NULL, $7, $8, $9, $10)`,
		name, last+1, st.ID, st.Version, st.Title, st.Document.SHA256, entry, moment(st.Released).Year(), moment(st.Released).UnixMilli(), at.UnixMilli()); err != nil {
		return false, fmt.Errorf("writing advisory %d: %w", entry, err)
	}
	var versions []Version
	for _, v := range st.Vulnerabilities {
		for _, p := range v.Products {
			for _, list := range [][]string{p.Affected, p.Fixed, p.NotAffected, p.UnderInvestigation} {
				for _, version := range list {
					versions = append(versions, Version{p.Product, version})
				}
			}
		}
	}
	return true, insertProducts(ctx, tx, name, last+1, versions)
}
