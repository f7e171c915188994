package advisory_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/office/advisory"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
	"clerestory.dev/clerestory/verify/verifytest"
)

func TestPublishingSaysWhatTheDocumentSays(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		a := h.publish(example(t))
		st, err := statement.As(h.said(a.Entry), &statement.Advisory{})
		if err != nil {
			t.Fatal(err)
		}
		p := st.Vulnerabilities[0].Products[0]
		if st.ID != "LANTERN-2026-001" || st.TLP != "WHITE" || st.Document.SHA256 != statement.HashOf(example(t)) || st.Vulnerabilities[0].ID != "CVE-2026-1234" ||
			p.Product != "lantern" || p.Affected[0] != "1.2.0" || p.Fixed[0] != "1.2.1" || p.NotAffected[0] != "1.1.0" {
			t.Fatalf("said %+v", st)
		}
		said := h.said(a.VEXEntry())
		vex, err := statement.As(said, &statement.VEX{})
		if err != nil {
			t.Fatal(err)
		}
		if vex.ID != "https://trust.lantern.example/advisories/lantern-2026-001/vex.json" || len(vex.Statements) != 3 || len(said.Subject) != 6 {
			t.Fatalf("VEX %+v about %+v", vex, said.Subject)
		}
		for _, s := range vex.Statements {
			switch s.Status {
			case "affected":
				if s.ActionStatement != "Update to 1.2.1." || s.Products[0].ID != "pkg:generic/lantern-works/lantern@1.2.0" {
					t.Errorf("%+v", s)
				}
			case "not_affected":
				if s.Justification != "vulnerable_code_not_present" {
					t.Errorf("%+v", s)
				}
			}
		}
		// A scanner has a file: its hash leads to what was said about it.
		if !slices.ContainsFunc(said.Subject, func(s statement.Subject) bool {
			return s.Name == "lantern/1.2.0/linux/lantern" && s.Digest["sha256"] == verifytest.SHA256("the program")
		}) {
			t.Errorf("the subjects are %+v", said.Subject)
		}
	})
}

func TestAnAdvisoryIsNeverChangedInPlace(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		first := h.publish(example(t))
		if again := h.publish(example(t)); again.Entry != first.Entry {
			t.Errorf("the same bytes were said again, at entry %d", again.Entry)
		}
		for what, raw := range map[string][]byte{
			"the same version with other words":  example(t, "from afar", "from near"),
			"a history that was changed":         second(t, `"summary": "First version"`, `"summary": "Something else"`),
			"another first release":              second(t, `"initial_release_date": "2026-03-01T10:00:00Z"`, `"initial_release_date": "2026-02-01T10:00:00Z"`),
			"another id with the same file name": example(t, `"id": "LANTERN-2026-001"`, `"id": "lantern-2026-001"`),
		} {
			if _, err := h.Publish(ctx, raw, h.security); !errors.Is(err, fault.Conflict) {
				t.Errorf("%s: %v", what, err)
			}
		}
		next := h.publish(second(t))
		if next.Revision != 2 || next.Entry != first.Entry+2 {
			t.Fatalf("%+v", next)
		}
		if _, err := h.Publish(ctx, example(t), h.security); err != nil { // what was published stays published
			t.Errorf("the first version again: %v", err)
		}
		all, err := h.Show(ctx, "lantern-2026-001")
		if err != nil || len(all) != 2 || all[0].Version != "2" || string(all[1].Raw) != string(example(t)) {
			t.Fatalf("%d versions, %v", len(all), err)
		}
		touching, err := h.Touching(ctx, "lantern", "1.1.0")
		if err != nil || len(touching) != 1 || touching[0].Version != "2" {
			t.Fatalf("%+v %v", touching, err)
		}
	})
}

func TestTwoWhoPublishTheSameRevisionDoNotBoth(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.publish(example(t))
		documents := [][]byte{second(t), second(t, "put out from afar", "put out by anybody")}
		result := make(chan error)
		for _, d := range documents {
			go func() {
				_, err := h.Publish(ctx, d, h.security)
				result <- err
			}()
		}
		one, two := <-result, <-result
		if (one == nil) == (two == nil) || !errors.Is(errors.Join(one, two), fault.Conflict) {
			t.Fatalf("got %v and %v", one, two)
		}
		if next, _ := h.DB.Next(ctx); next != h.vendor.Log.Size()+4 {
			t.Errorf("%d statements", next)
		}
	})
}

