package release_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/office/release"
	"clerestory.dev/clerestory/verify/verifytest"
)

const twoApprovers = `
    rules:
      - approvals:
          - count: 2
            roles: [approver]
`

// TestARuleThatBecameStricterHoldsAtOnce: what is signed under the older rule is
// not said under the newer one.
func TestARuleThatBecameStricterHoldsAtOnce(t *testing.T) {
	r := open(t, filepath.Join(t.TempDir(), "db"))
	r.apply(twoApprovers)
	r.approved(r.draft("1.0", "lantern", "sbom.json"), "ada", "boris")
	if _, err := r.Sign(t.Context(), verifytest.Product, "1.0", r.vendor.Keys["rel"]); err != nil {
		t.Fatal(err)
	}
	r.apply(strings.Replace(twoApprovers, "            roles: [approver]", "            roles: [approver]\n        gates: [replay-clean]", 1))
	if _, err := r.Log(t.Context(), verifytest.Product, "1.0"); !errors.Is(err, fault.Denied) || !strings.Contains(err.Error(), "replay-clean") {
		t.Errorf("logging: %v", err)
	}
	if got := r.show("1.0"); got.State != release.Reviewed {
		t.Errorf("it fell back to %s", got.State)
	}
	r.grant("tester", "tst")
	r.tested("replay-clean", "PASSED", r.show("1.0").Files[0].SHA256)
	if rel, err := r.Log(t.Context(), verifytest.Product, "1.0"); err != nil || rel.State != release.Published {
		t.Errorf("after the test: %v", err)
	}
}

// TestWhoLeftTheProgrammeNoLongerCounts, whatever key the person holds still.
func TestWhoLeftTheProgrammeNoLongerCounts(t *testing.T) {
	r := open(t, filepath.Join(t.TempDir(), "db"))
	r.grant("approver", "stranger", "chidi")
	r.apply(twoApprovers)
	rel := r.propose(r.draft("1.0", "lantern", "sbom.json"))
	if err := r.approve(rel, "stranger"); !errors.Is(err, fault.Denied) || !strings.Contains(err.Error(), "no person") {
		t.Errorf("a key of nobody: %v", err)
	}
	r.approved(r.draft("1.0", "lantern", "sbom.json"), "ada", "boris")
	r.people = strings.NewReplacer("  - id: boris\n    roles: [approver]\n", "")
	r.apply(twoApprovers)
	if _, err := r.publish("1.0"); !errors.Is(err, fault.Denied) || !strings.Contains(err.Error(), "1 more approval by approver (chidi could)") {
		t.Errorf("publishing: %v", err)
	}
}

// TestWhatTheProgrammeDoesNotNameIsNotProposed, by whatever page or command.
func TestWhatTheProgrammeDoesNotNameIsNotProposed(t *testing.T) {
	r := open(t, filepath.Join(t.TempDir(), "db"))
	r.apply(twoApprovers)
	for what, change := range map[string]func(*release.Draft){
		"a channel": func(d *release.Draft) { d.Channel = "nightly" },
		"a person":  func(d *release.Draft) { d.By = "mallory" },
		"a path":    func(d *release.Draft) { d.Emergency = "now" },
	} {
		d := r.draft("1.0", "lantern", "sbom.json")
		change(&d)
		if _, err := r.Propose(t.Context(), d); !errors.Is(err, fault.Invalid) && !errors.Is(err, fault.Denied) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
