package detection_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"clerestory.dev/clerestory/internal/base/blob"
	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/base/store/storetest"
	"clerestory.dev/clerestory/internal/office/detection"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
	"clerestory.dev/clerestory/verify/verifytest"
)

var tester = verifytest.NewKey("tst")

// room is the room of a vendor in memory whose log has a tester.
func room(t *testing.T, dsn string) (*detection.Service, *verifytest.Vendor) {
	t.Helper()
	v, db := verifytest.New(t), storetest.Open(t, dsn)
	v.Grant(tester, "tester", "tst", verifytest.Product)
	err := db.Write(t.Context(), func(tx *store.Tx) error {
		for n, raw := range v.Log.Entries {
			if err := tx.Adopt(t.Context(), int64(n), raw, v.Now); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := blob.NewDisk(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &detection.Service{DB: db, Blobs: blobs, Now: func() time.Time { return v.Now },
		Roots: func() ([][]byte, error) { return [][]byte{v.TrustFile()}, nil }}, v
}

var (
	subjects = []statement.Subject{{Name: "hashes.hsb", Digest: map[string]string{"sha256": verifytest.SHA256("hashes")}}}
	clean    = detection.Outcome{Gate: detection.GateClean, Passed: true, Passes: []string{"toolchain: nothing new matches"}, Numbers: map[string]int64{"files": 20000}}
	known    = detection.Outcome{Gate: detection.GateKnown, Passed: true}
)

func TestWhatATesterSaysOpensTheGatesForExactlyTheseFiles(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		s, v := room(t, dsn)
		said, err := s.SayTests(t.Context(), verifytest.Product, subjects, []detection.Outcome{clean, known}, []byte(`{"ok":true}`), tester)
		if err != nil || len(said) != 2 {
			t.Fatal(said, err)
		}
		all, err := s.DB.SaidFrom(t.Context(), 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		var entries []verify.Entry
		for _, one := range all {
			e, err := verify.ParseEntry(one.N, one.Envelope)
			if err != nil {
				t.Fatal(err)
			}
			entries = append(entries, e)
		}
		a, err := v.Trust().NewAuthority(entries)
		if err != nil {
			t.Fatal(err)
		}
		for _, gate := range []string{detection.GateClean, detection.GateKnown} {
			if _, by := a.Tested(entries, gate, verifytest.Product, []string{verifytest.SHA256("hashes")}); len(by) != 1 {
				t.Errorf("%s is not green", gate)
			}
			if _, by := a.Tested(entries, gate, verifytest.Product, []string{verifytest.SHA256("other hashes")}); len(by) != 0 {
				t.Errorf("%s is green for other bytes", gate)
			}
		}
		r, err := statement.As(entries[said[0].Entry].Statement, &statement.TestResult{})
		if err != nil {
			t.Fatal(err)
		}
		f, err := s.Blobs.Open(r.Clerestory.Report.Digest["sha256"])
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if report, _ := io.ReadAll(f); string(report) != `{"ok":true}` {
			t.Errorf("the report that the statement names is %q", report)
		}
	})
}

func TestAFailedTestIsSaidAsFailed(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		s, _ := room(t, dsn)
		bad := clean // somebody forgot to say that it failed
		for i := range 150 {
			bad.Fails = append(bad.Fails, fmt.Sprintf("file %d \u202e%s", i, strings.Repeat("<", 4000)))
		}
		said, err := s.SayTests(t.Context(), verifytest.Product, subjects, []detection.Outcome{bad}, []byte("{}"), tester)
		if err != nil {
			t.Fatal(err)
		}
		one, err := s.DB.SaidAt(t.Context(), said[0].Entry)
		if err != nil {
			t.Fatal(err)
		}
		e, err := verify.ParseEntry(one.N, one.Envelope)
		if err != nil {
			t.Fatal(err)
		}
		r, err := statement.As(e.Statement, &statement.TestResult{})
		if err != nil || r.Result != statement.TestFailed || len(r.FailedTests) != 31 || r.FailedTests[30] != "and 120 more: see the report" {
			t.Errorf("%v %v %d", err, r.Result, len(r.FailedTests))
		}
	})
}

func TestAttackAnybodyElseSaysThatTheTestsPassed(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		s, v := room(t, dsn)
		before, err := s.DB.SaidFrom(t.Context(), 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		for name, key := range map[string]*verifytest.Key{"an approver": v.Keys["ada"], "the release key": v.Keys["rel"], "a stranger": verifytest.NewKey("eve")} {
			if _, err := s.SayTests(t.Context(), verifytest.Product, subjects, []detection.Outcome{clean}, []byte("{}"), key); !errors.Is(err, fault.Denied) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := s.SayTests(t.Context(), "torch", subjects, []detection.Outcome{clean}, []byte("{}"), tester); !errors.Is(err, fault.Denied) {
			t.Errorf("the tester of another product: %v", err)
		}
		// all or none: the second outcome can not be said
		if _, err := s.SayTests(t.Context(), verifytest.Product, subjects, []detection.Outcome{clean, {Gate: "\x00"}}, []byte("{}"), tester); !errors.Is(err, fault.Invalid) {
			t.Errorf("a gate without a name: %v", err)
		}
		if after, err := s.DB.SaidFrom(t.Context(), 0, 100); err != nil || len(after) != len(before) {
			t.Errorf("%d statements, not %d: %v", len(after), len(before), err)
		}
	})
}
