package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/base/store/storetest"
	"clerestory.dev/clerestory/internal/ledger/tile"
	"clerestory.dev/clerestory/verify"
)

func TestWhatIsSaidBecomesTheEntryWithItsNumberAndAProof(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		v := newVendor(t, t.TempDir())
		db := storetest.Open(t, dsn)
		first, _ := v.say(t, db, "said before the log was opened")
		w := v.write(t, db)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for j := range 40 {
					if _, _, err := v.trySay(db, fmt.Sprintf("writer %d, statement %d", i, j)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		cp, err := w.Wait(soon(t), 320)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int64{first, 255, 256, 320} {
			_, text, err := w.Proof(soon(t), n, cp)
			if err != nil {
				t.Fatalf("proving %d: %v", n, err)
			}
			checkProof(t, w, db, n, text)
		}
		allEntriesAreRows(t, v.config.Dir, db)
		if s := w.Status(soon(t)); s.Size != 321 || s.Published != 321 || s.Pending != 0 || s.Err != nil || s.Stopped {
			t.Errorf("status %+v", s)
		}
	})
}

func checkProof(t *testing.T, w *Writer, db *store.DB, n int64, text []byte) {
	t.Helper()
	p, err := verify.ParseProof(text)
	if err != nil {
		t.Fatal(err)
	}
	c, err := w.policy.Open(p.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	said, err := db.SaidAt(context.Background(), n)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Check(c, said.Envelope); err != nil {
		t.Errorf("a stranger does not accept the proof of %d: %v", n, err)
	}
}

// allEntriesAreRows compares the published log, as any reader gets it, with the
// outbox: as many, and entry n is row n.
func allEntriesAreRows(t *testing.T, dir string, db *store.DB) {
	t.Helper()
	raw, err := tile.Dir(dir).Checkpoint(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	v := newVendor(t, dir)
	p, err := parsePolicy(v.config)
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.bare.Open(raw)
	if err != nil {
		t.Fatal(err)
	}
	next, err := db.Next(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if c.Size != next {
		t.Errorf("the log has %d entries, the outbox %d", c.Size, next)
	}
	if err := compareEntries(context.Background(), tile.Dir(dir), db, 0, c.Size, c.Size); err != nil {
		t.Error(err)
	}
	if _, err := rangeAt(context.Background(), tile.Dir(dir), c); err != nil {
		t.Error(err)
	}
}

func TestARestartGoesOnWhereItWas(t *testing.T) {
	dir := t.TempDir()
	db := storetest.Open(t, filepath.Join(t.TempDir(), "db"))
	v := newVendor(t, dir)
	for round := range 4 {
		w, err := v.open(db)
		if err != nil {
			t.Fatal(err)
		}
		var last int64
		for i := range 100 {
			last, _ = v.say(t, db, fmt.Sprintf("round %d statement %d", round, i))
		}
		if round%2 == 0 {
			if _, err := w.Wait(soon(t), last); err != nil {
				t.Fatal(err)
			}
		}
		w.Close()
	}
	w := v.write(t, db)
	if _, err := w.Wait(soon(t), 399); err != nil {
		t.Fatal(err)
	}
	allEntriesAreRows(t, dir, db)
}

func TestTwoWritersOfOneLogAreRefused(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		v := newVendor(t, t.TempDir())
		db := storetest.Open(t, dsn)
		v.write(t, db)
		_, err := v.open(db)
		if !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) || !strings.Contains(err.Error(), v.config.Dir) {
			t.Errorf("the same folder: %v", err)
		}
		other := newVendor(t, t.TempDir())
		if _, err := other.open(storetest.Open(t, dsn)); !errors.Is(err, fault.Conflict) {
			t.Errorf("the same outbox, another folder: %v", err)
		}
	})
}

func TestTheLockEndsWithTheWriter(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		v := newVendor(t, t.TempDir())
		db := storetest.Open(t, dsn)
		for range 2 {
			w, err := v.open(db)
			if err != nil {
				t.Fatal(err)
			}
			w.Close()
		}
	})
}

func TestAnotherProcessesStatementsAreFound(t *testing.T) {
	v := newVendor(t, t.TempDir())
	file := filepath.Join(t.TempDir(), "db")
	w := v.write(t, storetest.Open(t, file))
	n, _ := v.say(t, storetest.Open(t, file), "said through another connection")
	if _, err := w.Wait(soon(t), n); err != nil {
		t.Error(err)
	}
}

