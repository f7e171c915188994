package programme

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// ruleCaps are the caps on the rules of a product.
var ruleCaps = struct{ rules, quorums, people, gates, freezes, hours, signatures int }{rules: 16, quorums: 8, people: 16, gates: 32, freezes: 64, hours: 24 * 90, signatures: 16}

// rules checks the rules of every product. It comes after the people were
// checked: a rule that nobody can meet is a mistake.
func (d *decoded) rules(p *Programme) {
	for i, product := range p.Products {
		path := fmt.Sprintf("products[%d].rules", i)
		d.count(path, len(product.Rules), ruleCaps.rules)
		first := map[string]int{} // line of the rule for a channel; "" is the rule for the rest
		for j, r := range product.Rules {
			here := fmt.Sprintf("%s[%d]", path, j)
			d.ruleChannels(here, product, r, first)
			d.rule(here, p, r)
		}
	}
}

func (d *decoded) ruleChannels(path string, product Product, r Rule, first map[string]int) {
	d.count(path+".channels", len(r.Channels), Limits.Channels)
	channels := r.Channels
	if _, there := d.where[path+".channels"]; !there {
		channels = []string{""}
	}
	for k, c := range channels {
		here := fmt.Sprintf("%s.channels[%d]", path, k)
		at := d.at(here)
		line, twice := first[c]
		switch {
		case twice && c == "":
			d.say(d.at(path), fmt.Sprintf("two rules name no channels, the first on line %d", line), "say with 'channels:' which one is for what")
		case twice:
			d.wrong(here, fmt.Sprintf("%q has a rule already, on line %d", clip(c, 70), line), "keep one of them")
		case c == "":
			if len(r.Channels) > 0 {
				d.given(here, c)
			}
			first[c] = at.line
		case !slices.Contains(product.Channels, c):
			d.wrong(here, fmt.Sprintf("%q is not a channel of the product", clip(c, 70)), "use one of: "+strings.Join(product.Channels, ", "))
		default:
			first[c] = at.line
		}
	}
}

func (d *decoded) rule(path string, p *Programme, r Rule) {
	d.quorums(path+".approvals", p, r.Approvals)
	d.gates(path+".gates", r.Gates)
	if _, there := d.where[path+".approval-max-age"]; there && d.given(path+".approval-max-age", r.MaxAge) {
		if _, ok := parseAge(r.MaxAge); !ok {
			d.wrong(path+".approval-max-age", fmt.Sprintf("%q is not an age", clip(r.MaxAge, 40)), "write minutes, hours or days like 90m, 72h or 14d")
		}
	}
	if at, there := d.where[path+".signatures"]; there && !d.reported(at) && (r.Signatures < 1 || r.Signatures > ruleCaps.signatures) {
		d.wrong(path+".signatures", fmt.Sprintf("is %d", r.Signatures), fmt.Sprintf("write 1 to %d", ruleCaps.signatures))
	}
	d.windows(path+".windows", r.Windows)
	if _, there := d.where[path+".emergency"]; there {
		d.emergency(path+".emergency", p, r)
	}
}

// quorums checks that the people of the programme can meet it, and that what
// they come to is believed: the root of trust asks for so many approvals at
// least, whatever a rule says.
func (d *decoded) quorums(path string, p *Programme, quorums []Quorum) {
	d.count(path, len(quorums), ruleCaps.quorums)
	before := len(d.problems) + d.more
	for i, q := range quorums {
		here := fmt.Sprintf("%s[%d]", path, i)
		if at, there := d.where[here+".count"]; there && !d.reported(at) && (q.Count < 1 || q.Count > ruleCaps.people) {
			d.wrong(here+".count", fmt.Sprintf("is %d", q.Count), fmt.Sprintf("write 1 to %d", ruleCaps.people))
		}
		d.roles(here+".roles", q.Roles)
	}
	if len(quorums) == 0 || len(d.problems)+d.more > before || len(p.People) == 0 {
		return
	}
	if n := Total(quorums); n < p.Approvals {
		d.wrong(path, fmt.Sprintf("come to %d, but approvals is %d: nobody would believe the release", n, p.Approvals), "ask for more people, or for fewer approvals in all")
		return
	}
	if unmet := Unmet(quorums, p.People); unmet != nil {
		d.wrong(path, fmt.Sprintf("can not be met: %s more would be needed", unmet[0]), "give more people the role, or ask for fewer")
	}
}

