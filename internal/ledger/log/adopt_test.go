package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/base/store/storetest"
)

// olderDatabase is a log of `all` entries and a backup of its database from when
// there were `then`.
func olderDatabase(t *testing.T, then, all int) (*vendor, *store.DB) {
	t.Helper()
	v := newVendor(t, t.TempDir())
	db := storetest.Open(t, filepath.Join(t.TempDir(), "db"))
	w, err := v.open(db)
	if err != nil {
		t.Fatal(err)
	}
	backup := filepath.Join(t.TempDir(), "backup")
	for i := range all {
		if i == then {
			if err := db.BackupTo(context.Background(), backup); err != nil {
				t.Fatal(err)
			}
		}
		v.say(t, db, fmt.Sprintf("statement %d", i))
	}
	if _, err := w.Wait(soon(t), int64(all-1)); err != nil {
		t.Fatal(err)
	}
	w.Close()
	return v, storetest.Open(t, backup)
}

func (v *vendor) adopt(ctx context.Context, db *store.DB, progress func(done, of int64)) (int64, error) {
	return Adopt(ctx, AdoptConfig{DB: db, Dir: v.config.Dir, VKey: v.config.VKey, Progress: progress})
}

func goesOn(t *testing.T, v *vendor, db *store.DB) {
	t.Helper()
	w := v.write(t, db)
	n, _ := v.say(t, db, "said after the repair")
	if _, err := w.Wait(soon(t), n); err != nil {
		t.Fatal(err)
	}
	allEntriesAreRows(t, v.config.Dir, db)
}

func TestARestoredBackupIsRefusedThenAdoptedThenContinued(t *testing.T) {
	v, db := olderDatabase(t, 300, 600)
	_, err := v.open(db)
	if !errors.Is(err, fault.Stale) || !strings.Contains(err.Error(), "600") || !strings.Contains(err.Error(), "300") || !strings.Contains(err.Error(), "clerestory log adopt") {
		t.Fatalf("opening with an older database: %v", err)
	}
	var last int64
	n, err := v.adopt(context.Background(), db, func(done, of int64) {
		if done < last || done > of {
			t.Errorf("progress went from %d to %d of %d", last, done, of)
		}
		last = done
	})
	if err != nil || n != 300 {
		t.Fatalf("adopting: %d, %v", n, err)
	}
	said, err := db.SaidAt(context.Background(), 599)
	if err != nil || said.At.Format("2006-01-02") != "2026-01-02" {
		t.Errorf("an adopted statement has the time %v, %v", said.At, err)
	}
	goesOn(t, v, db)
}

func TestAnInterruptedAdoptionGoesOn(t *testing.T) {
	v, db := olderDatabase(t, 10, 600)
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := v.adopt(ctx, db, func(done, of int64) {
		if done > of/2 {
			cancel()
		}
	}); err == nil {
		t.Fatal("it was not interrupted")
	}
	next, err := db.Next(context.Background())
	if err != nil || next <= 10 || next >= 600 {
		t.Fatalf("after the interruption the outbox is at %d, %v", next, err)
	}
	if n, err := v.adopt(context.Background(), db, nil); err != nil || n != 600-next {
		t.Fatalf("going on: %d, %v", n, err)
	}
	goesOn(t, v, db)
}

func TestADatabaseThatSaysOtherwiseIsNotOverwritten(t *testing.T) {
	v, db := olderDatabase(t, 5, 10)
	n, sum := v.say(t, db, "said into a restored database")
	if _, err := v.adopt(context.Background(), db, nil); !errors.Is(err, fault.Tampered) {
		t.Errorf("adopting over another statement: %v", err)
	}
	if said, err := db.SaidByHash(context.Background(), sum); err != nil || said.N != n {
		t.Errorf("the statement is gone: %v", err)
	}
}

func TestAChangedLogIsNotAdopted(t *testing.T) {
	for _, name := range []string{"tile/entries/000.p/10", "tile/0/000.p/10", "checkpoint"} {
		v, db := olderDatabase(t, 5, 10)
		path := filepath.Join(v.config.Dir, name)
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		raw[len(raw)/2] ^= 1
		os.WriteFile(path, raw, 0o644)
		if _, err := v.adopt(context.Background(), db, nil); !errors.Is(err, fault.Tampered) {
			t.Errorf("%s changed: %v", name, err)
		}
		if next, err := db.Next(context.Background()); err != nil || next != 5 {
			t.Errorf("%s changed: %d statements are there, %v", name, next, err)
		}
	}
}

func TestAMirrorCanTakeTheLogsPlace(t *testing.T) {
	v, db := closedLog(t, 300)
	before, _ := os.ReadFile(filepath.Join(v.config.Dir, "checkpoint"))
	if err := os.RemoveAll(filepath.Join(v.config.Dir, ".state")); err != nil {
		t.Fatal(err)
	}
	if _, err := v.open(db); !errors.Is(err, fault.Stale) || !strings.Contains(err.Error(), "clerestory log adopt") {
		t.Fatalf("a folder without the writer's state: %v", err)
	}
	after, _ := os.ReadFile(filepath.Join(v.config.Dir, "checkpoint"))
	if !bytes.Equal(before, after) {
		t.Fatal("the published checkpoint was overwritten")
	}
	if n, err := v.adopt(context.Background(), db, nil); err != nil || n != 0 {
		t.Fatalf("adopting: %d, %v", n, err)
	}
	goesOn(t, v, db)
}

func TestALostLogFolderIsWrittenAgainFromTheOutbox(t *testing.T) {
	v, db := closedLog(t, 300)
	if err := os.RemoveAll(v.config.Dir); err != nil {
		t.Fatal(err)
	}
	goesOn(t, v, db)
}
