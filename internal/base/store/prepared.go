package store

import (
	"context"
	"database/sql"
	"fmt"
)

// prepared keeps the outbox's SQL compiled while SQLite's writer commits a group:
// compiling it costs more than running it. It belongs to one transaction, which closes what it prepared.
type prepared struct {
	tx  *sql.Tx
	all map[string]*sql.Stmt
}

func (p *prepared) stmt(ctx context.Context, query string) (*sql.Stmt, error) {
	s, ok := p.all[query]
	if !ok {
		var err error
		if s, err = p.tx.PrepareContext(ctx, query); err != nil {
			return nil, fmt.Errorf("preparing a statement: %w", err)
		}
		p.all[query] = s
	}
	return s, nil
}

// exec runs SQL that is run for every statement said.
func (tx *Tx) exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if tx.prepared == nil {
		return tx.ExecContext(ctx, query, args...)
	}
	s, err := tx.prepared.stmt(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.ExecContext(ctx, args...)
}

// queryRow reads one value with SQL that is run for every statement said.
func (tx *Tx) queryRow(ctx context.Context, query string, into any) error {
	if tx.prepared == nil {
		return tx.QueryRowContext(ctx, query).Scan(into)
	}
	s, err := tx.prepared.stmt(ctx, query)
	if err != nil {
		return err
	}
	return s.QueryRowContext(ctx).Scan(into)
}