func (d *decoded) roles(path string, roles []string) {
	d.count(path, len(roles), len(Roles))
	for i, role := range roles {
		if here := fmt.Sprintf("%s[%d]", path, i); d.given(here, role) && !slices.Contains(Roles, role) {
			d.wrong(here, fmt.Sprintf("%q is not a role", clip(role, 70)), "use one of: "+strings.Join(Roles, ", "))
		}
	}
	d.unique(path+"[%d]", roles)
}

func (d *decoded) gates(path string, gates []string) {
	d.count(path, len(gates), ruleCaps.gates)
	for i, g := range gates {
		d.id(fmt.Sprintf("%s[%d]", path, i), g)
	}
	d.unique(path+"[%d]", gates)
}

func (d *decoded) windows(path string, w Windows) {
	if _, there := d.where[path+".zone"]; there && d.given(path+".zone", w.Zone) {
		// "Local" would be another zone on each machine.
		if _, err := time.LoadLocation(w.Zone); err != nil || w.Zone == "Local" {
			d.wrong(path+".zone", fmt.Sprintf("%q is not a time zone", clip(w.Zone, 60)), "write one like UTC or Europe/Berlin")
		}
	}
	d.count(path+".days", len(w.Days), len(weekdays))
	for i, name := range w.Days {
		if here := fmt.Sprintf("%s.days[%d]", path, i); d.given(here, name) && !slices.Contains(weekdays, name) {
			d.wrong(here, fmt.Sprintf("%q is not a weekday", clip(name, 40)), "use mon, tue, wed, thu, fri, sat, sun")
		}
	}
	d.unique(path+".days[%d]", w.Days)
	if _, there := d.where[path+".hours"]; there && d.given(path+".hours", w.Hours) {
		if _, _, ok := parseHours(w.Hours); !ok {
			d.wrong(path+".hours", fmt.Sprintf("%q are not hours", clip(w.Hours, 40)), "write them like 08:00-16:00, the earlier one first")
		}
	}
	d.count(path+".freezes", len(w.Freezes), ruleCaps.freezes)
	for i, f := range w.Freezes {
		d.freeze(fmt.Sprintf("%s.freezes[%d]", path, i), f)
	}
}

func (d *decoded) freeze(path string, f Freeze) {
	good := true
	for key, value := range map[string]string{".from": f.From, ".until": f.Until} {
		ok := d.given(path+key, value)
		if t, err := time.Parse(day, value); ok && (err != nil || t.Format(day) != value) {
			d.wrong(path+key, fmt.Sprintf("%q is not a day", clip(value, 40)), "write it like 2026-12-18")
			ok = false
		}
		good = good && ok
	}
	if good && f.Until < f.From {
		d.wrong(path+".until", "is before its beginning", "write the last day of the freeze")
	}
	d.line(path+".why", f.Why, Limits.Line)
}

func (d *decoded) emergency(path string, p *Programme, r Rule) {
	e := r.Emergency
	d.quorums(path+".approvals", p, e.Approvals)
	d.gates(path+".gates", e.Gates)
	for i, g := range e.Gates {
		if g != "" && !slices.Contains(r.Gates, g) {
			d.wrong(fmt.Sprintf("%s.gates[%d]", path, i), fmt.Sprintf("%q is not one of the rule's gates", clip(g, 70)), "an emergency can ask for fewer gates, not for others")
		}
	}
	if at, there := d.where[path+".review-hours"]; there && !d.reported(at) && (e.ReviewHours < 1 || e.ReviewHours > ruleCaps.hours) {
		d.wrong(path+".review-hours", fmt.Sprintf("is %d", e.ReviewHours), fmt.Sprintf("write 1 to %d", ruleCaps.hours))
	}
	d.roles(path+".review-by", e.ReviewBy)
}
