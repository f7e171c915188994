package portal_test

import (
	"bytes"
	"net/url"
	"strings"
	"testing"

	"clerestory.dev/clerestory/internal/gate/passkey"
	"clerestory.dev/clerestory/verify"
	"clerestory.dev/clerestory/verify/verifytest"
)

func TestAReleaseShowsFilesOriginApprovalsAndProof(t *testing.T) {
	s := newSite(t)
	s.furnish()
	v := s.visitor()
	v.get("/releases/lantern/1.3.0").says(t, "Published", "with the approval of ada and boris", "lantern-1.3.0.deb", "https://builder.lantern.example", "Proof: log entry 13", "Rebuilt, to the same bytes, by https://rebuilder.example")
	v.get("/releases/lantern/1.2.0").says(t, "Revoked", "Do not use this release", "It deletes the wrong files.")
	file := v.get("/releases/lantern/1.3.0/files/linux/lantern")
	if file.body != "the program 1.3.0" || !strings.Contains(file.header.Get("Content-Disposition"), `attachment; filename="lantern"`) {
		t.Errorf("file: %d %q %s", file.status, file.body, file.header)
	}
	bundle := v.get("/releases/lantern/1.3.0/bundles/linux/lantern.clerestory")
	report := verify.JudgeBundle(s.vendor.TrustFile(), []byte(bundle.body), verifytest.Artifact("lantern", "the program 1.3.0"), s.vendor.Now)
	if report.Verdict != verify.Verified {
		t.Errorf("bundle: %s %s", report.Verdict, report.Reason)
	}
	if same := v.get("/bundle/sha256/" + verifytest.SHA256("the program 1.3.0")); same.body != bundle.body {
		t.Errorf("by hash: %d %s", same.status, same.body)
	}
	if none := v.get("/bundle/sha256/" + verifytest.SHA256("something else")); none.status != 404 {
		t.Errorf("an unknown file: %d", none.status)
	}
}

func TestTheBillOfMaterialsIsSearchedAndSorted(t *testing.T) {
	s := newSite(t)
	s.furnish()
	got := s.visitor().get("/releases/lantern/1.3.0/sbom?q=golang.org")
	got.says(t, "1 of 3 components", "golang.org/x/net")
	if strings.Contains(got.text(t), "a-h/templ") {
		t.Error("the search shows everything")
	}
	sorted := s.visitor().get("/releases/lantern/1.3.0/sbom.csv?sort=-name").body
	if strings.Index(sorted, "golang.org/x/net") > strings.Index(sorted, "github.com/a-h/templ") {
		t.Errorf("not from the end:\n%s", sorted)
	}
	if bad := s.visitor().get("/releases/lantern/1.3.0/sbom?sort=color"); bad.status != 400 {
		t.Errorf("an unknown order: %d", bad.status)
	}
}

func TestADraftIsThereOnlyForThoseWhoMayReadIt(t *testing.T) {
	s := newSite(t)
	s.furnish()
	const draft = "/releases/lantern/1.4.0"
	for _, path := range []string{draft, draft + ".json", draft + "/sbom", draft + "/files/linux/lantern"} {
		if got := s.visitor().get(path); got.status != 404 || strings.Contains(got.body, "draft") {
			t.Errorf("the public at %s: %d %s", path, got.status, got.body)
		}
		if got := s.as("ada").get(path); got.status != 403 {
			t.Errorf("an admin at %s: %d", path, got.status)
		}
	}
	if got := s.visitor().get("/releases"); strings.Contains(got.body, "1.4.0") {
		t.Error("the public's list shows a draft")
	}
	boris := s.as("boris")
	boris.get("/releases").says(t, "Drafts that wait for approval", "lantern 1.4.0")
	boris.get(draft).says(t, "It has 1 approval", "1 more approval by approver Who could give it: boris", "clerestory release approve lantern 1.4.0")
	s.as("chidi").get("/audit?actor=boris&action=release:read-draft").says(t, "release:lantern/1.4.0", "approver-approves")
}

