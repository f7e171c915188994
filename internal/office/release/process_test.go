package release_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store/storetest"
	"clerestory.dev/clerestory/internal/gate/audit"
	"clerestory.dev/clerestory/internal/ledger/signing"
	"clerestory.dev/clerestory/internal/office/release"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
	"clerestory.dev/clerestory/verify/verifytest"
)

const strictRules = `
    rules:
      - channels: [stable]
        approvals:
          - count: 2
            roles: [approver]
          - count: 1
            roles: [auditor]
        gates: [replay-clean, replay-known]
        approval-max-age: 72h
        signatures: 2
        windows:
          days: [mon, tue, wed, thu]
          hours: 08:00-16:00
          freezes:
            - from: 2026-03-04
              until: 2026-03-05
              why: the fair
        emergency:
          approvals:
            - count: 2
              roles: [approver, duty-officer]
          gates: [replay-clean]
          review-hours: 24
          review-by: [auditor]
`

// strict is a room under strict rules, on a Monday morning, with all keys.
func strict(t *testing.T, dsn string) *room {
	r := open(t, dsn)
	r.apply(strictRules)
	r.grant("tester", "tst")
	r.grant("approver", "chidi", "fay", "eve")
	r.grant("release", "rel2")
	r.vendor.Now = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	return r
}

func what(needs []release.Need, err error) string {
	text := ""
	for _, n := range needs {
		text += string(n.For) + ": " + n.What + " [" + strings.Join(n.Who, " ") + "]\n"
	}
	if err != nil {
		text += err.Error()
	}
	return text
}

// TestTheWholeWayUnderAStrictRule walks from the draft to the end and looks at each
// place what is missing and who is told.
func TestTheWholeWayUnderAStrictRule(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		ctx, r := t.Context(), strict(t, dsn)
		rel := r.propose(r.draft("1.0", "lantern", "sbom.json"))
		file := rel.Files[0].SHA256
		missing := func(want ...string) {
			t.Helper()
			text := what(r.Missing(ctx, r.show("1.0")))
			for _, w := range want {
				if !strings.Contains(text, w) {
					t.Errorf("missing lacks %q:\n%s", w, text)
				}
			}
		}
		missing("reviewed: somebody who is not its author looks at it [ada boris chidi eve]", "tested: gate replay-clean has not been tested on exactly these files [tst]",
			"approved: 2 more approvals by approver [ada boris chidi]", "approved: 1 more approval by auditor [chidi eve]", "signed: 2 more signatures by release keys of different holders [rel rel2]")
		if rel, err := r.Look(ctx, verifytest.Product, "1.0", rel.PayloadHash, "ada", "fine"); err != nil || rel.State != release.Reviewed {
			t.Fatalf("%+v, %v", rel, err)
		}
		if err := r.approve(rel, "ada"); !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "replay-clean") {
			t.Errorf("approved before it was tested: %v", err)
		}
		r.tested("replay-clean", "PASSED", file)
		r.tested("replay-known", "WARNED", file)
		if err := r.approve(rel, "ada"); !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "replay-known is WARNED") {
			t.Errorf("approved with a warning: %v", err)
		}
		r.tested("replay-known", "PASSED", file)
		if err := r.approve(rel, "fay"); !errors.Is(err, fault.Denied) {
			t.Errorf("a duty officer approved without an emergency: %v", err)
		}
		for _, who := range []string{"chidi", "ada"} {
			if err := r.approve(rel, who); err != nil {
				t.Fatal(err)
			}
		}
		missing("approved: 1 more approval by") // chidi sits on one seat only
		if err := r.approve(rel, "boris"); err != nil {
			t.Fatal(err)
		}
		if got := r.show("1.0").State; got != release.Approved {
			t.Fatalf("it is %s: %s", got, what(r.Missing(ctx, r.show("1.0"))))
		}
		if _, err := r.publish("1.0"); !errors.Is(err, fault.Denied) || !strings.Contains(err.Error(), "1 more signature") {
			t.Errorf("published with one signature: %v", err)
		}
		r.vendor.Now = r.vendor.Now.Add(8 * time.Hour) // 17:00
		if _, err := r.Publish(ctx, verifytest.Product, "1.0", r.vendor.Keys["rel2"]); !errors.Is(err, fault.Denied) || !strings.Contains(err.Error(), "Tue 2026-03-03 08:00 UTC") {
			t.Errorf("published in the evening: %v", err)
		}
		missing("logged: releases go out from 08:00-16:00")
		r.vendor.Now = time.Date(2026, 3, 3, 8, 0, 0, 0, time.UTC)
		missing("logged: somebody publishes it [dana eng2]")
		rel, err := r.Log(ctx, verifytest.Product, "1.0")
		if err != nil || rel.State != release.Published {
			t.Fatalf("%+v, %v", rel, err)
		}
		steps, err := r.Steps(ctx, rel)
		way := ""
		for _, s := range steps {
			way += " " + string(s.To)
		}
		if err != nil || way != " proposed reviewed tested approved signed logged published" {
			t.Errorf("the way was%s, %v", way, err)
		}
		if _, err := audit.New(r.DB, r.Now).Check(ctx); err != nil {
			t.Error(err)
		}
		b, err := r.Bundle(ctx, file)
		if err != nil {
			t.Fatal(err)
		}
		if rep := verify.JudgeBundle(r.vendor.TrustFile(), b, verify.Artifact{Name: "lantern", SHA256: file}, r.vendor.Now); rep.Verdict != verify.Verified {
			t.Errorf("a stranger says: %s", rep.Reason)
		}
	})
}

