package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/statement"
)

// Said is a row of the outbox: what became, or will become, log entry N.
type Said struct {
	N        int64
	Envelope []byte
	Kind     string
	At       time.Time // when it was said, by this machine's clock
}

// Say writes a statement to the outbox in this transaction and returns the
// number of the log entry that it will be. A statement that stands in the log
// already (the same bytes) is a Conflict.
func (tx *Tx) Say(ctx context.Context, e *statement.Envelope, at time.Time) (int64, error) {
	raw, err := e.Format()
	if err != nil {
		return 0, fault.Invalid.New("saying a statement: %w", err)
	}
	next, err := tx.number(ctx)
	if err != nil {
		return 0, err
	}
	return next, tx.record(ctx, next, e, raw, at)
}

// number takes the next number.
func (tx *Tx) number(ctx context.Context) (int64, error) {
	var next int64
	// The row lock that this takes on PostgreSQL is held until the commit: it is
	// what makes numbers gapless and in commit order.
	if err := tx.queryRow(ctx, "UPDATE outbox_head SET next = next + 1 WHERE id = 1 RETURNING next", &next); err != nil {
		return 0, fmt.Errorf("numbering a statement: %w", err)
	}
	return next - 1, nil
}

// Adopt writes what the log holds as entry n to the outbox, in its place: the
// repair of a database that is older than its log. n must be the next number.
func (tx *Tx) Adopt(ctx context.Context, n int64, envelope []byte, at time.Time) error {
	next, err := tx.number(ctx)
	if err != nil {
		return err
	}
	if next != n {
		return fault.Conflict.New("adopting entry %d: the outbox is at %d", n, next)
	}
	e, err := statement.ParseEnvelope(envelope)
	if err != nil {
		return fault.Invalid.New("adopting entry %d: %w", n, err)
	}
	return tx.record(ctx, n, e, envelope, at)
}

// record writes a row and its index. raw is e's one encoding.
func (tx *Tx) record(ctx context.Context, n int64, e *statement.Envelope, raw []byte, at time.Time) error {
	s, err := statement.Parse(e.Payload)
	if err != nil {
		return fault.Invalid.New("saying statement %d: %w", n, err)
	}
	sum := statement.HashOf(raw)
	res, err := tx.exec(ctx, `INSERT INTO statement (n, envelope, sha256, kind, said_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (sha256) DO NOTHING`,
		n, raw, sum, s.Kind(), at.UnixMilli())
	if err != nil {
		return fmt.Errorf("writing statement %d: %w", n, err)
	}
	if rows, err := res.RowsAffected(); err != nil || rows == 0 {
		return fault.Conflict.New("this statement was said already (sha256 %s)", sum)
	}
	for _, sub := range s.Subject {
		for _, digest := range sub.Digest {
			if _, err := tx.exec(ctx, "INSERT INTO statement_subject (n, name, digest) VALUES ($1, $2, $3)", n, sub.Name, digest); err != nil {
				return fmt.Errorf("indexing statement %d: %w", n, err)
			}
		}
	}
	for _, sig := range e.Signatures {
		if _, err := tx.exec(ctx, "INSERT INTO statement_signer (n, keyid) VALUES ($1, $2) ON CONFLICT DO NOTHING", n, sig.KeyID); err != nil {
			return fmt.Errorf("indexing statement %d: %w", n, err)
		}
	}
	tx.said = true
	return nil
}

// Next is the number that the next statement will get: how many there are.
func (d *DB) Next(ctx context.Context) (int64, error) {
	var next int64
	if err := d.read.QueryRowContext(ctx, "SELECT next FROM outbox_head WHERE id = 1").Scan(&next); err != nil {
		return 0, fmt.Errorf("reading the outbox: %w", err)
	}
	return next, nil
}

// SaidFrom reads up to limit statements from number n on, in order.
func (d *DB) SaidFrom(ctx context.Context, n int64, limit int) ([]Said, error) {
	rows, err := d.read.QueryContext(ctx, "SELECT n, envelope, kind, said_at FROM statement WHERE n >= $1 ORDER BY n LIMIT $2", n, limit)
	if err != nil {
		return nil, fmt.Errorf("reading the outbox: %w", err)
	}
	return scanSaid(rows)
}

// SaidAt reads statement n; there being none is NotFound.
func (d *DB) SaidAt(ctx context.Context, n int64) (Said, error) {
	s, err := d.SaidFrom(ctx, n, 1)
	if err == nil && (len(s) == 0 || s[0].N != n) {
		err = fault.NotFound.New("there is no statement %d", n)
	}
	if err != nil {
		return Said{}, err
	}
	return s[0], nil
}

// SaidByHash finds a statement by the SHA-256 of its envelope (statement.HashOf).
func (d *DB) SaidByHash(ctx context.Context, sum string) (Said, error) {
	var n int64
	err := d.read.QueryRowContext(ctx, "SELECT n FROM statement WHERE sha256 = $1", sum).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		return Said{}, fault.NotFound.New("there is no statement with sha256 %s", sum)
	}
	if err != nil {
		return Said{}, fmt.Errorf("finding a statement: %w", err)
	}
	return d.SaidAt(ctx, n)
}

func scanSaid(rows *sql.Rows) ([]Said, error) {
	defer rows.Close()
	var all []Said
	for rows.Next() {
		var s Said
		var ms int64
		if err := rows.Scan(&s.N, &s.Envelope, &s.Kind, &ms); err != nil {
			return nil, fmt.Errorf("reading a statement: %w", err)
		}
		s.At = time.UnixMilli(ms).UTC()
		all = append(all, s)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading statements: %w", err)
	}
	return all, nil
}