func TestTheAuditTrailIsForAuditorsOnly(t *testing.T) {
	s := newSite(t)
	if got := s.visitor().get("/audit"); got.status != 303 || got.header.Get("Location") != "/account" {
		t.Errorf("the public: %d", got.status)
	}
	if got := s.visitor().get("/audit.json"); got.status != 401 {
		t.Errorf("a machine: %d", got.status)
	}
	for _, path := range []string{"/audit", "/audit.csv", "/audit/policies"} {
		if got := s.as("boris").get(path); got.status != 403 {
			t.Errorf("an approver at %s: %d", path, got.status)
		}
	}
	chidi := s.as("chidi")
	chidi.get("/audit?allowed=no").says(t, "boris", "audit:read", "Refused", "no policy permits it")
	chidi.get("/audit/policies").says(t, "admin-never-approves", "Forbids", "permit (")
}

func TestAnInvitationIsShownOnceAndNeverInAnAddress(t *testing.T) {
	s := newSite(t)
	ada := s.as("ada")
	bad := ada.post("/account/people/invite", url.Values{"person": {"Not An Id"}, "name": {"Kept Name"}, "role": {"approver"}})
	if bad.status != 400 || !strings.Contains(bad.body, `value="Kept Name"`) || !strings.Contains(bad.body, `value="approver" checked`) {
		t.Errorf("a wrong form: %d %s", bad.status, bad.body)
	}
	bad.says(t, "There is a problem")
	got := ada.post("/account/people/invite", url.Values{"person": {"dana"}, "name": {"Dana"}, "role": {"approver"}})
	got.says(t, "An invitation for dana", s.url+"/enrol#")
	if got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("it may be kept: %s", got.header.Get("Cache-Control"))
	}
	ada.get("/account/people").says(t, "dana", "Invited")
	if refused := s.as("boris").post("/account/people/invite", url.Values{"person": {"eve"}, "name": {"Eve"}}); refused.status != 403 {
		t.Errorf("an approver invites: %d", refused.status)
	}
	if _, err := s.people.Invite(ctx, passkey.Person{}, passkey.Person{ID: "x", Name: "X"}); err == nil {
		t.Error("the public invites")
	}
}

func TestSigningOutAndEndingSessionsNeedNoScript(t *testing.T) {
	s := newSite(t)
	one, two := s.as("boris"), s.as("boris")
	one.get("/account").says(t, "You are signed in as boris", "approver")
	if got := one.post("/account/sign-out", nil); got.status != 303 {
		t.Fatalf("signing out: %d %s", got.status, got.body)
	}
	one.get("/account").says(t, "Reading needs no account")
	two.get("/account").says(t, "boris")
	two.post("/account/end-sessions", nil)
	two.get("/account").says(t, "Reading needs no account")
	if got := s.visitor().post("/demo-identities", url.Values{"person": {"nobody"}}); got.status != 404 {
		t.Errorf("a person who is not there: %d", got.status)
	}
}

func TestDisablingAsksForTheNameAgain(t *testing.T) {
	s := newSite(t)
	ada, boris := s.as("ada"), s.as("boris")
	if got := ada.post("/account/people/disable", url.Values{"person": {"boris"}, "repeat": {"bori"}}); got.status != 400 {
		t.Errorf("without the name: %d", got.status)
	}
	ada.post("/account/people/disable", url.Values{"person": {"boris"}, "repeat": {"boris"}})
	boris.get("/account").says(t, "Reading needs no account")
	ada.get("/account/people").says(t, "Disabled")
}

func TestSecurityTxtHealthAndMetricsAreThere(t *testing.T) {
	s := newSite(t)
	v := s.visitor()
	for path, want := range map[string]string{
		"/.well-known/security.txt": "Contact: mailto:security@lantern.example\n", "/healthz": "ok", "/readyz": "ready",
		"/metrics": `clerestory_request_seconds_count{route="GET /healthz",status="200"} 1`,
	} {
		if path == "/metrics" {
			v.get("/healthz")
		}
		if got := v.get(path); got.status != 200 || !strings.Contains(got.body, want) && path != "/metrics" {
			t.Errorf("%s: %d %.300s", path, got.status, got.body)
		}
	}
	if got := v.get("/metrics"); !bytes.Contains([]byte(got.body), []byte("clerestory_log_published_entries 6")) || !strings.Contains(got.body, `route="GET /healthz"`) {
		t.Errorf("metrics: %.2000s", got.body)
	}
}