func TestAnApprovalThatIsTooOldDoesNotCount(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		ctx, r := t.Context(), strict(t, dsn)
		rel := r.propose(r.draft("1.0", "lantern", "sbom.json"))
		r.tested("replay-clean", "PASSED", rel.Files[0].SHA256)
		r.tested("replay-known", "PASSED", rel.Files[0].SHA256)
		for _, who := range []string{"ada", "boris", "chidi"} {
			if err := r.approve(rel, who); err != nil {
				t.Fatal(err)
			}
			r.vendor.Now = r.vendor.Now.Add(time.Hour)
		}
		for _, k := range []string{"rel", "rel2"} {
			if _, err := r.Sign(ctx, verifytest.Product, "1.0", r.vendor.Keys[k]); err != nil {
				t.Fatal(err)
			}
		}
		r.vendor.Now = time.Date(2026, 3, 9, 9, 0, 0, 0, time.UTC) // a week later
		if _, err := r.Log(ctx, verifytest.Product, "1.0"); !errors.Is(err, fault.Denied) || !strings.Contains(err.Error(), "more approval") {
			t.Errorf("logging: %v", err)
		}
		if got := r.show("1.0"); got.State != release.Tested {
			t.Errorf("it fell back to %s", got.State)
		}
		for _, who := range []string{"ada", "boris", "chidi"} {
			if err := r.approve(rel, who); err != nil {
				t.Errorf("%s again: %v", who, err)
			}
		}
		if rel, err := r.Log(ctx, verifytest.Product, "1.0"); err != nil || rel.State != release.Published {
			t.Errorf("after they approved again: %v", err)
		}
	})
}

// TestAGateIsAboutExactlyTheseBytes: other bytes, a stranger's test, another
// product's and a later failure open no gate.
func TestAGateIsAboutExactlyTheseBytes(t *testing.T) {
	r := strict(t, filepath.Join(t.TempDir(), "db"))
	rel := r.propose(r.draft("1.0", "lantern", "extra", "sbom.json"))
	both := []string{rel.Files[0].SHA256, rel.Files[1].SHA256}
	green := func() bool {
		t.Helper()
		gates, err := r.Gates(t.Context(), verifytest.Product, rel.Files, rel.Statement.SBOM.SHA256, []string{"replay-clean"})
		if err != nil {
			t.Fatal(err)
		}
		return gates[0].Green
	}
	r.tested("replay-clean", "PASSED", both[0])
	r.tested("replay-clean", "PASSED", strings.Repeat("ab", 32))
	r.tested("replay-known", "PASSED", both...)
	if green() {
		t.Error("a test of half the files opened the gate")
	}
	r.vendor.Keys["tst"] = verifytest.NewKey("stranger")
	r.tested("replay-clean", "PASSED", both...)
	if green() {
		t.Error("a stranger's test opened the gate")
	}
	r.vendor.Keys["tst"] = verifytest.NewKey("tst")
	r.tested("replay-clean", "PASSED", both...)
	if !green() {
		t.Error("the tester's test did not")
	}
	r.tested("replay-clean", "FAILED", both...)
	if green() {
		t.Error("a failure after a pass is outvoted")
	}
	whole, err := verify.NewManifest([]verify.File{{Name: rel.Files[0].Name, SHA256: both[0]}, {Name: rel.Files[1].Name, SHA256: both[1]}})
	if err != nil {
		t.Fatal(err)
	}
	r.tested("replay-clean", "PASSED", whole.Tree().Root)
	if !green() {
		t.Error("a test of the list of files did not open the gate")
	}
	r.revokeKey("tester", "tst")
	// What the tester said before the revocation stands; what comes after does not.
	r.tested("replay-clean", "FAILED", both...)
	if !green() {
		t.Error("a revoked tester shuts a gate")
	}
}

