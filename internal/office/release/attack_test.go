package release_test

import (
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store/storetest"
	"clerestory.dev/clerestory/internal/gate/audit"
	"clerestory.dev/clerestory/internal/ledger/signing"
	"clerestory.dev/clerestory/internal/office/release"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify/verifytest"
)

func (r *room) show(version string) *release.Release {
	r.t.Helper()
	rel, err := r.Show(r.t.Context(), verifytest.Product, version)
	if err != nil {
		r.t.Fatal(err)
	}
	return rel
}

// approved is a proposal with the approvals of some holders.
func (r *room) approved(d release.Draft, by ...string) *release.Release {
	r.t.Helper()
	rel := r.propose(d)
	for _, who := range by {
		if err := r.approve(rel, who); err != nil {
			r.t.Fatal(err)
		}
	}
	return r.show(d.Version)
}

func TestTwoProposalsRaceForOneVersion(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		r := open(t, dsn)
		drafts := []release.Draft{r.draft("1.0", "one", "sbom.json"), r.draft("1.0", "two", "sbom.json")}
		drafts[1].By = "eng2"
		var wg sync.WaitGroup
		errs := make([]error, 8)
		for i := range errs {
			wg.Go(func() { _, errs[i] = r.Propose(t.Context(), drafts[i%2]) })
		}
		wg.Wait()
		winner := r.show("1.0").ProposedBy
		for i, err := range errs {
			if drafts[i%2].By != winner && !errors.Is(err, fault.Conflict) || err != nil && !errors.Is(err, fault.Conflict) {
				t.Errorf("%s: %v (%s won)", drafts[i%2].By, err, winner)
			}
		}
		if n := len(r.show("1.0").Files); n != 2 {
			t.Errorf("the winner has %d files", n)
		}
	})
}

// TestTwoApproveAtOnce: neither is sent away because of the other.
func TestTwoApproveAtOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		r := open(t, dsn)
		for _, version := range []string{"1.0", "1.1", "1.2", "1.3"} {
			rel := r.propose(r.draft(version, "lantern", "sbom.json"))
			var wg sync.WaitGroup
			errs := make([]error, 2)
			for i, who := range []string{"ada", "boris"} {
				wg.Go(func() { errs[i] = r.approve(rel, who) })
			}
			wg.Wait()
			if got := r.show(version); errors.Join(errs...) != nil || got.State != release.Approved {
				t.Errorf("%s is %s: %v", version, got.State, errs)
			}
		}
	})
}

func TestAnotherPersonsProposalIsNotReplaced(t *testing.T) {
	r := open(t, filepath.Join(t.TempDir(), "db"))
	r.propose(r.draft("1.0", "lantern", "sbom.json"))
	d := r.draft("1.0", "evil", "sbom.json")
	d.By = "mallory"
	if _, err := r.Propose(t.Context(), d); !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "dana") {
		t.Fatalf("got %v", err)
	}
}

func TestAnApprovalIsReplayedOnAnotherRelease(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		r := open(t, dsn)
		first, second := r.propose(r.draft("1.0", "lantern", "sbom.json")), r.propose(r.draft("1.1", "lantern", "sbom.json"))
		e, err := statement.Sign(first.Payload, r.vendor.Keys["ada"])
		if err != nil {
			t.Fatal(err)
		}
		ctx := t.Context()
		if _, err := r.AddApproval(ctx, verifytest.Product, "1.1", second.PayloadHash, e.Signatures[0]); !errors.Is(err, fault.Denied) {
			t.Errorf("the signature was taken over: %v", err)
		}
		if _, err := r.AddApproval(ctx, verifytest.Product, "1.1", first.PayloadHash, e.Signatures[0]); !errors.Is(err, fault.Stale) {
			t.Errorf("the hash was taken over: %v", err)
		}
		req, err := r.Request(ctx, verifytest.Product, "1.0", release.ByApprover, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := signing.Answer(req, r.vendor.Keys["ada"], r.vendor.Now)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Assemble(ctx, verifytest.Product, "1.1", []*signing.Response{answer}); !errors.Is(err, fault.Denied) {
			t.Errorf("the answer was taken over: %v", err)
		}
		if rel, err := r.Assemble(ctx, verifytest.Product, "1.0", []*signing.Response{answer}); err != nil || len(rel.Approvals) != 1 {
			t.Errorf("the answer to its own request: %v", err)
		}
		if n := len(r.show("1.1").Approvals); n != 0 {
			t.Errorf("%d approvals", n)
		}
	})
}

