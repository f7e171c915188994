package audit_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/base/store/storetest"
	"clerestory.dev/clerestory/internal/gate/audit"
)

func now() time.Time { return time.Date(2026, 11, 1, 12, 0, 0, 123456789, time.UTC) }

func event(i int) audit.Event {
	return audit.Event{Actor: fmt.Sprintf("person%d", i%2), Action: "release:approve", Object: fmt.Sprintf("release:%d", i), Allowed: i%3 != 0, Policies: []string{"a", "b"}}
}

func fill(t *testing.T, trail *audit.Trail, count int) {
	t.Helper()
	for i := range count {
		if err := trail.RecordAlone(context.Background(), event(i)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRecordsOfManyWritersAreOneChainWithoutGaps(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		db := storetest.Open(t, dsn)
		trail := audit.New(db, now)
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				err := db.Write(context.Background(), func(tx *store.Tx) error {
					if err := trail.Record(context.Background(), tx, event(i)); err != nil {
						return err
					}
					if i%4 == 0 {
						return errors.New("the deed failed")
					}
					return nil
				})
				if (err != nil) != (i%4 == 0) {
					t.Errorf("writer %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		head, err := trail.Check(context.Background())
		if err != nil || head.Next != 30 {
			t.Fatalf("head %+v, %v; a failed deed must leave no record and no gap", head, err)
		}
	})
}

func TestTamperingIsFoundAtItsRow(t *testing.T) {
	attacks := map[string]struct{ sql, want string }{
		"another verdict":       {"UPDATE audit SET allowed = 0 WHERE n = 4", "row 4 was changed"},
		"another actor":         {"UPDATE audit SET actor = 'mallory' WHERE n = 4", "row 4 was changed"},
		"a row taken out":       {"DELETE FROM audit WHERE n = 4", "row 4 is missing"},
		"the last row taken":    {"DELETE FROM audit WHERE n = 9", "row 9 is missing"},
		"a hash made to fit":    {"UPDATE audit SET hash = previous WHERE n = 4", "row 4 was changed"},
		"the tail cut off":      {"UPDATE audit_head SET next = 5", "row 4 is not the one that the head names"},
		"two rows exchanged":    {"UPDATE audit SET object = CASE n WHEN 4 THEN 'release:5' ELSE 'release:4' END WHERE n IN (4, 5)", "row 4 was changed"},
		"cut off with the head": {"UPDATE audit_head SET next = 5, hash = (SELECT hash FROM audit WHERE n = 4)", "row 5 is missing"},
	}
	storetest.Each(t, func(t *testing.T, dsn string) {
		for name, attack := range attacks {
			t.Run(name, func(t *testing.T) {
				// Each attack works on a database of its own.
				own := dsn + "-" + strings.ReplaceAll(name, " ", "-")
				if strings.HasPrefix(dsn, "postgres://") {
					own = storetest.Postgres(t)
				}
				db := storetest.Open(t, own)
				trail := audit.New(db, now)
				fill(t, trail, 10)
				published, err := trail.Check(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				if err := db.Write(context.Background(), func(tx *store.Tx) error {
					_, err := tx.ExecContext(context.Background(), attack.sql)
					return err
				}); err != nil {
					t.Fatal(err)
				}
				_, err = trail.Check(context.Background(), published)
				if !errors.Is(err, fault.Tampered) || !strings.Contains(err.Error(), attack.want) {
					t.Fatalf("got %v, want %s", err, attack.want)
				}
			})
		}
	})
}

func TestARewrittenTrailContradictsThePublishedHead(t *testing.T) {
	ctx := context.Background()
	one := audit.New(storetest.Open(t, t.TempDir()+"/one"), now)
	fill(t, one, 3)
	published, _ := one.Head(ctx)
	two := audit.New(storetest.Open(t, t.TempDir()+"/two"), func() time.Time { return now().Add(time.Second) })
	fill(t, two, 5)
	if _, err := two.Check(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := two.Check(ctx, published); !errors.Is(err, fault.Tampered) || !strings.Contains(err.Error(), "row 2 is not the one that was published") {
		t.Fatalf("got %v", err)
	}
	if _, err := one.Check(ctx, published); err != nil {
		t.Fatal(err)
	}
}

func TestListPagesAndFilters(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		ctx := context.Background()
		trail := audit.New(storetest.Open(t, dsn), now)
		fill(t, trail, 10)
		refused := false
		list, err := trail.List(ctx, audit.Filter{Actor: "person0", Action: "release:approve", Allowed: &refused, Limit: 10})
		if err != nil || len(list) != 2 || list[0].N != 6 || list[1].N != 0 {
			t.Fatalf("got %+v, %v", list, err)
		}
		r := list[0]
		if !slices.Equal(r.Policies, []string{"a", "b"}) || r.Allowed || !r.At.Equal(now().Truncate(time.Millisecond)) {
			t.Fatalf("got %+v", r)
		}
		var numbers []int64
		var before *int64
		for {
			page, err := trail.List(ctx, audit.Filter{Before: before, Limit: 4})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range page {
				numbers = append(numbers, r.N)
			}
			if len(page) == 0 {
				break
			}
			before = &page[len(page)-1].N
		}
		if !slices.Equal(numbers, []int64{9, 8, 7, 6, 5, 4, 3, 2, 1, 0}) {
			t.Fatalf("pages gave %v", numbers)
		}
	})
}

// A line break in a field would let one event read like two.
func TestAnEventCanNotForgeLines(t *testing.T) {
	trail := audit.New(storetest.Open(t, t.TempDir()+"/db"), now)
	for _, e := range []audit.Event{
		{Actor: "a\nb"}, {Action: "a\rb"}, {Object: "\xff"}, {Object: strings.Repeat("x", 257)},
		{Policies: []string{"a,b"}}, {Policies: []string{""}}, {Policies: make([]string, 65)},
	} {
		if err := trail.RecordAlone(context.Background(), e); !errors.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", e, err)
		}
	}
	if head, _ := trail.Head(context.Background()); head.Next != 0 {
		t.Errorf("%d rows", head.Next)
	}
}

// The text is a format: auditors recompute it.
func TestTheTextIsAsDocumented(t *testing.T) {
	r := audit.Record{Event: audit.Event{Actor: "alice", Action: "release:approve", Object: "release:app/1.2", Allowed: true, Policies: []string{"p", "q"}}, N: 7, At: now(), Previous: strings.Repeat("0", 64)}
	want := "clerestory.dev/audit/v1\n7\n2026-11-01T12:00:00.123Z\nalice\nrelease:approve\nrelease:app/1.2\nallowed\np,q\n" + strings.Repeat("0", 64) + "\n"
	if r.Text() != want {
		t.Fatalf("got %q", r.Text())
	}
}
