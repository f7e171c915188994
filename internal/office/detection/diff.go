package detection

import (
	"fmt"
	"slices"
	"strings"
)

// What happened to a rule or entry.
const (
	Added   = "added"
	Changed = "changed"
	Removed = "removed"
	Renamed = "renamed"
)

// Change is one rule or entry that differs between two bases.
type Change struct {
	Kind string `json:"kind"` // added, changed, removed, renamed
	What string `json:"what"` // rule, hash, pattern, logical, or base for base.yaml
	Name string `json:"name"`
	Key  string `json:"key,omitempty"` // of a hash: the hash
	Was  string `json:"was,omitempty"` // the name before
	// Parts are what differs in it: modifiers, tags, meta, strings, condition.
	Parts   []Part   `json:"parts,omitempty"`
	File    string   `json:"file"` // where it stands; of what was removed, where it stood
	Line    int      `json:"line"`
	End     int      `json:"-"`
	Authors []Author `json:"authors,omitempty"`
}

// Part is one part of a rule that differs: "string $a", before and after. One of
// the two is empty when it is new or gone.
type Part struct {
	Name string `json:"name"`
	Old  string `json:"old,omitempty"`
	New  string `json:"new,omitempty"`
}

// Diff is what differs between two bases. Order, white space and comments do not
// count.
type Diff struct {
	Old     Counts   `json:"old"`
	New     Counts   `json:"new"`
	Changes []Change `json:"changes"` // rules first, each kind by name
}

// Count counts changes of one kind; what "" is every one.
func (d *Diff) Count(what, kind string) int {
	n := 0
	for _, c := range d.Changes {
		if c.Kind == kind && (what == "" || c.What == what) {
			n++
		}
	}
	return n
}

// Compare compares two bases rule by rule and entry by entry. Without an old one
// everything is new.
func Compare(old, new *Base) *Diff {
	if old == nil {
		old = &Base{Entries: map[string][]Entry{}, About: new.About}
	}
	d := &Diff{Old: old.Counts(), New: new.Counts(), Changes: []Change{}}
	d.about(old, new)
	d.rules(old, new)
	for _, f := range []struct{ format, what string }{{Hashes, "hash"}, {Pattern, "pattern"}, {Logical, "logical"}} {
		d.entries(old.Entries[f.format], new.Entries[f.format], f.what)
	}
	return d
}

// about compares base.yaml: a change that drops the corpora on which it is tried
// must not pass for a change of rules.
func (d *Diff) about(old, new *Base) {
	var parts []Part
	a, b := old.About, new.About
	for _, p := range []Part{
		{"id", a.ID, b.ID}, {"name", a.Name, b.Name}, {"owner", a.Owner, b.Owner}, {"description", a.Description, b.Description},
		{"clean corpora", strings.Join(a.Clean, ", "), strings.Join(b.Clean, ", ")}, {"known corpora", strings.Join(a.Known, ", "), strings.Join(b.Known, ", ")},
	} {
		if p.Old != p.New {
			parts = append(parts, p)
		}
	}
	if len(parts) > 0 {
		d.Changes = append(d.Changes, Change{Kind: Changed, What: "base", Name: b.ID, Parts: parts, File: Main, Line: 1, End: 1})
	}
}

func (d *Diff) rules(old, new *Base) {
	was := make(map[string]*Rule, len(old.Rules))
	for _, r := range old.Rules {
		was[r.Name] = r
	}
	var added, both []Change
	for _, r := range new.Rules {
		o, ok := was[r.Name]
		delete(was, r.Name)
		c := Change{What: "rule", Name: r.Name, File: r.File, Line: r.Line, End: r.End}
		if !ok {
			c.Kind = Added
			added = append(added, c)
		} else if c.Parts = parts(o, r); len(c.Parts) > 0 {
			c.Kind = Changed
			both = append(both, c)
		}
	}
	gone := map[string]*Rule{} // by what they look for
	for _, r := range was {
		if other, ok := gone[r.looks()]; !ok || r.Name < other.Name {
			gone[r.looks()] = r
		}
	}
	if len(gone) > 0 {
		renamed(added, new, gone, was)
	}
	removed := make([]Change, 0, len(was))
	for _, r := range was {
		removed = append(removed, Change{Kind: Removed, What: "rule", Name: r.Name, File: r.File, Line: r.Line, End: r.End})
	}
	all := slices.Concat(added, both, removed)
	byName(all)
	d.Changes = append(d.Changes, all...)
}

