// Package audit is the audit trail: who did, or was refused, what to what, in
// rows that only follow each other.
//
// It promises: rows are numbered from 0 without gaps, and each carries the
// SHA-256 of a text that anybody can print and that contains the hash of the row
// before, so that a changed, removed or exchanged row is found by [Trail.Check],
// by its number. It refuses events with line breaks and long texts. A row says
// nothing about a person but the id, and never a secret: callers name objects by
// their ids.
//
// Whoever rewrites the whole table and its head leaves a chain that holds. That
// is why heads are published: [Trail.Check] compares the chain with the [Head]s
// that it is given.
//
// Start at [New] and [Trail.Record].
package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
)

// Caps bound an event; a longer one is a mistake of the caller's.
var Caps = struct {
	Text     int // bytes of an actor, an action, an object or a policy's id
	Policies int // ids of one event
	List     int // rows of one page
}{Text: 256, Policies: 64, List: 500}

// Event is what happened.
type Event struct {
	Actor    string   // a person's id; "" is a visitor
	Action   string   // "release:approve"
	Object   string   // "release:app/1.2"
	Allowed  bool     // false: it was refused
	Policies []string // ids of the policies that decided, if policies did
}

// Record is a row of the trail.
type Record struct {
	Event
	N        int64
	At       time.Time // to the millisecond, UTC
	Previous string    // hash of row N-1; 64 zeros for row 0
	Hash     string
}

// Text is what Hash covers: one line per field. Version 1.
func (r Record) Text() string {
	verdict := "refused"
	if r.Allowed {
		verdict = "allowed"
	}
	return strings.Join([]string{
		"clerestory.dev/audit/v1",
		strconv.FormatInt(r.N, 10),
		r.At.UTC().Format("2006-01-02T15:04:05.000Z"),
		r.Actor,
		r.Action,
		r.Object,
		verdict,
		strings.Join(r.Policies, ","),
		r.Previous,
	}, "\n") + "\n"
}

func (r Record) sum() string {
	sum := sha256.Sum256([]byte(r.Text()))
	return hex.EncodeToString(sum[:])
}

// Trail writes and reads the audit trail. It may be used concurrently.
type Trail struct {
	db  *store.DB
	now func() time.Time
}

// New opens the trail of a database.
func New(db *store.DB, now func() time.Time) *Trail { return &Trail{db: db, now: now} }

// Record appends an event in the transaction of the deed, so that both are
// there or neither. In one transaction it comes before store.Tx.Say: both hold
// a lock until the commit, and two orders would be a deadlock on PostgreSQL.
func (t *Trail) Record(ctx context.Context, tx *store.Tx, e Event) error {
	if err := e.check(); err != nil {
		return err
	}
	r := Record{Event: e, At: t.now().UTC().Truncate(time.Millisecond)}
	// The row lock that this takes on PostgreSQL is held until the commit: it is
	// what makes the chain one chain. The hash is still the previous row's.
	if err := tx.QueryRowContext(ctx, "UPDATE audit_head SET next = next + 1 WHERE id = 1 RETURNING next - 1, hash").Scan(&r.N, &r.Previous); err != nil {
		return fmt.Errorf("numbering an audit record: %w", err)
	}
	r.Hash = r.sum()
	allowed := 0
	if r.Allowed {
		allowed = 1
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO audit (n, at, actor, action, object, allowed, policies, previous, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
		r.N, r.At.UnixMilli(), r.Actor, r.Action, r.Object, allowed, strings.Join(r.Policies, ","), r.Previous, r.Hash); err != nil {
		return fmt.Errorf("writing audit record %d: %w", r.N, err)
	}
	if _, err := tx.ExecContext(ctx, "UPDATE audit_head SET hash = $1 WHERE id = 1", r.Hash); err != nil {
		return fmt.Errorf("writing audit record %d: %w", r.N, err)
	}
	return nil
}

// RecordAlone appends an event in a transaction of its own: for reads and for
// refusals, which have no other. Not to be called inside a store.DB.Write.
func (t *Trail) RecordAlone(ctx context.Context, e Event) error {
	return t.db.Write(ctx, func(tx *store.Tx) error { return t.Record(ctx, tx, e) })
}

func (e Event) check() error {
	if len(e.Policies) > Caps.Policies {
		return fault.Invalid.New("recording an event: %d policies; at most %d are allowed", len(e.Policies), Caps.Policies)
	}
	for _, text := range append([]string{e.Actor, e.Action, e.Object}, e.Policies...) {
		if len(text) > Caps.Text || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
			return fault.Invalid.New("recording an event: %.40q must be one line of at most %d bytes", text, Caps.Text)
		}
	}
	for _, id := range e.Policies {
		if id == "" || strings.Contains(id, ",") {
			return fault.Invalid.New("recording an event: %q is not the id of a policy", id)
		}
	}
	return nil
}
