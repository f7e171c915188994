package programme

import (
	"strings"
	"testing"
	"time"
)

// ruled is the good programme with rules for its product.
var ruled = strings.Replace(good, "    channels: [stable, beta]\n", `    channels: [stable, beta]
    rules:
      - channels: [stable]
        approvals:
          - count: 2
            roles: [approver]
          - count: 1
            roles: [auditor, admin]
        gates: [replay-clean, replay-known]
        approval-max-age: 72h
        signatures: 2
        windows:
          zone: Europe/Berlin
          days: [mon, tue, wed, thu]
          hours: 08:00-16:00
          freezes:
            - from: 2026-12-18
              until: 2027-01-06
              why: nobody is there to roll back
        emergency:
          approvals:
            - count: 2
              roles: [approver, duty-officer]
          gates: [replay-clean]
          review-hours: 48
          review-by: [admin, auditor]
      - approvals:
          - count: 2
            roles: [approver]
`, 1)

func TestAChannelHasItsRule(t *testing.T) {
	p := mustRead(t, folder(ruled))
	r, ok := p.RuleFor("agent", "stable")
	if !ok || Total(r.Approvals) != 3 || r.Age() != 72*time.Hour || r.Signatures != 2 || !r.Emergency.Allowed() {
		t.Errorf("stable: %+v", r)
	}
	if r, ok := p.RuleFor("agent", "beta"); !ok || Total(r.Approvals) != 2 || r.Signatures != 1 || r.Emergency.Allowed() || r.Age() != 0 {
		t.Errorf("beta has the rule for the rest: %+v", r)
	}
	for _, bad := range [][2]string{{"agent", "nightly"}, {"other", "stable"}, {"", ""}} {
		if _, ok := p.RuleFor(bad[0], bad[1]); ok {
			t.Errorf("%v has a rule", bad)
		}
	}
	if r, ok := mustRead(t, folder(good)).RuleFor("agent", "beta"); !ok || Total(r.Approvals) != 2 || r.Signatures != 1 {
		t.Errorf("a product without rules: %+v", r)
	}
	conforms(t, []byte(ruled))
}

func TestEachMistakeInARuleIsReportedWhereItStands(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{"- channels: [stable]", "- channels: [nightly]", `programme.yaml:17:20: products[0].rules[0].channels[0] "nightly" is not a channel of the product; use one of: stable, beta`},
		{"- channels: [stable]\n        approvals:", "- approvals:", `two rules name no channels, the first on line 17`},
		{"- count: 2\n            roles: [approver]", "- count: 5\n            roles: [approver]", `products[0].rules[0].approvals can not be met: 3 of approver more would be needed`},
		{"- count: 2\n            roles: [approver]", "- count: 0\n            roles: [approver]", `programme.yaml:19:20: products[0].rules[0].approvals[0].count is 0; write 1 to 16`},
		{"roles: [auditor, admin]", "roles: [boss]", `products[0].rules[0].approvals[1].roles[0] "boss" is not a role`},
		{"      - approvals:\n          - count: 2\n", "      - approvals:\n          - count: 1\n", `products[0].rules[1].approvals come to 1, but approvals is 2: nobody would believe the release`},
		{"            - count: 2\n              roles: [approver, duty-officer]", "            - count: 1\n              roles: [approver]", `products[0].rules[0].emergency.approvals come to 1, but approvals is 2`},
		{"approval-max-age: 72h", "approval-max-age: 3 days", `programme.yaml:24:27: products[0].rules[0].approval-max-age "3 days" is not an age; write`},
		{"signatures: 2", "signatures: 0", `programme.yaml:25:21: products[0].rules[0].signatures is 0`},
		{"zone: Europe/Berlin", "zone: Berlin", `programme.yaml:27:17: products[0].rules[0].windows.zone "Berlin" is not a time zone`},
		{"zone: Europe/Berlin", "zone: Local", `"Local" is not a time zone`},
		{"days: [mon, tue", "days: [monday, tue", `windows.days[0] "monday" is not a weekday; use mon, tue`},
		{"hours: 08:00-16:00", "hours: 16:00-08:00", `windows.hours "16:00-08:00" are not hours`},
		{"hours: 08:00-16:00", "hours: 8-16", `windows.hours "8-16" are not hours`},
		{"until: 2027-01-06", "until: 2026-01-06", `windows.freezes[0].until is before its beginning`},
		{"from: 2026-12-18", "from: 2026-12-32", `windows.freezes[0].from "2026-12-32" is not a day`},
		{"gates: [replay-clean]\n", "gates: [replay-other]\n", `emergency.gates[0] "replay-other" is not one of the rule's gates`},
		{"review-hours: 48", "review-hours: 0", `emergency.review-hours is 0; write 1 to 2160`},
		{"          review-hours: 48\n", "", `the key "review-hours" is missing in products[0].rules[0].emergency`},
		{"signatures: 2", "signature: 2", `unknown key "signature" in products[0].rules[0]; did you mean "signatures"?`},
		{"gates: [replay-clean, replay-known]", "gates: [replay-clean, replay-clean]", `products[0].rules[0].gates[1] "replay-clean" stands twice`},
	} {
		text := strings.Replace(ruled, c.from, c.to, 1)
		if text == ruled {
			t.Fatalf("%q is not in the example", c.from)
		}
		got := strings.Join(problemsOf(t, folder(text)), "\n")
		if !strings.Contains(got, c.want) {
			t.Errorf("%q for %q gives\n  %s\nwant\n  %s", c.to, c.from, got, c.want)
		}
	}
}