// renamed finds rules among added that look for the same as one that is gone, and
// takes that one out of was.
func renamed(added []Change, new *Base, gone, was map[string]*Rule) {
	now := make(map[string]*Rule, len(new.Rules))
	for _, r := range new.Rules {
		now[r.Name] = r
	}
	for i, c := range added {
		r := now[c.Name]
		if o, ok := gone[r.looks()]; ok {
			delete(gone, r.looks())
			delete(was, o.Name)
			added[i].Kind, added[i].Was, added[i].Parts = Renamed, o.Name, parts(o, r)
		}
	}
}

// looks is what the rule matches, whatever it is called.
func (r *Rule) looks() string {
	return r.Modifiers + "\x00" + strings.Join(r.Strings, "\x00") + "\x00\x00" + r.Condition
}

// parts lists what differs between two versions of a rule.
func parts(o, n *Rule) []Part {
	var all []Part
	one := func(name, old, new string) {
		if old != new {
			all = append(all, Part{name, old, new})
		}
	}
	one("modifiers", o.Modifiers, n.Modifiers)
	one("tags", strings.Join(o.Tags, " "), strings.Join(n.Tags, " "))
	all = append(all, partList("meta", o.Meta, n.Meta)...)
	all = append(all, partList("string", o.Strings, n.Strings)...)
	one("condition", o.Condition, n.Condition)
	return all
}

// partList compares entries "name = value"; names may stand more than once.
func partList(what string, old, new []string) []Part {
	if slices.Equal(old, new) {
		return nil
	}
	type slot struct {
		name string
		n    int
	}
	number := func(list []string) (map[slot]string, []slot) {
		seen, values := map[string]int{}, map[slot]string{}
		var order []slot
		for _, entry := range list {
			name, value, _ := strings.Cut(entry, " = ")
			s := slot{name, seen[name]}
			seen[name]++
			values[s], order = value, append(order, s)
		}
		return values, order
	}
	was, before := number(old)
	now, after := number(new)
	var all []Part
	for _, s := range before {
		if was[s] != now[s] {
			all = append(all, Part{what + " " + s.name, was[s], now[s]})
		}
	}
	for _, s := range after {
		if _, ok := was[s]; !ok {
			all = append(all, Part{Name: what + " " + s.name, New: now[s]})
		}
	}
	return all
}

// entries walks through two sorted lists at once.
func (d *Diff) entries(old, new []Entry, what string) {
	var all []Change
	note := func(kind string, e Entry) *Change {
		all = append(all, Change{Kind: kind, What: what, Name: e.Name, File: e.File, Line: e.At, End: e.At})
		c := &all[len(all)-1]
		if what == "hash" {
			c.Key = e.Key
		}
		return c
	}
	i, j := 0, 0
	for i < len(old) || j < len(new) {
		switch {
		case j == len(new) || i < len(old) && old[i].Key < new[j].Key:
			note(Removed, old[i])
			i++
		case i == len(old) || new[j].Key < old[i].Key:
			note(Added, new[j])
			j++
		default:
			if old[i].Line != new[j].Line {
				c := note(Changed, new[j])
				c.Parts = linePart(old[i].Line, new[j].Line, what)
				if old[i].Name != new[j].Name {
					c.Was = old[i].Name
				}
			}
			i, j = i+1, j+1
		}
	}
	byName(all)
	d.Changes = append(d.Changes, all...)
}

// lineFields name the fields of the lines.
var lineFields = map[string][]string{
	"hash":    {"hash", "size", "name", "level", "level"},
	"pattern": {"name", "target", "offset", "pattern", "level", "level"},
	"logical": {"name", "description", "expression"},
}

func linePart(old, new, what string) []Part {
	sep := byte(':')
	if what == "logical" {
		sep = ';'
	}
	o, n := fieldsOf(old, sep), fieldsOf(new, sep)
	var all []Part
	for i := range max(len(o), len(n)) {
		var p Part
		if i < len(o) {
			p.Old = o[i].text
		}
		if i < len(n) {
			p.New = n[i].text
		}
		if p.Old == p.New {
			continue
		}
		if names := lineFields[what]; i < len(names) {
			p.Name = names[i]
		} else {
			p.Name = fmt.Sprintf("subsignature %d", i-len(names))
		}
		all = append(all, p)
	}
	return all
}

func byName(all []Change) {
	slices.SortFunc(all, func(a, b Change) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return strings.Compare(a.Key, b.Key)
	})
}
