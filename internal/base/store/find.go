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
	query, args := f.query()
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

// query reads numbers from indexes that give them in order, one stream for each
// condition, and stops when the streams have met often enough: a subject that a
// million statements share costs as little as a rare one. Conditions that are
// common but seldom met together are the worst case, one pass over both indexes.
func (f Filter) query() (string, []any) {
	var args []any
	arg := func(v any) string {
		args = append(args, v)
		return fmt.Sprintf("$%d", len(args))
	}
	order, cursor := "DESC", ""
	if f.Before != nil {
		cursor = " AND n < " + arg(*f.Before)
	}
	if f.After != nil {
		cursor += " AND n > " + arg(*f.After)
		order = "ASC"
	}
	var streams []string
	probes := ""
	stream := func(table, cond string) {
		streams = append(streams, "SELECT n FROM "+table+" WHERE "+cond+cursor)
		probes += " AND EXISTS (SELECT 1 FROM " + table + " o WHERE o.n = statement_subject.n AND " + cond + ")"
	}
	if f.Kind != "" {
		stream("statement", "kind = "+arg(f.Kind))
	}
	if f.Signer != "" {
		stream("statement_signer", "keyid = "+arg(f.Signer))
	}
	var times []string
	if !f.From.IsZero() {
		times = append(times, "said_at >= "+arg(f.From.UnixMilli()))
	}
	if !f.To.IsZero() {
		times = append(times, "said_at < "+arg(f.To.UnixMilli()))
	}
	if len(times) > 0 {
		stream("statement", strings.Join(times, " AND "))
	}
	end := fmt.Sprintf(" ORDER BY n %s LIMIT %d", order, min(max(f.Limit, 1), 500))
	const all = "SELECT n, envelope, kind, said_at FROM statement WHERE "
	numbers := strings.Join(streams, " INTERSECT ")
	if f.Subject != "" {
		// Few statements share a digest, so each is looked at; a name may be in all
		// of them. INTERSECT stands first: SQLite reads from the left, and in
		// PostgreSQL it binds closer than UNION.
		others := ""
		if numbers != "" {
			others = " INTERSECT " + numbers
		}
		subject := arg(f.Subject)
		from := "SELECT n FROM statement_subject WHERE "
		numbers = from + "name = " + subject + cursor + others + " UNION " + from + "digest = " + subject + cursor + probes
	}
	if numbers == "" {
		return all + "1 = 1" + cursor + end, args
	}
	return all + "n IN (" + numbers + end + ") ORDER BY n " + order, args
}
