package store_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/base/store/storetest"
	"clerestory.dev/clerestory/statement"
)

var at = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

type signer struct{ key ed25519.PrivateKey }

func (s signer) KeyID() string { return statement.KeyID(s.key.Public().(ed25519.PublicKey)) }
func (s signer) Sign(m []byte) ([]byte, error) {
	return ed25519.Sign(s.key, m), nil
}

var alice = signer{ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))}

func envelope(t testing.TB, i int) *statement.Envelope {
	t.Helper()
	commit := fmt.Sprintf("%040x", i)
	payload, err := statement.New(
		[]statement.Subject{{Name: "repo", Digest: map[string]string{"gitCommit": commit, "gitTree": commit}}},
		&statement.Source{Product: "p", Repository: "repo", Commit: commit, Tree: commit, At: "2026-11-01T12:00:00Z"})
	if err != nil {
		t.Fatal(err)
	}
	e, err := statement.Sign(payload, alice)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func say(t testing.TB, db *store.DB, e *statement.Envelope) (n int64, err error) {
	t.Helper()
	err = db.Write(context.Background(), func(tx *store.Tx) error {
		n, err = tx.Say(context.Background(), e, at)
		return err
	})
	return n, err
}

func TestStatementsAreNumberedWithoutGaps(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		db := storetest.Open(t, dsn)
		ctx := context.Background()
		const writers, each = 16, 12
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					err := db.Write(ctx, func(tx *store.Tx) error {
						if _, err := tx.Say(ctx, envelope(t, w*each+i), at); err != nil {
							return err
						}
						if i%4 == 3 {
							return errors.New("changed my mind") // must leave no gap
						}
						return nil
					})
					if (err != nil) != (i%4 == 3) {
						t.Errorf("writer %d, statement %d: %v", w, i, err)
					}
				}
			})
		}
		wg.Wait()
		want := int64(writers * each * 3 / 4)
		if next, err := db.Next(ctx); err != nil || next != want {
			t.Fatalf("next is %d (%v), want %d", next, err, want)
		}
		said, err := db.SaidFrom(ctx, 0, 1000)
		if err != nil || int64(len(said)) != want {
			t.Fatalf("%d statements (%v), want %d", len(said), err, want)
		}
		for i, s := range said {
			if s.N != int64(i) {
				t.Fatalf("statement %d has number %d", i, s.N)
			}
		}
	})
}

func TestTheSameStatementIsSaidOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		db := storetest.Open(t, dsn)
		if _, err := say(t, db, envelope(t, 1)); err != nil {
			t.Fatal(err)
		}
		if _, err := say(t, db, envelope(t, 1)); !errors.Is(err, fault.Conflict) {
			t.Fatalf("got %v, want a conflict", err)
		}
		if n, err := say(t, db, envelope(t, 2)); n != 1 || err != nil {
			t.Fatalf("the refused statement left a gap: next got %d, %v", n, err)
		}
	})
}

func TestWhatWasAcknowledgedIsThereAfterReopening(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		db, err := store.Open(context.Background(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		e := envelope(t, 7)
		if _, err := say(t, db, e); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		db = storetest.Open(t, dsn)
		got, err := db.SaidAt(context.Background(), 0)
		want, _ := e.Format()
		if err != nil || !bytes.Equal(got.Envelope, want) || got.Kind != "source" || !got.At.Equal(at) {
			t.Fatalf("got %+v, %v", got, err)
		}
	})
}

func TestFind(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		db := storetest.Open(t, dsn)
		for i := range 10 {
			if _, err := say(t, db, envelope(t, i)); err != nil {
				t.Fatal(err)
			}
		}
		five, three := int64(5), int64(3)
		for _, c := range []struct {
			name string
			f    store.Filter
			want string
		}{
			{"newest first", store.Filter{Limit: 3}, "9 8 7"},
			{"before a cursor", store.Filter{Before: &five, Limit: 2}, "4 3"},
			{"after a cursor", store.Filter{After: &three, Limit: 2}, "5 4"},
			{"by digest", store.Filter{Subject: fmt.Sprintf("%040x", 4), Limit: 9}, "4"},
			{"by name", store.Filter{Subject: "repo", Limit: 2}, "9 8"},
			{"by kind", store.Filter{Kind: "release", Limit: 9}, ""},
			{"by signer", store.Filter{Signer: alice.KeyID(), Limit: 1}, "9"},
			{"too late", store.Filter{From: at.Add(time.Second), Limit: 9}, ""},
			{"hostile", store.Filter{Kind: "x' OR 1=1 --", Limit: 9}, ""},
		} {
			said, err := db.Find(context.Background(), c.f)
			got := ""
			for i, s := range said {
				if i > 0 {
					got += " "
				}
				got += fmt.Sprint(s.N)
			}
			if err != nil || got != c.want {
				t.Errorf("%s: got %q (%v), want %q", c.name, got, err, c.want)
			}
		}
	})
}

func TestANewerDatabaseIsRefused(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		db := storetest.Open(t, dsn)
		err := db.Write(context.Background(), func(tx *store.Tx) error {
			_, err := tx.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, true)")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.Open(context.Background(), dsn); !errors.Is(err, fault.Stale) {
			t.Fatalf("got %v, want a refusal", err)
		}
	})
}

func TestAPanickingWriterHarmsNobodyElse(t *testing.T) {
	db := storetest.Open(t, filepath.Join(t.TempDir(), "db"))
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			err := db.Write(context.Background(), func(tx *store.Tx) error {
				if _, err := tx.Say(context.Background(), envelope(t, i), at); err != nil {
					return err
				}
				if i%2 == 0 {
					panic("boom")
				}
				return nil
			})
			if (err != nil) != (i%2 == 0) {
				t.Errorf("writer %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if next, err := db.Next(context.Background()); next != 10 || err != nil {
		t.Fatalf("next is %d, %v", next, err)
	}
}

func TestBackupWhileWriting(t *testing.T) {
	dir := t.TempDir()
	db := storetest.Open(t, filepath.Join(dir, "db"))
	say(t, db, envelope(t, 1))
	copyFile := filepath.Join(dir, "copy")
	if err := db.BackupTo(context.Background(), copyFile); err != nil {
		t.Fatal(err)
	}
	if next, err := storetest.Open(t, copyFile).Next(context.Background()); next != 1 || err != nil {
		t.Fatalf("the copy has %d statements, %v", next, err)
	}
}
