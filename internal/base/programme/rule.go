package programme

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Rule says how releases of a product come about on some of its channels.
type Rule struct {
	Channels  []string `yaml:"channels,omitempty" is:"the channels that the rule is for; without this key, all that no other rule names"`
	Approvals []Quorum `yaml:"approvals" is:"how many people of which roles must approve; the author is never one of them"`
	Gates     []string `yaml:"gates,omitempty" is:"tests that must have passed on exactly the released bytes, such as replay-clean"`
	// MaxAge keeps an approval from being used long after anybody remembers what it
	// was given for. Without it approvals do not age.
	MaxAge string `yaml:"approval-max-age,omitempty" is:"how old an approval may be when the release goes out, such as 72h or 14d"`
	// Signatures is how many release keys of different holders must sign; 1 if absent.
	Signatures int       `yaml:"signatures,omitempty" is:"how many release keys, of different holders, must sign"`
	Windows    Windows   `yaml:"windows,omitempty" is:"when a release may go out; any time if absent"`
	Emergency  Emergency `yaml:"emergency,omitempty" is:"the path for what can not wait; there is none if absent"`
}

// Quorum is a number of people of some roles. A person counts in one quorum only.
type Quorum struct {
	Count int      `yaml:"count" is:"how many different people"`
	Roles []string `yaml:"roles" is:"roles of people, any of which will do"`
}

// Windows says when releases may go out. Each key that is absent restricts nothing.
type Windows struct {
	Zone    string   `yaml:"zone,omitempty" is:"the time zone of days, hours and freezes, such as Europe/Berlin; UTC if absent"`
	Days    []string `yaml:"days,omitempty" is:"weekdays: mon, tue, wed, thu, fri, sat, sun"`
	Hours   string   `yaml:"hours,omitempty" is:"hours of the day, such as 08:00-16:00"`
	Freezes []Freeze `yaml:"freezes,omitempty" is:"periods in which nothing goes out"`
}

// Freeze is a period of whole days, both ends in it.
type Freeze struct {
	From  string `yaml:"from" is:"the first day, such as 2026-12-18"`
	Until string `yaml:"until" is:"the last day"`
	Why   string `yaml:"why" is:"what people are told who would like to release then"`
}

// Emergency is the path for what can not wait: no windows, perhaps fewer or
// other people, and a review afterwards that everybody sees is due.
type Emergency struct {
	Approvals []Quorum `yaml:"approvals" is:"how many people of which roles must approve in an emergency"`
	Gates     []string `yaml:"gates,omitempty" is:"the gates that hold in an emergency too"`
	// ReviewHours is counted from the moment at which the release was said.
	ReviewHours int      `yaml:"review-hours" is:"within how many hours the release must be reviewed afterwards"`
	ReviewBy    []string `yaml:"review-by" is:"roles of people who may review it; never the author, nor who approved it"`
}

// Allowed tells whether the rule has an emergency path.
func (e Emergency) Allowed() bool { return len(e.Approvals) > 0 }

// RuleFor finds the rule for a channel of a product. A product without rules has
// the programme's number of approvals by approvers, and one signature. It is
// false when the programme has no such product or channel.
func (p *Programme) RuleFor(product, channel string) (Rule, bool) {
	i := slices.IndexFunc(p.Products, func(x Product) bool { return x.ID == product })
	if i < 0 || !slices.Contains(p.Products[i].Channels, channel) {
		return Rule{}, false
	}
	rule := Rule{Approvals: []Quorum{{p.Approvals, []string{Approver}}}}
	for _, r := range p.Products[i].Rules {
		if slices.Contains(r.Channels, channel) {
			rule = r
			break
		}
		if len(r.Channels) == 0 {
			rule = r // unless a later one names the channel
		}
	}
	rule.Signatures = max(rule.Signatures, 1)
	return rule, true
}

// Person finds a person of the programme by id.
func (p *Programme) Person(id string) (Person, bool) {
	i := slices.IndexFunc(p.People, func(x Person) bool { return x.ID == id })
	if i < 0 {
		return Person{}, false
	}
	return p.People[i], true
}

