package release

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"clerestory.dev/clerestory/internal/base/programme"
)

// Need is something that a release waits for, and who could give it.
type Need struct {
	For   State    // the state that it is needed for
	What  string   // one sentence, for people
	Roles []string // of people, or of a key
	Who   []string // ids of people and machines that could give it; empty when nobody can
	// After is when it can be given at the earliest, Until when it must be there at
	// the latest; zero is any time.
	After, Until time.Time
	Overdue      bool
}

// Missing is what a release waits for still, in the order in which it is needed.
// The answer is what the steps themselves go by.
func (s *Service) Missing(ctx context.Context, rel *Release) ([]Need, error) {
	if rel.State.Said() {
		return s.missingAfter(ctx, rel)
	}
	l, err := s.lawOf(ctx, rel)
	if err != nil {
		return nil, err
	}
	return l.needs(rel), nil
}

// needs is what a release that is not said yet waits for.
func (l *law) needs(rel *Release) []Need {
	var all []Need
	if rel.State == Drafted {
		all = append(all, Need{For: Proposed, What: "its author hands it in", Who: []string{rel.ProposedBy}})
	}
	if !l.holds(rel, Reviewed) {
		who := l.peopleWith(rel, l.rule.Approvals, nil)
		all = append(all, Need{For: Reviewed, What: "somebody who is not its author looks at it", Roles: rolesOf(l.rule.Approvals), Who: who})
	}
	for _, g := range l.red() {
		var who []string
		for _, k := range l.authority.KeysFor("tester", rel.Statement.Product, l.at) {
			who = append(who, k.Holder)
		}
		all = append(all, Need{For: Tested, What: g.text(), Roles: []string{"tester"}, Who: tidy(who)})
	}
	for _, q := range l.unmet(rel) {
		need := Need{For: Approved, What: fmt.Sprintf("%s by %s", count(q.Count, "more approval"), strings.Join(q.Roles, " or ")), Roles: q.Roles}
		need.Who = l.peopleWith(rel, []programme.Quorum{q}, l.approvals(rel))
		if len(need.Who) < q.Count {
			need.What += fmt.Sprintf(" (only %d could give one: grant more keys the role approver)", len(need.Who))
		}
		need.Until = l.lapses(rel)
		all = append(all, need)
	}
	if n := l.rule.Signatures - len(l.signatures(rel)); n > 0 {
		have := l.signatures(rel)
		var who []string
		for _, k := range l.releasers {
			if !slices.ContainsFunc(have, func(h Signing) bool { return l.accounts.one(h.Holder, k.Holder) }) {
				who = append(who, k.Holder)
			}
		}
		all = append(all, Need{For: Signed, What: count(n, "more signature") + " by release keys of different holders", Roles: []string{"release"}, Who: tidy(who), Until: l.lapses(rel)})
	}
	if open, why, next := l.rule.Windows.Open(l.now); !open {
		all = append(all, Need{For: Logged, What: why, After: next})
	} else if l.holds(rel, Approved) && l.holds(rel, Signed) && l.holds(rel, Tested) && l.holds(rel, Reviewed) && rel.State != Drafted {
		all = append(all, Need{For: Logged, What: "somebody publishes it", Roles: []string{programme.ReleaseEngineer}, Who: l.withRoles([]string{programme.ReleaseEngineer}), Until: l.lapses(rel)})
	}
	return all
}

