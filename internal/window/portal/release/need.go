package release

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"clerestory.dev/clerestory/internal/base/programme"
	office "clerestory.dev/clerestory/internal/office/release"
	"clerestory.dev/clerestory/internal/window/portal/frame"
)

// Need is something that a release waits for, and who could give it.
type Need struct {
	For     string    `json:"for"` // the state that it is needed for
	What    string    `json:"what"`
	Roles   []string  `json:"roles"`
	Who     []string  `json:"who"` // empty when nobody can
	After   time.Time `json:"after,omitzero"`
	Until   time.Time `json:"until,omitzero"`
	Overdue bool      `json:"overdue"`
}

func needOf(n office.Need) Need {
	return Need{string(n.For), n.What, append([]string{}, n.Roles...), append([]string{}, n.Who...), n.After, n.Until, n.Overdue}
}

// Gate is a test that the rule asks for, and what came of it on exactly the
// proposal's files.
type Gate struct {
	Name   string    `json:"name"`
	Result string    `json:"result"` // PASSED, WARNED or FAILED; empty when there is no test of these files
	Entry  int64     `json:"entry"`  // of the test's statement, or -1
	By     []string  `json:"by"`
	At     time.Time `json:"at,omitzero"`
}

// tone is the gate's state as a word and a tint.
func (g Gate) tone() (tone, word string) {
	switch g.Result {
	case "PASSED":
		return "ok", "Green"
	case "":
		return "warn", "Missing"
	}
	return "bad", "Red"
}

// Emergency is a release that did not go the usual way, and how its review
// stands.
type Emergency struct {
	Why      string    `json:"why"`
	Due      time.Time `json:"due,omitzero"` // zero before it is said
	Overdue  bool      `json:"overdue"`
	Entry    int64     `json:"review"` // of the review, or -1
	Outcome  string    `json:"outcome,omitempty"`
	Findings string    `json:"findings,omitempty"`
	By       []string  `json:"by"`
	Who      []string  `json:"who"` // who could review it
}

// process tells what the release process says of a release: what it waits for,
// its gates, and its emergency.
func (m *Room) process(ctx context.Context, rel *office.Release, d *Detail) error {
	needs, err := m.Office.Missing(ctx, rel)
	if err != nil {
		return err
	}
	d.Missing = []Need{}
	for _, n := range needs {
		d.Missing = append(d.Missing, needOf(n))
	}
	if rel.Emergency() {
		d.Emergency = &Emergency{Why: rel.Statement.Emergency.Why, Entry: -1, By: []string{}, Who: []string{}}
	}
	switch {
	case !rel.State.Said():
		d.Gates, err = m.gates(ctx, rel)
	case rel.Emergency():
		af, failed := m.Office.Afterwards(ctx, rel)
		if failed != nil {
			return failed
		}
		e := d.Emergency
		e.Due, e.Overdue, e.Entry, e.Outcome, e.Findings = af.Due, af.Overdue, af.Entry, af.Outcome, af.Findings
		e.By, e.Who = append(e.By, af.By...), append(e.Who, af.Who...)
	}
	return err
}

// gates are those of the rule that is in force for the proposal.
func (m *Room) gates(ctx context.Context, rel *office.Release) ([]Gate, error) {
	rule := programme.Rule{}
	if m.Rule != nil {
		rule, _ = m.Rule(rel.Statement.Product, rel.Statement.Channel)
	}
	names := rule.Gates
	if rel.Emergency() {
		names = rule.Emergency.Gates
	}
	all, err := m.Office.Gates(ctx, rel.Statement.Product, rel.Files, rel.Statement.SBOM.SHA256, names)
	list := []Gate{}
	for _, g := range all {
		list = append(list, Gate{g.Name, g.Result, g.Entry, append([]string{}, g.By...), g.At})
	}
	return list, err
}

// blocked is why nobody can approve a proposal yet, or "".
func blocked(needs []office.Need) string {
	i := slices.IndexFunc(needs, func(n office.Need) bool { return n.For == office.Proposed || n.For == office.Tested })
	if i < 0 {
		return ""
	}
	return "It can not be approved yet: " + needs[i].What + "." + could(needs[i].Who)
}

// approvalsBy are the people who could still approve.
func approvalsBy(needs []office.Need) []string {
	var who []string
	for _, n := range needs {
		if n.For == office.Approved {
			who = append(who, n.Who...)
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(who)))
}

func could(who []string) string {
	if len(who) == 0 {
		return ""
	}
	return " Who could give it: " + and(who) + "."
}

// deadline says in words when something must be there.
func deadline(n Need, now time.Time) string {
	switch {
	case n.Overdue:
		return "overdue since " + frame.Words(n.Until)
	case !n.Until.IsZero():
		return "until " + frame.Words(n.Until)
	case n.After.After(now):
		return "from " + frame.Words(n.After) + " on"
	}
	return ""
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// full is a text as a sentence.
func full(s string) string { return capital(strings.TrimRight(s, ".")) + "." }

func approvalWords(n int) string {
	if n == 1 {
		return "1 approval"
	}
	return fmt.Sprintf("%d approvals", n)
}
