package release

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/base/store/storetest"
	"clerestory.dev/clerestory/internal/gate/audit"
	"clerestory.dev/clerestory/statement"
)

// TestNoStepBesideTheTable tries every pair of states, also behind the back of
// what the caller believes to know.
func TestNoStepBesideTheTable(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		ctx := t.Context()
		s := &Service{DB: storetest.Open(t, dsn), Now: func() time.Time { return time.Unix(1, 0) }}
		rel := &Release{ID: "r", PayloadHash: "h", Statement: statement.Release{Product: "p", Version: "1"}}
		err := s.DB.Write(ctx, func(tx *store.Tx) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO release (id, product, version, channel, state, payload, payload_hash, proposed_by, proposed_at)
				VALUES ('r', 'p', '1', 'c', 'draft', $1, 'h', 'x', 0)`, []byte("x"))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		try := func(is, believed, to State) error {
			return s.DB.Write(ctx, func(tx *store.Tx) error {
				if _, err := tx.ExecContext(ctx, "UPDATE release SET state = $1", is); err != nil {
					return err
				}
				r := *rel
				r.State = believed
				return s.step(ctx, tx, &r, to, "ada", "", nil)
			})
		}
		took := 0
		for _, from := range States {
			for _, to := range States {
				_, allowed := moveOf(from, to)
				err := try(from, from, to)
				if allowed != (err == nil) || !allowed && !errors.Is(err, fault.Conflict) {
					t.Errorf("from %s to %s: %v", from, to, err)
				}
				if err == nil {
					took++
				}
				for _, other := range States {
					if other == from || !allowed {
						continue
					}
					if err := try(other, from, to); !errors.Is(err, fault.Conflict) {
						t.Errorf("it is %s, and went from %s to %s: %v", other, from, to, err)
					}
				}
			}
		}
		if took != len(Moves) {
			t.Errorf("%d steps were taken; the table has %d", took, len(Moves))
		}
		head, err := audit.New(s.DB, s.Now).Check(ctx)
		if err != nil || head.Next != int64(took) {
			t.Errorf("%d audit records of %d steps: %v", head.Next, took, err)
		}
	})
}

func TestEveryStateIsReachedAndTheSaidOnesNeverGoBack(t *testing.T) {
	reached := map[State]bool{Drafted: true}
	for range States {
		for _, m := range Moves {
			if reached[m.From] {
				reached[m.To] = true
			}
		}
	}
	for _, s := range States {
		if !reached[s] {
			t.Errorf("nothing leads to %s", s)
		}
	}
	for i, m := range Moves {
		if m.From.Said() && !m.To.Said() || m.Back == m.From.Before(m.To) || m.From == Revoked || m.When == "" {
			t.Errorf("%+v", m)
		}
		for _, other := range Moves[:i] {
			if other.From == m.From && other.To == m.To {
				t.Errorf("%s to %s stands twice", m.From, m.To)
			}
		}
	}
}

// TestTheGuideDrawsTheTable compares the guide's drawing; UPDATE=1 draws it anew.
func TestTheGuideDrawsTheTable(t *testing.T) {
	const guide = "../../../docs/guide/release-process.md"
	page, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), "```mermaid\n")
	_, after, ok2 := strings.Cut(rest, "```\n")
	if !ok || !ok2 {
		t.Fatal("the guide has no drawing")
	}
	want := []byte(before + "```mermaid\n" + Diagram() + "```\n" + after)
	if bytes.Equal(want, page) {
		return
	}
	if os.Getenv("UPDATE") == "" {
		t.Fatal("the guide's drawing is not the table's: run this test with UPDATE=1")
	}
	if err := os.WriteFile(guide, want, 0o644); err != nil {
		t.Fatal(err)
	}
}
