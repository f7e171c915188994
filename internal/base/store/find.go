package store

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Filter narrows a list of statements; empty members do not filter.
type Filter struct {
	Kind    string // short name of a kind, or a predicate type URI
	Subject string // a subject's exact name, or one of its digests in hex
	Signer  string // key id
	From    time.Time
	To      time.Time // exclusive
	// Before and After are the cursor: statements with smaller, or greater,
	// numbers. At most one is set; 0 is a valid number, so nil means none.
	Before, After *int64
	Limit         int // 1 to 500
}

// Find lists statements, newest first. With After it lists the ones that follow
// that number most closely, still newest first.
func (d *DB) Find(ctx context.Context, f Filter) ([]Said, error) {
	var where []string
	var args []any
	add := func(cond string, arg any) {
		args = append(args, arg)
		where = append(where, strings.ReplaceAll(cond, "?", fmt.Sprintf("$%d", len(args))))
	}
	if f.Kind != "" {
		add("kind = ?", f.Kind)
	}
	if f.Subject != "" {
		add("n IN (SELECT n FROM statement_subject WHERE name = ? OR digest = ?)", f.Subject)
	}
	if f.Signer != "" {
		add("n IN (SELECT n FROM statement_signer WHERE keyid = ?)", f.Signer)
	}
	if !f.From.IsZero() {
		add("said_at >= ?", f.From.UnixMilli())
	}
	if !f.To.IsZero() {
		add("said_at < ?", f.To.UnixMilli())
	}
	order := "DESC"
	if f.Before != nil {
		add("n < ?", *f.Before)
	}
	if f.After != nil {
		add("n > ?", *f.After)
		order = "ASC"
	}
	query := "SELECT n, envelope, kind, said_at FROM statement"
	if len(where) > 0 {
		query += " WHERE " + strings.Join(where, " AND ")
	}
	query += fmt.Sprintf(" ORDER BY n %s LIMIT %d", order, min(max(f.Limit, 1), 500))
	rows, err := d.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("listing statements: %w", err)
	}
	said, err := scanSaid(rows)
	if f.After != nil {
		for i, j := 0, len(said)-1; i < j; i, j = i+1, j-1 {
			said[i], said[j] = said[j], said[i]
		}
	}
	return said, err
}