func TestWithoutAQuorumNothingIsPublishedAndClosingIsBounded(t *testing.T) {
	a, b, c := newWitness(t, "a.example"), newWitness(t, "b.example"), newWitness(t, "c.example")
	v := newVendor(t, t.TempDir())
	v.config.UnsafeNoWitnesses = false
	v.config.Policy = a.line("a") + b.line("b") + c.line("c") + "group two 2 a b c\nquorum two\n"
	db := storetest.Open(t, filepath.Join(t.TempDir(), "db"))
	a.down.Store(true)
	w, err := v.open(db)
	if err != nil {
		t.Fatal(err)
	}
	n, _ := v.say(t, db, "cosigned by two of three")
	cp, err := w.Wait(soon(t), n)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := w.policy.Open(cp)
	if err != nil || len(opened.Cosigned) != 2 {
		t.Fatalf("%v, %+v", err, opened)
	}
	if s := w.Status(soon(t)); len(s.Cosigned) != 2 || s.Err != nil {
		t.Errorf("status %+v", s)
	}

	b.down.Store(true)
	n, _ = v.say(t, db, "cosigned by one of three")
	short, cancel := context.WithTimeout(context.Background(), 700*time.Millisecond)
	defer cancel()
	if _, err := w.Wait(short, n); !errors.Is(err, fault.Unavailable) {
		t.Errorf("waiting without a quorum: %v", err)
	}
	if s := w.Status(soon(t)); s.Published != n || s.Size != n+1 || !errors.Is(s.Err, fault.Unavailable) || !strings.Contains(s.Err.Error(), "witness b") {
		t.Errorf("status %+v", s)
	}
	begun := time.Now()
	w.Close()
	if took := time.Since(begun); took > 6*time.Second {
		t.Errorf("closing took %v", took)
	}

	b.down.Store(false)
	w = v.write(t, db)
	if _, err := w.Wait(soon(t), n); err != nil {
		t.Errorf("after the witness came back: %v", err)
	}
}

func TestANewLogBeginsWhileItsWitnessesAreAway(t *testing.T) {
	a := newWitness(t, "a.example")
	a.down.Store(true)
	v := newVendor(t, t.TempDir())
	v.config.UnsafeNoWitnesses = false
	v.config.Policy = a.line("a") + "quorum a\n"
	db := storetest.Open(t, filepath.Join(t.TempDir(), "db"))
	w := v.write(t, db)
	n, _ := v.say(t, db, "said into the dark")
	a.down.Store(false)
	if _, err := w.Wait(soon(t), n); err != nil {
		t.Error(err)
	}
}