// lapses is when the first approval that counts runs out.
func (l *law) lapses(rel *Release) (first time.Time) {
	for _, a := range l.approvals(rel) {
		if t := a.At.Add(l.rule.Age()); l.rule.Age() > 0 && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

// peopleWith are the people who could fill some quorums: they have a role and an
// approver key, are not the author, and have not approved under any account.
func (l *law) peopleWith(rel *Release, quorums []programme.Quorum, have []Approval) []string {
	var who []string
	for _, k := range l.approvers {
		p, known := l.person(k.Holder)
		if !known || l.author(rel, k.Holder) || programme.Unmet(one(quorums), []programme.Person{p}) != nil ||
			slices.ContainsFunc(have, func(a Approval) bool { return l.accounts.one(a.Holder, k.Holder) }) {
			continue
		}
		who = append(who, k.Holder)
	}
	return tidy(who)
}

// one is a quorum of one person of any of the roles.
func one(quorums []programme.Quorum) []programme.Quorum {
	return []programme.Quorum{{Count: 1, Roles: rolesOf(quorums)}}
}

func rolesOf(quorums []programme.Quorum) []string {
	var all []string
	for _, q := range quorums {
		all = append(all, q.Roles...)
	}
	return tidy(all)
}

// withRoles are the people of the programme with any of the roles.
func (l *law) withRoles(roles []string) []string {
	var who []string
	for id, p := range l.people {
		if slices.ContainsFunc(roles, func(r string) bool { return slices.Contains(p.Roles, r) }) {
			who = append(who, id)
		}
	}
	return tidy(who)
}

func tidy(ids []string) []string { return slices.Compact(slices.Sorted(slices.Values(ids))) }

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// needText is what is missing first, for an error.
func needText(needs []Need) string {
	if len(needs) == 0 {
		return "nothing is missing any more; try again"
	}
	text := needs[0].What
	if len(needs[0].Who) > 0 {
		text += " (" + strings.Join(needs[0].Who, ", ") + " could)"
	}
	return text
}

func stampText(t time.Time) string {
	if t.IsZero() {
		return "not within two years"
	}
	return t.UTC().Format("Mon 2006-01-02 15:04 MST")
}

// missingAfter is what a release waits for that was said: witnesses, and the
// review of an emergency.
func (s *Service) missingAfter(ctx context.Context, rel *Release) ([]Need, error) {
	var all []Need
	if rel.State == Logged {
		all = append(all, Need{For: Published, What: "witnesses cosign a checkpoint that covers it"})
	}
	if !rel.Emergency() {
		return all, nil
	}
	af, err := s.Afterwards(ctx, rel)
	if err != nil || af.Done {
		return all, err
	}
	what := "the emergency is reviewed: " + rel.Statement.Emergency.Why
	return append(all, Need{For: rel.State, What: what, Roles: af.Roles, Who: af.Who, Until: af.Due, Overdue: af.Overdue}), nil
}

// Waiting is a release with one thing that it waits for.
type Waiting struct {
	Release *Release
	Need    Need
}

// boardCap is how many releases a board looks at.
const boardCap = 1000

// Board lists what waits for a person, or for anybody when person is empty: what
// is overdue first, then by deadline, then what was proposed first.
func (s *Service) Board(ctx context.Context, person string) ([]Waiting, error) {
	var all []Waiting
	open, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	for _, rel := range open {
		needs, err := s.Missing(ctx, rel)
		if err != nil {
			// A release whose product left the programme must not hide the others.
			needs = []Need{{For: rel.State, What: err.Error()}}
		}
		for _, n := range needs {
			if person == "" || slices.Contains(n.Who, person) {
				all = append(all, Waiting{rel, n})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Waiting) int {
		return cmp.Or(deadline(a.Need).Compare(deadline(b.Need)), a.Release.ProposedAt.Compare(b.Release.ProposedAt), cmp.Compare(a.Release.ID, b.Release.ID))
	})
	return all, nil
}

// deadline sorts what has none after all that has one.
func deadline(n Need) time.Time {
	if n.Until.IsZero() {
		return time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return n.Until
}

// open are the releases that wait for something: those that are not published,
// and emergencies that nobody has reviewed. Oldest first.
func (s *Service) open(ctx context.Context) ([]*Release, error) {
	var keys [][2]string
	err := each(ctx, s.DB.Query, func(rows *sql.Rows) error {
		var k [2]string
		defer func() { keys = append(keys, k) }()
		return rows.Scan(&k[0], &k[1])
	}, "SELECT product, version FROM release WHERE state IN ($1, $2, $3, $4, $5, $6, $7) OR emergency = 1 ORDER BY id LIMIT $8",
		Drafted, Proposed, Reviewed, Tested, Approved, Signed, Logged, boardCap)
	if err != nil {
		return nil, err
	}
	var all []*Release
	for _, k := range keys {
		rel, err := s.Show(ctx, k[0], k[1])
		if err != nil {
			return nil, err
		}
		all = append(all, rel)
	}
	return all, nil
}

// ApprovalsNeeded is how many different people must approve a release, by the
// rule in force.
func (s *Service) ApprovalsNeeded(ctx context.Context, rel *Release) (int, error) {
	l, err := s.lawOf(ctx, rel)
	if err != nil {
		return 0, err
	}
	return max(programme.Total(l.rule.Approvals), l.trust.Root.Clerestory.Approvals), nil
}