// TestTheAuthorApprovesUnderASecondAccount: the log knows that two holders had one
// key, even when that key has been retired since.
func TestTheAuthorApprovesUnderASecondAccount(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		r := open(t, dsn)
		r.vendorSays(func(v *verifytest.Vendor) {
			v.Keys["dana"], v.Keys["dana-phone"], v.Keys["dana2"], v.Keys["dana3"] = verifytest.NewKey("dana"), verifytest.NewKey("dana-phone"), verifytest.NewKey("dana2"), verifytest.NewKey("dana3")
			v.Grant(v.Keys["dana"], "approver", "dana", verifytest.Product)
			v.Grant(v.Keys["dana-phone"], "approver", "dana", verifytest.Product)
			v.Grant(v.Keys["dana-phone"], "source", "dana2", verifytest.Product) // one key, a second person
			v.Grant(v.Keys["dana2"], "approver", "dana2", verifytest.Product)
			v.Grant(v.Keys["dana2"], "builder", "dana3", verifytest.Product) // and a third, by way of the second
			v.Grant(v.Keys["dana3"], "approver", "dana3", verifytest.Product)
			v.Key(statement.Key{Action: statement.KeyRetire, Role: "source", Holder: "dana2", Products: []string{"*"}, Reason: "tidying up"}, v.Keys["dana-phone"], v.RootKeys...)
		})
		rel := r.propose(r.draft("1.0", "lantern", "sbom.json"))
		for _, account := range []string{"dana", "dana-phone", "dana2", "dana3"} {
			if err := r.approve(rel, account); !errors.Is(err, fault.Denied) || !strings.Contains(err.Error(), "own proposal") {
				t.Errorf("%s: %v", account, err)
			}
		}
		if _, err := r.Look(t.Context(), verifytest.Product, "1.0", rel.PayloadHash, "dana3", ""); !errors.Is(err, fault.Denied) {
			t.Errorf("dana3 reviews: %v", err)
		}
		if got := r.show("1.0"); got.State != release.Proposed || len(got.Approvals)+len(got.Reviews) != 0 {
			t.Errorf("%s with %d approvals", got.State, len(got.Approvals))
		}
		// What was refused is on record.
		no := false
		records, err := audit.New(r.DB, r.Now).List(t.Context(), audit.Filter{Allowed: &no, Limit: 10})
		if err != nil || len(records) != 5 || records[4].Actor != "dana" || records[4].Action != "release:approve" {
			t.Errorf("%+v, %v", records, err)
		}
	})
}

func TestOnePersonApprovesUnderTwoAccounts(t *testing.T) {
	r := open(t, filepath.Join(t.TempDir(), "db"))
	r.vendorSays(func(v *verifytest.Vendor) {
		v.Keys["ada2"] = verifytest.NewKey("ada2")
		v.Grant(v.Keys["ada"], "tester", "ada2", verifytest.Product)
		v.Grant(v.Keys["ada2"], "approver", "ada2", verifytest.Product)
	})
	rel := r.approved(r.draft("1.0", "lantern", "sbom.json"), "ada")
	if err := r.approve(rel, "ada2"); !errors.Is(err, fault.Denied) || !strings.Contains(err.Error(), "one person") {
		t.Fatalf("got %v", err)
	}
}