// TestAnEmergencyIsSaidAndReviewedAfterwards: other people, no windows, and a
// review that stays due until somebody who had no part in it has done it.
func TestAnEmergencyIsSaidAndReviewedAfterwards(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		ctx, r := t.Context(), strict(t, dsn)
		r.grant("reviewer", "mallory")
		r.vendorSays(func(v *verifytest.Vendor) {
			for _, h := range []string{"eve", "chidi", "ada"} {
				v.Keys["rev-"+h] = verifytest.NewKey("rev-" + h)
				v.Grant(v.Keys["rev-"+h], "reviewer", h, verifytest.Product)
			}
		})
		r.vendor.Now = time.Date(2026, 3, 4, 3, 0, 0, 0, time.UTC) // at night, in a freeze
		d := r.draft("1.0.1", "lantern", "sbom.json")
		d.Emergency, d.Channel = "a worm is about", "beta"
		if _, err := r.Propose(ctx, d); !errors.Is(err, fault.Denied) {
			t.Errorf("a channel without the path: %v", err)
		}
		d.Channel = "stable"
		rel := r.propose(d)
		r.tested("replay-clean", "PASSED", rel.Files[0].SHA256)
		for _, who := range []string{"fay", "chidi"} {
			if err := r.approve(rel, who); err != nil {
				t.Fatal(err)
			}
		}
		for _, k := range []string{"rel", "rel2"} {
			if _, err := r.Sign(ctx, verifytest.Product, "1.0.1", r.vendor.Keys[k]); err != nil {
				t.Fatal(err)
			}
		}
		rel, err := r.Log(ctx, verifytest.Product, "1.0.1")
		if err != nil || rel.Statement.Emergency != (statement.Emergency{Why: "a worm is about", ReviewHours: 24}) {
			t.Fatalf("%+v, %v", rel, err)
		}
		board, err := r.Board(ctx, "eve")
		if err != nil || len(board) != 1 || board[0].Need.Overdue || !board[0].Need.Until.Equal(r.vendor.Now.Add(24*time.Hour)) || strings.Join(board[0].Need.Who, " ") != "eve" {
			t.Errorf("eve's board: %+v, %v", board, err)
		}
		r.vendor.Now = r.vendor.Now.Add(25 * time.Hour)
		if af, err := r.Afterwards(ctx, rel); err != nil || !af.Overdue || af.Done {
			t.Errorf("%+v, %v", af, err)
		}
		for who, why := range map[string]string{"rev-chidi": "nobody reviews", "rev-ada": "wants the review by", "mallory": "no person", "ada": "has not the role reviewer"} {
			if _, err := r.SayReview(ctx, verifytest.Product, "1.0.1", statement.ReviewUpheld, "fine", r.vendor.Keys[who]); !errors.Is(err, fault.Denied) || !strings.Contains(err.Error(), why) {
				t.Errorf("%s: %v", who, err)
			}
		}
		n, err := r.SayReview(ctx, verifytest.Product, "1.0.1", statement.ReviewUpheld, "It could not wait.", r.vendor.Keys["rev-eve"])
		if err != nil {
			t.Fatal(err)
		}
		if af, err := r.Afterwards(ctx, rel); err != nil || af.Overdue || !af.Done || af.Entry != n || strings.Join(af.By, "") != "eve" {
			t.Errorf("%+v, %v", af, err)
		}
		if board, err := r.Board(ctx, ""); err != nil || len(board) != 0 {
			t.Errorf("%+v, %v", board, err)
		}
		if _, err := r.SayReview(ctx, verifytest.Product, "1.0.1", statement.ReviewUpheld, "twice", r.vendor.Keys["rev-eve"]); !errors.Is(err, fault.Conflict) {
			t.Errorf("reviewed twice: %v", err)
		}
	})
}