func TestPoliciesThatWouldFoolAReaderAreRefused(t *testing.T) {
	a, b := newWitness(t, "a.example"), newWitness(t, "b.example")
	renamed := strings.Replace(a.line("twin"), a.URL, b.URL, 1)
	for name, policy := range map[string]string{
		"no policy":                    "",
		"a policy that asks nobody":    a.line("a") + "quorum none\n",
		"one key under two names":      a.line("a") + renamed + "group both all a twin\nquorum both\n",
		"a witness without URL":        "witness a " + a.vkey + "\nquorum a\n",
		"two witnesses behind one URL": a.line("a") + "witness b " + b.vkey + " " + a.URL + "\ngroup g all a b\nquorum g\n",
		"another log's policy":         "log log.example/other+7b1a5d9b+AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g\n" + a.line("a") + "quorum a\n",
	} {
		v := newVendor(t, t.TempDir())
		v.config.UnsafeNoWitnesses = false
		v.config.Policy = policy
		if _, err := v.open(storetest.Open(t, filepath.Join(t.TempDir(), "db"))); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// closedLog is a log of n entries whose writer has ended.
func closedLog(t *testing.T, n int) (*vendor, *store.DB) {
	t.Helper()
	v := newVendor(t, t.TempDir())
	db := storetest.Open(t, filepath.Join(t.TempDir(), "db"))
	w, err := v.open(db)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		v.say(t, db, fmt.Sprintf("statement %d", i))
	}
	if _, err := w.Wait(soon(t), int64(n-1)); err != nil {
		t.Fatal(err)
	}
	w.Close()
	return v, db
}

func TestAnEntryThatDiffersFromItsRowStopsTheWriterForGood(t *testing.T) {
	v, db := closedLog(t, 3)
	bundle := filepath.Join(v.config.Dir, "tile/entries/000.p/3")
	raw, err := os.ReadFile(bundle)
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(bundle, bytes.Replace(raw, []byte("keyid"), []byte("keyjd"), 1), 0o644)
	for range 2 {
		if _, err := v.open(db); !errors.Is(err, fault.Tampered) {
			t.Errorf("a changed entry: %v", err)
		}
	}
}

func TestAChangedTileIsNotBuiltUpon(t *testing.T) {
	v, db := closedLog(t, 3)
	name := filepath.Join(v.config.Dir, "tile/0/000.p/3")
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	raw[40] ^= 1
	os.WriteFile(name, raw, 0o644)
	if _, err := v.open(db); !errors.Is(err, fault.Tampered) {
		t.Errorf("a changed tile: %v", err)
	}
}

func TestTheWriterNeverSignsATreeThatIsNotTheOutboxs(t *testing.T) {
	v := newVendor(t, t.TempDir())
	db := storetest.Open(t, filepath.Join(t.TempDir(), "db"))
	w := v.write(t, db)
	n, _ := v.say(t, db, "the first statement")
	before, err := w.Wait(soon(t), n)
	if err != nil {
		t.Fatal(err)
	}
	// The library is made to add something that nobody said.
	w.guard.expect([]byte("what the outbox says"), true)
	if _, err := w.add(soon(t), tesseraEntry("something else"))(); err != nil {
		t.Fatal(err)
	}
	for range 200 {
		if w.Status(soon(t)).Stopped {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if s := w.Status(soon(t)); !s.Stopped || !errors.Is(s.Err, fault.Tampered) || !bytes.Equal(s.Checkpoint, before) {
		t.Errorf("status %+v", s)
	}
	v.say(t, db, "said afterwards")
	if _, err := w.Wait(soon(t), n+1); !errors.Is(err, fault.Tampered) {
		t.Errorf("waiting on a stopped log: %v", err)
	}
	w.Close()
	if _, err := v.open(db); !errors.Is(err, fault.Tampered) {
		t.Errorf("opening it again: %v", err)
	}
}

func TestAFolderOfAnotherLogIsRefused(t *testing.T) {
	v, db := closedLog(t, 2)
	name := filepath.Join(v.config.Dir, "checkpoint")
	raw, _ := os.ReadFile(name)
	os.WriteFile(name, bytes.ReplaceAll(raw, []byte("log.example/test"), []byte("log.example/tess")), 0o644)
	if _, err := v.open(db); !errors.Is(err, fault.Tampered) {
		t.Errorf("another log's folder: %v", err)
	}
}

func TestANewWitnessPolicyHoldsForWhatIsPublishedAlready(t *testing.T) {
	v, db := closedLog(t, 2)
	a := newWitness(t, "a.example")
	v.config.UnsafeNoWitnesses = false
	v.config.Policy = a.line("a") + "quorum a\n"
	w := v.write(t, db)
	cp, err := w.Wait(soon(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := w.policy.Open(cp); err != nil || len(c.Cosigned) != 1 {
		t.Errorf("%+v, %v", c, err)
	}
}

// Whoever no longer holds the lock must assume that somebody else writes.
func TestAWriterThatLosesTheDatabasesLockStops(t *testing.T) {
	dsn := storetest.Postgres(t)
	v := newVendor(t, t.TempDir())
	w := v.write(t, storetest.Open(t, dsn))
	admin := storetest.Open(t, dsn)
	var killed int
	if err := admin.QueryRow(soon(t), "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' AND objid::bigint = $1", int64(advisoryKey&0xffffffff)).Scan(&killed); err != nil || killed != 1 {
		t.Fatalf("ending the lock's connection: %d, %v", killed, err)
	}
	for begun := time.Now(); !w.Status(soon(t)).Stopped && time.Since(begun) < 30*time.Second; {
		time.Sleep(20 * time.Millisecond)
	}
	if s := w.Status(soon(t)); !s.Stopped || !errors.Is(s.Err, fault.Unavailable) {
		t.Errorf("status %+v", s)
	}
}