func TestOnlyWhatWasReleasedIsSpokenOf(t *testing.T) {
	h := newHouse(t, t.TempDir()+"/db")
	for _, c := range []struct{ from, to, want string }{
		{"lantern@1.2.0", "lantern@7.0", "lantern 7.0 was never released"},
		{"lantern-works/lantern@1.2.0", "torch-works/lantern@1.2.0", "is not lantern-works"},
		{verifytest.SHA256("the program"), verifytest.SHA256("another"), "has no file with the SHA-256"},
		{`"namespace": "https://lantern.example"`, `"namespace": "https://torch.example"`, "is not the vendor's address"},
	} {
		_, err := h.Publish(ctx, example(t, c.from, c.to), h.security)
		if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.to, err)
		}
	}
	if next, _ := h.DB.Next(ctx); next != h.vendor.Log.Size() {
		t.Error("something was said")
	}
}

func TestAKeyWithoutTheRoleSaysNothing(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		for _, name := range []string{"rel", "ada"} {
			if _, err := h.Publish(ctx, example(t), h.vendor.Keys[name]); !errors.Is(err, fault.Denied) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if next, _ := h.DB.Next(ctx); next != h.vendor.Log.Size() {
			t.Error("a statement that nobody believes was said")
		}
		if all, err := h.List(ctx); err != nil || len(all) != 0 {
			t.Errorf("%v %v", all, err)
		}
	})
}

// TestARestoredDatabaseGetsItsAdvisoriesBack: a backup from before is given the
// statements that the log has, and then the document again.
func TestARestoredDatabaseGetsItsAdvisoriesBack(t *testing.T) {
	h := newHouse(t, t.TempDir()+"/db")
	h.publish(example(t))
	h.publish(second(t))
	old := newHouse(t, t.TempDir()+"/db")
	for n := old.vendor.Log.Size(); n < h.vendor.Log.Size()+4; n++ {
		said, err := h.DB.SaidAt(ctx, n)
		if err != nil {
			t.Fatal(err)
		}
		if err := adopt(old.Service, n, said.Envelope); err != nil {
			t.Fatal(err)
		}
	}
	for want := 2; want >= 0; want -= 2 {
		if n, err := old.Recover(ctx); err != nil || n != want {
			t.Fatalf("recovered %d, %v", n, err)
		}
	}
	all, err := old.Show(ctx, "lantern-2026-001")
	if err != nil || len(all) != 2 || all[0].Raw != nil || all[0].Revision != 2 {
		t.Fatalf("%+v %v", all, err)
	}
	if touching, err := old.Touching(ctx, "lantern", "1.1.0"); err != nil || len(touching) != 1 || touching[0].Version != "2" {
		t.Fatalf("%+v %v", touching, err)
	}
	if _, err := old.Publish(ctx, example(t, "from afar", "from near"), old.security); !errors.Is(err, fault.Conflict) {
		t.Errorf("another content for a version that was published: %v", err)
	}
	a, err := old.Publish(ctx, second(t), old.security)
	if err != nil || string(a.Raw) != string(second(t)) || a.Entry != all[0].Entry {
		t.Fatalf("%+v %v", a, err)
	}
}

func adopt(s *advisory.Service, n int64, envelope []byte) error {
	return s.DB.Write(ctx, func(tx *store.Tx) error { return tx.Adopt(ctx, n, envelope, s.Now()) })
}

// TestTheReportOfAStrangerTellsOfWhatWasPublished: from the room to the verifier.
func TestTheReportOfAStrangerTellsOfWhatWasPublished(t *testing.T) {
	h := newHouse(t, t.TempDir()+"/db")
	h.vendor.Release(verifytest.Plan{})
	for n := h.vendor.Log.Size() - 4; n < h.vendor.Log.Size(); n++ {
		if err := adopt(h.Service, n, h.vendor.Log.Entries[n]); err != nil {
			t.Fatal(err)
		}
	}
	a := h.publish(example(t))
	for _, n := range []int64{a.Entry, a.VEXEntry()} {
		said, err := h.DB.SaidAt(ctx, n)
		if err != nil {
			t.Fatal(err)
		}
		h.vendor.Log.Add(said.Envelope)
	}
	bundle, err := h.vendor.Bundle().Format()
	if err != nil {
		t.Fatal(err)
	}
	r := verify.JudgeBundle(h.vendor.TrustFile(), bundle, verifytest.Artifact("lantern", "the program"), h.now)
	if r.Verdict != verify.Verified || len(r.Advisories) != 1 || !r.Advisories[0].Affected || r.Advisories[0].Entry != a.Entry {
		t.Fatalf("%s %+v", r.Reason, r.Advisories)
	}
}