// Age is how old an approval may be; 0 is any age.
func (r Rule) Age() time.Duration {
	d, _ := parseAge(r.MaxAge)
	return d
}

// parseAge reads 90m, 72h or 14d.
func parseAge(s string) (time.Duration, bool) {
	if s == "" {
		return 0, true
	}
	unit, ok := map[byte]time.Duration{'m': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}[s[len(s)-1]]
	n, err := strconv.Atoi(s[:len(s)-1])
	if !ok || err != nil || n < 1 || len(s) > 5 || s[0] == '+' || s[0] == '0' {
		return 0, false
	}
	return time.Duration(n) * unit, true
}

// Total is how many different people some quorums ask for together.
func Total(quorums []Quorum) int {
	n := 0
	for _, q := range quorums {
		n += q.Count
	}
	return n
}

// Unmet is what of some quorums these people do not fill, when each person is
// put where it helps most: nil when they fill all of it.
func Unmet(quorums []Quorum, people []Person) []Quorum {
	var seats []int // the quorum of each seat
	for i, q := range quorums {
		for range q.Count {
			seats = append(seats, i)
		}
	}
	taken := make([]int, len(seats)) // the person on each seat, -1 for nobody
	for i := range taken {
		taken[i] = -1
	}
	// A person who finds the seats taken asks those who sit there to move on
	// (augmenting paths): numbers are small, and no greedy order is always right.
	var seat func(person int, asked map[int]bool) bool
	seat = func(person int, asked map[int]bool) bool {
		for s, q := range seats {
			if asked[s] || !hasAny(people[person].Roles, quorums[q].Roles) {
				continue
			}
			asked[s] = true
			if taken[s] < 0 || seat(taken[s], asked) {
				taken[s] = person
				return true
			}
		}
		return false
	}
	for i := range people {
		seat(i, map[int]bool{})
	}
	left := make([]int, len(quorums))
	for s, who := range taken {
		if who < 0 {
			left[seats[s]]++
		}
	}
	var unmet []Quorum
	for i, q := range quorums {
		if left[i] > 0 {
			unmet = append(unmet, Quorum{left[i], q.Roles})
		}
	}
	return unmet
}

func hasAny(have, want []string) bool {
	return slices.ContainsFunc(want, func(role string) bool { return slices.Contains(have, role) })
}

// String is a quorum as people read it: "2 of approver or duty-officer".
func (q Quorum) String() string {
	return fmt.Sprintf("%d of %s", q.Count, strings.Join(q.Roles, " or "))
}

// String is a rule in one line, without free text: it becomes part of a public
// statement.
func (r Rule) String() string {
	parts := []string{"approvals " + join2(r.Approvals)}
	if len(r.Gates) > 0 {
		parts = append(parts, "gates "+strings.Join(r.Gates, ", "))
	}
	if r.MaxAge != "" {
		parts = append(parts, "approvals at most "+r.MaxAge+" old")
	}
	parts = append(parts, fmt.Sprintf("signatures %d", max(r.Signatures, 1)))
	if w := r.Windows; len(w.Days) > 0 || w.Hours != "" {
		parts = append(parts, strings.Join(slices.DeleteFunc([]string{"on", strings.Join(w.Days, " "), w.Hours, cmp.Or(w.Zone, "UTC")}, func(s string) bool { return s == "" }), " "))
	}
	for _, f := range r.Windows.Freezes {
		parts = append(parts, "not from "+f.From+" until "+f.Until)
	}
	if e := r.Emergency; e.Allowed() {
		parts = append(parts, fmt.Sprintf("in an emergency approvals %s, reviewed within %d h by %s", join2(e.Approvals), e.ReviewHours, strings.Join(e.ReviewBy, " or ")))
	}
	return strings.Join(parts, "; ")
}

func join2(quorums []Quorum) string {
	var all []string
	for _, q := range quorums {
		all = append(all, q.String())
	}
	return strings.Join(all, " and ")
}
