package repository

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/update"
)

// head is a channel as it was decided, signed or not.
type head struct {
	update.Head
	number int64 // the last one given to an offer
}

func (h *head) offer(version string) *update.Offer {
	for i := range h.Releases {
		if h.Releases[i].Version == version {
			return &h.Releases[i]
		}
	}
	return nil
}

type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// readHead reads a channel; one that was never written is empty, with sequence 0.
func readHead(ctx context.Context, q querier, product, channel string) (*head, error) {
	h := &head{Head: update.Head{MediaType: update.HeadType, Product: product, Channel: channel}}
	var content []byte
	var sequence int64
	err := q.QueryRowContext(ctx, "SELECT sequence, number, content FROM repository_head WHERE product = $1 AND channel = $2", product, channel).
		Scan(&sequence, &h.number, &content)
	if errors.Is(err, sql.ErrNoRows) {
		return h, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the head of %s/%s: %w", product, channel, err)
	}
	parsed, err := update.ParseHead(content)
	if err != nil || parsed.Sequence != sequence || parsed.Product != product || parsed.Channel != channel {
		return nil, fault.Tampered.New("the stored head of %s/%s was changed: %w", product, channel, err)
	}
	h.Head = *parsed
	return h, nil
}

// write stores a head with the next sequence.
func (h *head) write(ctx context.Context, tx *store.Tx) error {
	h.Sequence++
	content, err := h.Format()
	if err != nil {
		return fault.Invalid.New("%w", err)
	}
	// The condition keeps two processes from giving one sequence to two heads.
	res, err := tx.ExecContext(ctx, `INSERT INTO repository_head (product, channel, sequence, number, content) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (product, channel) DO UPDATE SET sequence = excluded.sequence, number = excluded.number, content = excluded.content
		WHERE repository_head.sequence < excluded.sequence AND repository_head.number <= excluded.number`,
		h.Product, h.Channel, h.Sequence, h.number, content)
	if err != nil {
		return fmt.Errorf("writing the head of %s/%s: %w", h.Product, h.Channel, err)
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return fault.Conflict.New("the head of %s/%s was changed meanwhile: look at it and try again", h.Product, h.Channel)
	}
	return nil
}

// change reads a head, lets do change it, and stores it, in one transaction.
func (s *Service) change(ctx context.Context, product, channel string, do func(tx *store.Tx, h *head) error) (*update.Head, error) {
	var h *head
	err := s.DB.Write(ctx, func(tx *store.Tx) error {
		var err error
		if h, err = readHead(ctx, tx, product, channel); err != nil {
			return err
		}
		if err := do(tx, h); err != nil {
			return err
		}
		return h.write(ctx, tx)
	})
	if err != nil {
		return nil, err
	}
	return &h.Head, nil
}

// Heads gives every channel as it was decided, by product and channel.
func (s *Service) Heads(ctx context.Context) ([]*update.Head, error) {
	rows, err := s.DB.Query(ctx, "SELECT content FROM repository_head ORDER BY product, channel")
	if err != nil {
		return nil, fmt.Errorf("reading the heads: %w", err)
	}
	defer rows.Close()
	var all []*update.Head
	for rows.Next() {
		var content []byte
		if err := rows.Scan(&content); err != nil {
			return nil, fmt.Errorf("reading the heads: %w", err)
		}
		h, err := update.ParseHead(content)
		if err != nil {
			return nil, fault.Tampered.New("a stored head was changed: %w", err)
		}
		all = append(all, h)
	}
	return all, rows.Err()
}

// target is a file that clients can ask for.
type target struct {
	path, product, kind, sha256 string
	size                        int64
}

// Kinds of target.
const (
	kindFile   = "file"
	kindBundle = "bundle"
	kindDelta  = "delta"
)

// addTarget takes a file into the repository. A path that ever had other bytes
// is a Conflict, but for bundles: they are renewed when the root is.
func addTarget(ctx context.Context, tx *store.Tx, t target) error {
	var sha, kind string
	err := tx.QueryRowContext(ctx, "SELECT sha256, kind FROM repository_target WHERE path = $1", t.path).Scan(&sha, &kind)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		var res sql.Result
		res, err = tx.ExecContext(ctx, "INSERT INTO repository_target (path, product, kind, sha256, size, gone) VALUES ($1, $2, $3, $4, $5, 0) ON CONFLICT (path) DO NOTHING",
			t.path, t.product, t.kind, t.sha256, t.size)
		if err == nil {
			if n, e := res.RowsAffected(); e == nil && n == 0 {
				return fault.Conflict.New("%s was offered by somebody else meanwhile: look at it and try again", t.path)
			}
		}
	case err == nil && (kind != t.kind || sha != t.sha256 && kind == kindFile):
		return fault.Conflict.New("%s had other bytes before (%s): a version never gets a second content; release a new version", t.path, sha)
	case err == nil:
		_, err = tx.ExecContext(ctx, "UPDATE repository_target SET gone = 0, sha256 = $2, size = $3 WHERE path = $1", t.path, t.sha256, t.size)
	}
	if err != nil {
		return fmt.Errorf("adding %s: %w", t.path, err)
	}
	return nil
}

// dropTargets takes files out that no channel offers any longer.
func dropTargets(ctx context.Context, tx *store.Tx, paths []string) error {
	for _, p := range paths {
		if _, err := tx.ExecContext(ctx, "UPDATE repository_target SET gone = 1 WHERE path = $1", p); err != nil {
			return fmt.Errorf("removing %s: %w", p, err)
		}
	}
	return nil
}

// targets lists what a product offers, by path.
func (s *Service) targets(ctx context.Context, product string) ([]target, error) {
	rows, err := s.DB.Query(ctx, "SELECT path, product, kind, sha256, size FROM repository_target WHERE product = $1 AND gone = 0 ORDER BY path", product)
	if err != nil {
		return nil, fmt.Errorf("reading the targets of %s: %w", product, err)
	}
	defer rows.Close()
	var all []target
	for rows.Next() {
		var t target
		if err := rows.Scan(&t.path, &t.product, &t.kind, &t.sha256, &t.size); err != nil {
			return nil, fmt.Errorf("reading the targets of %s: %w", product, err)
		}
		all = append(all, t)
	}
	return all, rows.Err()
}