// TestASignersKeyIsRevokedBetweenSigningAndPublishing: whoever holds the stolen
// key has signed, but nothing is said any more.
func TestASignersKeyIsRevokedBetweenSigningAndPublishing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		ctx, r := t.Context(), open(t, dsn)
		r.approved(r.draft("1.0", "lantern", "sbom.json"), "ada", "boris")
		signed, err := r.Sign(ctx, verifytest.Product, "1.0", r.vendor.Keys["rel"])
		if err != nil || signed.State != release.Signed {
			t.Fatalf("%+v, %v", signed, err)
		}
		r.revokeKey("release", "rel")
		before, _ := r.DB.Next(ctx)
		if _, err := r.Log(ctx, verifytest.Product, "1.0"); !errors.Is(err, fault.Denied) {
			t.Errorf("logging: %v", err)
		}
		if got := r.show("1.0"); got.State != release.Approved {
			t.Errorf("it fell back to %s", got.State)
		}
		if after, _ := r.DB.Next(ctx); after != before {
			t.Error("something was said")
		}
		// With another key it goes on from there.
		r.grant("release", "rel2")
		if _, err := r.Sign(ctx, verifytest.Product, "1.0", r.vendor.Keys["rel2"]); err != nil {
			t.Fatal(err)
		}
		if rel, err := r.Log(ctx, verifytest.Product, "1.0"); err != nil || rel.State != release.Published {
			t.Errorf("%+v, %v", rel, err)
		}
	})
}

func TestAnApproversKeyIsRevokedBetweenSigningAndPublishing(t *testing.T) {
	r := open(t, filepath.Join(t.TempDir(), "db"))
	r.approved(r.draft("1.0", "lantern", "sbom.json"), "ada", "boris")
	if _, err := r.Sign(t.Context(), verifytest.Product, "1.0", r.vendor.Keys["rel"]); err != nil {
		t.Fatal(err)
	}
	r.revokeKey("approver", "ada")
	if _, err := r.Log(t.Context(), verifytest.Product, "1.0"); !errors.Is(err, fault.Denied) {
		t.Fatalf("got %v", err)
	}
	if got := r.show("1.0"); got.State != release.Tested {
		t.Errorf("it fell back to %s", got.State)
	}
}

func TestNobodySignsWhatIsNotApproved(t *testing.T) {
	r := open(t, filepath.Join(t.TempDir(), "db"))
	r.approved(r.draft("1.0", "lantern", "sbom.json"), "ada")
	ctx := t.Context()
	if _, err := r.Sign(ctx, verifytest.Product, "1.0", r.vendor.Keys["rel"]); !errors.Is(err, fault.Denied) || !strings.Contains(err.Error(), "boris could") {
		t.Errorf("signing: %v", err)
	}
	if _, err := r.Request(ctx, verifytest.Product, "1.0", release.ByRelease, time.Hour); !errors.Is(err, fault.Denied) {
		t.Errorf("asking for a signature: %v", err)
	}
	if _, err := r.Log(ctx, verifytest.Product, "1.0"); !errors.Is(err, fault.Denied) {
		t.Errorf("logging: %v", err)
	}
}

func TestADraftIsNobodysBusiness(t *testing.T) {
	r := open(t, filepath.Join(t.TempDir(), "db"))
	d := r.draft("1.0", "lantern", "sbom.json")
	rel, err := r.Save(t.Context(), d)
	if err != nil || rel.State != release.Drafted {
		t.Fatalf("%+v, %v", rel, err)
	}
	if err := r.approve(rel, "ada"); !errors.Is(err, fault.Conflict) {
		t.Errorf("a draft was approved: %v", err)
	}
	if rel := r.propose(d); rel.State != release.Proposed {
		t.Errorf("it is %s", rel.State)
	}
	if err := r.approve(r.show("1.0"), "ada"); err != nil {
		t.Error(err)
	}
}