func TestAPersonFillsOneSeatOnly(t *testing.T) {
	ada := Person{"ada", "", []string{Approver, Auditor}}
	boris := Person{"boris", "", []string{Approver}}
	chidi := Person{"chidi", "", []string{Auditor}}
	asked := []Quorum{{1, []string{Approver}}, {1, []string{Auditor}}}
	for _, c := range []struct {
		people []Person
		unmet  int
	}{
		{nil, 2}, {[]Person{ada}, 1}, {[]Person{ada, boris}, 0}, {[]Person{boris, ada}, 0},
		{[]Person{ada, chidi}, 0}, {[]Person{chidi, ada}, 0}, {[]Person{boris, {"eve", "", []string{Approver}}}, 1},
	} {
		if got := Total(Unmet(asked, c.people)); got != c.unmet {
			t.Errorf("%v leave %d open; %d are", c.people, got, c.unmet)
		}
	}
}

func TestWindowsAreLocalTimeAndFreezesAreWholeDays(t *testing.T) {
	r, _ := mustRead(t, folder(ruled)).RuleFor("agent", "stable")
	for _, c := range []struct{ at, next string }{
		{"2026-11-23T07:00:00Z", "2026-11-23T07:00:00Z"}, // Monday, 08:00 in Berlin
		{"2026-11-23T06:59:00Z", "2026-11-23T07:00:00Z"},
		{"2026-11-23T15:00:00Z", "2026-11-24T07:00:00Z"}, // 16:00 is over
		{"2026-07-01T13:59:00Z", "2026-07-01T13:59:00Z"}, // summer time
		{"2026-11-26T15:30:00Z", "2026-11-30T07:00:00Z"}, // Thursday evening: the weekend follows
		{"2026-12-17T22:59:00Z", "2027-01-07T07:00:00Z"}, // the day before the freeze, at night
		{"2026-12-21T09:00:00Z", "2027-01-07T07:00:00Z"},
	} {
		at, _ := time.Parse(time.RFC3339, c.at)
		open, why, next := r.Windows.Open(at)
		if open != (c.at == c.next) || next.UTC().Format(time.RFC3339) != c.next || open == (why != "") {
			t.Errorf("at %s: open %v (%s), next %s; want %s", c.at, open, why, next.UTC().Format(time.RFC3339), c.next)
		}
	}
	if open, _, _ := (Windows{}).Open(time.Now()); !open {
		t.Error("no windows restrict something")
	}
	if open, why, _ := (Windows{Zone: "Nowhere/None"}).Open(time.Now()); open || why == "" {
		t.Error("a zone that nobody knows is open")
	}
}

func TestThePlanTellsOfRules(t *testing.T) {
	changes := Plan(mustRead(t, folder(good)), mustRead(t, folder(ruled)))
	text := ""
	for _, c := range changes {
		text += c.String() + "\n"
	}
	for _, want := range []string{"product agent: release rule for stable: approvals 2 of approver and 1 of auditor or admin; gates replay-clean, replay-known; ", "reviewed within 48 h by admin or auditor added", "release rule for other channels: approvals 2 of approver; signatures 1 added"} {
		if !strings.Contains(text, want) {
			t.Errorf("the plan lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "nobody is there") {
		t.Error("the plan quotes free text")
	}
}
