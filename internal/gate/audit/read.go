package audit

import (
	"context"
	"crypto/subtle"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
)

// Head names a state of the trail: how many rows, and the hash of the last one.
type Head struct {
	Next int64
	Hash string
}

// Head is the state of the trail now.
func (t *Trail) Head(ctx context.Context) (Head, error) {
	var h Head
	if err := t.db.QueryRow(ctx, "SELECT next, hash FROM audit_head WHERE id = 1").Scan(&h.Next, &h.Hash); err != nil {
		return Head{}, fmt.Errorf("reading the audit trail's head: %w", err)
	}
	return h, nil
}

const columns = "n, at, actor, action, object, allowed, policies, previous, hash"

// Check walks the chain from its first row to its head. A row that is not what
// was written is Tampered, and the error names the first such row. known are
// earlier heads, as they were published: the chain must go through each.
// It returns the head to which the chain holds; rows that are written meanwhile
// are not covered.
func (t *Trail) Check(ctx context.Context, known ...Head) (Head, error) {
	head, err := t.Head(ctx)
	if err != nil {
		return Head{}, err
	}
	previous := strings.Repeat("0", 64)
	for n := int64(0); n < head.Next; {
		page, err := t.rows(ctx, "SELECT "+columns+" FROM audit WHERE n >= $1 AND n < $2 ORDER BY n LIMIT 1000", n, head.Next)
		if err != nil {
			return Head{}, err
		}
		if len(page) == 0 {
			return Head{}, fault.Tampered.New("checking the audit trail: row %d is missing", n)
		}
		for _, r := range page {
			if err := checkRow(r, n, previous, known); err != nil {
				return Head{}, err
			}
			previous = r.Hash
			n++
		}
	}
	if !equal(previous, head.Hash) {
		return Head{}, fault.Tampered.New("checking the audit trail: row %d is not the one that the head names", head.Next-1)
	}
	for _, k := range known {
		if k.Next > head.Next {
			return Head{}, fault.Tampered.New("checking the audit trail: row %d is missing; the trail had %d rows", head.Next, k.Next)
		}
	}
	return head, nil
}

func checkRow(r Record, n int64, previous string, known []Head) error {
	switch {
	case r.N != n:
		return fault.Tampered.New("checking the audit trail: row %d is missing", n)
	case !equal(r.Previous, previous):
		return fault.Tampered.New("checking the audit trail: row %d does not follow the row before it", n)
	case !equal(r.sum(), r.Hash):
		return fault.Tampered.New("checking the audit trail: row %d was changed", n)
	}
	for _, k := range known {
		if k.Next == n+1 && !equal(k.Hash, r.Hash) {
			return fault.Tampered.New("checking the audit trail: row %d is not the one that was published", n)
		}
	}
	return nil
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// Filter narrows a list of records; empty members do not filter.
type Filter struct {
	Actor   string
	Action  string
	Allowed *bool
	// Before is the cursor: records with smaller numbers. 0 is a valid number,
	// so nil means none.
	Before *int64
	Limit  int // 1 to Caps.List
}

// List lists records, newest first.
func (t *Trail) List(ctx context.Context, f Filter) ([]Record, error) {
	var where []string
	var args []any
	add := func(cond string, arg any) {
		args = append(args, arg)
		where = append(where, fmt.Sprintf("%s $%d", cond, len(args)))
	}
	if f.Actor != "" {
		add("actor =", f.Actor)
	}
	if f.Action != "" {
		add("action =", f.Action)
	}
	if f.Allowed != nil {
		allowed := 0
		if *f.Allowed {
			allowed = 1
		}
		add("allowed =", allowed)
	}
	if f.Before != nil {
		add("n <", *f.Before)
	}
	query := "SELECT " + columns + " FROM audit"
	if len(where) > 0 {
		query += " WHERE " + strings.Join(where, " AND ")
	}
	return t.rows(ctx, fmt.Sprintf("%s ORDER BY n DESC LIMIT %d", query, min(max(f.Limit, 1), Caps.List)), args...)
}

func (t *Trail) rows(ctx context.Context, query string, args ...any) ([]Record, error) {
	rows, err := t.db.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("reading the audit trail: %w", err)
	}
	defer rows.Close()
	var all []Record
	for rows.Next() {
		r, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading the audit trail: %w", err)
	}
	return all, nil
}

func scan(rows *sql.Rows) (Record, error) {
	var r Record
	var at, allowed int64
	var policies string
	if err := rows.Scan(&r.N, &at, &r.Actor, &r.Action, &r.Object, &allowed, &policies, &r.Previous, &r.Hash); err != nil {
		return Record{}, fmt.Errorf("reading an audit record: %w", err)
	}
	r.At = time.UnixMilli(at).UTC()
	r.Allowed = allowed == 1
	if policies != "" {
		r.Policies = strings.Split(policies, ",")
	}
	return r, nil
}
