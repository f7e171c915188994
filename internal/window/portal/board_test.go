package portal_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"clerestory.dev/clerestory/internal/ledger/repository"
	"clerestory.dev/clerestory/statement"
)

// furnishBoard gives the site work of every kind: proposals, an emergency whose
// review is due, metadata that lacks a signature, and some that expires.
func (s *site) furnishBoard() {
	s.t.Helper()
	s.furnish()
	s.furnishBase()
	s.emergencyBase("2026.3.5", "A worm spreads now.", 48)
	s.repository = repository.Status{
		Waiting: []repository.Waiting{{Role: base, Have: 1, Need: 2, Missing: []string{s.vendor.Keys["base rel"].KeyID()}}},
		Expiries: []repository.Expiry{{Role: "timestamp", Version: 7, At: s.clock().Add(-time.Hour), Online: true, Soon: true},
			{Role: base, Version: 2, At: s.clock().Add(72 * time.Hour), Soon: true}, {Role: "root", Version: 1, At: s.clock().Add(9000 * time.Hour)}},
	}
}

// emergencyBase says a release that went the emergency path, as the log has it.
func (s *site) emergencyBase(version, why string, hours int64) int64 {
	s.t.Helper()
	rel := must(s.office.Show(ctx, base, "2026.3.3"))(s.t)
	st := must(statement.Parse(rel.Payload))(s.t)
	r := rel.Statement
	r.Version, r.Emergency = version, statement.Emergency{Why: why, ReviewHours: hours}
	n := s.say(st.Subject, &r, "base rel", "base ada", "base boris")
	s.publish()
	must(s.office.Recover(ctx))(s.t)
	return n
}

func TestTheBoardShowsFirstWhatWaitsForMe(t *testing.T) {
	s := newSite(t)
	s.furnishBoard()
	var w struct {
		Mine, Others []struct {
			Product, Version, State, What string
			Who                           []string
			Overdue                       bool
		}
		Signatures []struct{ Who []string }
		Expiring   []struct{ Role string }
	}
	s.as("boris").get("/work.json").json(t, &w)
	if len(w.Mine) == 0 || len(w.Others) == 0 || len(w.Signatures) != 1 || w.Signatures[0].Who[0] != "rel" || len(w.Expiring) != 2 {
		t.Fatalf("%+v", w)
	}
	for _, x := range w.Mine {
		if !strings.Contains(strings.Join(x.Who, " "), "boris") {
			t.Errorf("not for boris: %+v", x)
		}
	}
	page := s.as("boris").get("/work")
	page.says(t, "Waits for you", "lantern 1.4.0", "1 more approval by approver", "Waits for others", "The emergency is reviewed: A worm spreads now.", "Who could give it: rev",
		"Update clients will soon refuse what they get", "timestamp, version 7, expired on", "update repository, lantern-base", "1 of 2 signatures")
	if strings.Index(page.body, "lantern 1.4.0") > strings.Index(page.body, "Waits for others") {
		t.Error("what waits for boris stands below what waits for others")
	}
	s.as("chidi").get("/audit?actor=boris&action=release:read-draft").says(t, "release:board")
}

func TestTheBoardKeepsDraftsFromThoseWhoMayNotReadThem(t *testing.T) {
	s := newSite(t)
	s.furnishBoard()
	if got := s.visitor().get("/work"); got.status != 303 {
		t.Errorf("the public: %d", got.status)
	}
	if got := s.visitor().get("/work.csv"); got.status != 401 {
		t.Errorf("a machine: %d", got.status)
	}
	ada := s.as("ada").get("/work")
	if strings.Contains(ada.body, "1.4.0") {
		t.Error("an admin sees a draft")
	}
	ada.says(t, "The emergency is reviewed")
}

func TestAnEmergencyIsRedUntilItsReviewIsInTheLog(t *testing.T) {
	s := newSite(t)
	s.furnishBase()
	n := s.emergencyBase("2026.3.5", "A worm spreads now.", 48)
	v := s.visitor()
	for _, path := range []string{"/bases/lantern-base", "/bases/lantern-base/2026.3.5", "/releases/lantern-base/2026.3.5"} {
		v.get(path).says(t, "Emergency release, review", "A worm spreads now.", "due until")
	}
	v.get("/bases").says(t, "Emergency, review due", "1 review due")
	s.now = s.now.Add(49 * time.Hour)
	v.get("/bases").says(t, "Emergency, review overdue")
	if got := v.get("/releases/lantern-base/2026.3.5"); !strings.Contains(got.body, "review overdue") {
		t.Error("the release does not say that its review is overdue")
	}
	raw := must(s.db.SaidAt(ctx, n))(t)
	s.say([]statement.Subject{{Name: "entry:" + fmt.Sprint(n), Digest: map[string]string{"sha256": statement.HashOf(raw.Envelope)}}},
		&statement.Review{Entry: n, Product: base, Version: "2026.3.5", Outcome: statement.ReviewUpheld, Findings: "It stopped the worm.", At: "2026-03-03T09:00:00Z"}, "base rev")
	s.publish()
	for _, path := range []string{"/bases/lantern-base/2026.3.5", "/releases/lantern-base/2026.3.5"} {
		v.get(path).says(t, "reviewed afterwards: upheld", "rev found: “ It stopped the worm. ”")
	}
}

func TestTheReleaseRoomLooksAndWorksInABrowser(t *testing.T) {
	axe := needs(t)
	s := newSite(t)
	s.furnishBoard()
	b := newBrowser(t)
	for _, p := range []struct{ name, as, path string }{
		{"bases", "", "/bases"}, {"bases-month", "", "/bases?month=2026-01"}, {"base", "", "/bases/lantern-base"}, {"base-update", "", "/bases/lantern-base/2026.3.2"}, {"base-emergency", "", "/releases/lantern-base/2026.3.5"},
		{"work", "boris", "/work"}, {"base-proposal", "boris", "/releases/lantern-base/2026.3.4"}, {"work-nothing", "ada", "/work"},
	} {
		t.Run(p.name, func(t *testing.T) {
			b.t = t
			if p.as != "" {
				b.look(1280, "light")
				b.signIn(s, p.as)
			}
			b.visit(axe, s.url+p.path, p.name)
		})
	}
	b.t = t
	b.look(1280, "light")
	b.run(chromedp.Navigate(s.url + "/bases?month=x"))
	b.heard() // status 400
	b.inspect(axe, "bases-wrong")
	b.overflow("bases-wrong")
}