func TestSigningByRequestIsAssembledAnswerByAnswer(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		ctx, r := t.Context(), strict(t, dsn)
		rel := r.propose(r.draft("1.0", "lantern", "sbom.json"))
		r.tested("replay-clean", "PASSED", rel.Files[0].SHA256)
		r.tested("replay-known", "PASSED", rel.Files[0].SHA256)
		rel = r.approved(r.draft("1.0", "lantern", "sbom.json"), "ada", "boris", "chidi")
		req, err := r.Request(ctx, verifytest.Product, "1.0", release.ByRelease, time.Hour)
		if err != nil || req.Threshold != 2 || len(req.Keys) != 2 || !bytes.Equal(req.Payload, rel.Payload) {
			t.Fatalf("%+v, %v", req, err)
		}
		answer := func(holder string) *signing.Response {
			a, err := signing.Answer(req, r.vendor.Keys[holder], r.vendor.Now)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		if rel, err = r.Assemble(ctx, verifytest.Product, "1.0", []*signing.Response{answer("rel"), answer("rel")}); err != nil || rel.State != release.Approved {
			t.Fatalf("one key twice: %s, %v", rel.State, err)
		}
		forged := answer("rel2")
		forged.Sig[0] ^= 1
		if _, err := r.Assemble(ctx, verifytest.Product, "1.0", []*signing.Response{forged}); !errors.Is(err, fault.Tampered) {
			t.Errorf("a forged answer: %v", err)
		}
		late := answer("rel2")
		now := r.vendor.Now
		r.vendor.Now = now.Add(2 * time.Hour)
		if _, err := r.Assemble(ctx, verifytest.Product, "1.0", []*signing.Response{late}); !errors.Is(err, fault.Stale) {
			t.Errorf("a late answer: %v", err)
		}
		r.vendor.Now = now
		if rel, err = r.Assemble(ctx, verifytest.Product, "1.0", []*signing.Response{late}); err != nil || rel.State != release.Signed {
			t.Fatalf("%s, %v", rel.State, err)
		}
		if rel, err = r.Log(ctx, verifytest.Product, "1.0"); err != nil || rel.State != release.Published {
			t.Fatalf("%s, %v", rel.State, err)
		}
	})
}

func TestANewerReleaseSupersedesAndARollbackRestores(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		ctx, r := t.Context(), open(t, dsn)
		r.released("1.0", "lantern", "sbom.json")
		r.released("1.1", "lantern", "sbom.json")
		if old := r.show("1.0"); old.State != release.Superseded || old.SupersededBy != "1.1" {
			t.Errorf("%s by %q", old.State, old.SupersededBy)
		}
		d, err := r.Rollback(ctx, verifytest.Product, "1.0", "1.2", "dana", "1.1 is slow")
		if err != nil {
			t.Fatal(err)
		}
		r.approved(d, "ada", "boris")
		rel, err := r.publish("1.2")
		if err != nil || rel.State != release.Published || rel.Restores != "1.0" || rel.Statement.Notes != "Restores the content of 1.0: 1.1 is slow" {
			t.Fatalf("%+v, %v", rel, err)
		}
		if rel.Files[0] != r.show("1.0").Files[0] || r.show("1.1").State != release.Superseded {
			t.Error("it is not the old content in the newest place")
		}
		if _, err := r.Bundle(ctx, rel.Files[0].SHA256); err != nil {
			t.Error(err)
		}
		if _, err := r.Revoke(ctx, verifytest.Product, "1.1", "slow", r.vendor.Keys["rel"]); err != nil {
			t.Errorf("revoking what is superseded: %v", err)
		}
		if _, err := r.Rollback(ctx, verifytest.Product, "1.1", "1.3", "dana", "no"); !errors.Is(err, fault.Conflict) {
			t.Errorf("restoring what was revoked: %v", err)
		}
	})
}

// TestKilledBetweenSigningAndLogging kills a process there, and goes on.
func TestKilledBetweenSigningAndLogging(t *testing.T) {
	if dsn := os.Getenv("CLERESTORY_TEST_PUBLISH"); dsn != "" {
		r := open(t, dsn)
		r.approved(r.draft("1.0", "lantern", "sbom.json"), "ada", "boris")
		r.publish("1.0")
		t.Fatal("it went on")
	}
	dsn := filepath.Join(t.TempDir(), "db")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledBetweenSigningAndLogging$")
	cmd.Env = append(os.Environ(), "CLERESTORY_TEST_PUBLISH="+dsn, "CLERESTORY_CRASH=release.signed")
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("%v: %s", err, out)
	}
	// The log in memory died with the process: it is made again from the database.
	r := reopen(t, dsn)
	if rel := r.show("1.0"); rel.State != release.Signed || len(rel.Signings) != 1 || len(rel.Approvals) != 2 {
		t.Fatalf("%s", rel.State)
	}
	before, _ := r.DB.Next(t.Context())
	rel, err := r.Log(t.Context(), verifytest.Product, "1.0")
	if after, _ := r.DB.Next(t.Context()); err != nil || rel.State != release.Published || after != before+1 {
		t.Fatalf("%+v, %v", rel, err)
	}
	if _, err := r.publish("1.0"); !errors.Is(err, fault.Conflict) {
		t.Errorf("published twice: %v", err)
	}
}
