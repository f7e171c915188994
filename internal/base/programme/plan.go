package programme

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Change is one line of a plan: what changes about what. It names people by id
// and never quotes free text, because it becomes part of a public statement.
type Change struct {
	Of   string // "product agent"
	What string // "channel beta added"
}

// String is the line as people read it: "product agent: channel beta added".
func (c Change) String() string { return c.Of + ": " + c.What }

// Plan lists what putting new in force would change; old is nil when there is
// none. Two folders with the same files have no changes.
func Plan(old, new *Programme) []Change {
	if old != nil && old.Digest() == new.Digest() {
		return nil
	}
	pl := &plan{}
	if old == nil {
		pl.add("programme", "first version")
		old = &Programme{}
	}
	pl.head(old, new)
	pl.products(old.Products, new.Products)
	pl.people(old.People, new.People)
	pl.security(old.Security, new.Security)
	pl.files(old, new)
	return pl.changes
}

type plan struct{ changes []Change }

func (pl *plan) add(of, format string, args ...any) {
	pl.changes = append(pl.changes, Change{of, fmt.Sprintf(format, args...)})
}

// value notes a change of a value that is public and short enough to be shown.
func (pl *plan) value(of, what, old, new string) {
	switch {
	case old == new:
	case old == "":
		pl.add(of, "%s is %s", what, new)
	case new == "":
		pl.add(of, "%s removed", what)
	default:
		pl.add(of, "%s changed from %s to %s", what, old, new)
	}
}

// free notes a change of text that may hold anything, without the text.
func (pl *plan) free(of, what, old, new string) {
	switch {
	case old == new || old == "" && new == "":
	case old == "":
		pl.add(of, "%s added", what)
	case new == "":
		pl.add(of, "%s removed", what)
	default:
		pl.add(of, "%s changed", what)
	}
}

func (pl *plan) head(old, new *Programme) {
	pl.value("vendor", "id", old.Vendor.ID, new.Vendor.ID)
	pl.free("vendor", "name", old.Vendor.Name, new.Vendor.Name)
	pl.free("vendor", "url", old.Vendor.URL, new.Vendor.URL)
	pl.free("vendor", "contact", old.Vendor.Contact, new.Vendor.Contact)
	pl.value("log", "origin", old.Log.Origin, new.Log.Origin)
	pl.free("log", "url", old.Log.URL, new.Log.URL)
	if old.Approvals != new.Approvals {
		was := ""
		if old.Approvals > 0 {
			was = fmt.Sprint(old.Approvals)
		}
		pl.value("releases", "approvals needed", was, fmt.Sprint(new.Approvals))
	}
}

func (pl *plan) products(old, new []Product) {
	byID := func(ps []Product, id string) (Product, bool) {
		i := slices.IndexFunc(ps, func(p Product) bool { return p.ID == id })
		if i < 0 {
			return Product{}, false
		}
		return ps[i], true
	}
	for _, p := range old {
		if _, still := byID(new, p.ID); !still {
			pl.add("product "+p.ID, "removed")
		}
	}
	for _, p := range new {
		of := "product " + p.ID
		was, known := byID(old, p.ID)
		if !known {
			pl.add(of, "added, with channels %s", strings.Join(p.Channels, ", "))
			pl.rules(of, nil, p.Rules)
			continue
		}
		pl.free(of, "name", was.Name, p.Name)
		pl.free(of, "description", was.Description, p.Description)
		pl.free(of, "repository", was.Repository, p.Repository)
		pl.set(of, "channel", was.Channels, p.Channels)
		pl.rules(of, was.Rules, p.Rules)
	}
}

// rules tells of each rule that is new or no more; a changed one is both.
func (pl *plan) rules(of string, old, new []Rule) {
	lines := func(rules []Rule) (all []string) {
		for _, r := range rules {
			channels := strings.Join(r.Channels, ", ")
			if channels == "" {
				channels = "other channels"
			}
			all = append(all, "for "+channels+": "+r.String())
		}
		return all
	}
	pl.set(of, "release rule", lines(old), lines(new))
}

func (pl *plan) set(of, what string, old, new []string) {
	for _, s := range old {
		if !slices.Contains(new, s) {
			pl.add(of, "%s %s removed", what, s)
		}
	}
	for _, s := range new {
		if !slices.Contains(old, s) {
			pl.add(of, "%s %s added", what, s)
		}
	}
}

// people tells of ids and roles. That a name changed shows in the file's hash;
// the plan does not even say whose.
func (pl *plan) people(old, new []Person) {
	byID := func(ps []Person, id string) (Person, bool) {
		i := slices.IndexFunc(ps, func(p Person) bool { return p.ID == id })
		if i < 0 {
			return Person{}, false
		}
		return ps[i], true
	}
	for _, p := range old {
		if _, still := byID(new, p.ID); !still {
			pl.add("person "+p.ID, "removed")
		}
	}
	for _, p := range new {
		was, known := byID(old, p.ID)
		if !known {
			pl.add("person "+p.ID, "added, with roles %s", strings.Join(p.Roles, ", "))
			continue
		}
		pl.set("person "+p.ID, "role", was.Roles, p.Roles)
	}
}

func (pl *plan) security(old, new Security) {
	pl.free("security contact", "addresses", strings.Join(old.Contact, "\n"), strings.Join(new.Contact, "\n"))
	pl.value("security contact", "expiry", old.Expires, new.Expires)
	pl.set("security contact", "language", old.Languages, new.Languages)
	pl.free("security contact", "policy", old.Policy, new.Policy)
	pl.free("security contact", "encryption key", old.Encryption, new.Encryption)
	pl.free("security contact", "acknowledgments page", old.Acknowledgments, new.Acknowledgments)
	pl.value("reports", "recipient", old.Recipient, new.Recipient)
	pl.free("reports", "scope", strings.Join(old.Scope, "\n"), strings.Join(new.Scope, "\n"))
	pl.free("reports", "safe harbour", old.SafeHarbour, new.SafeHarbour)
	before := maps.Collect(old.Promises.Each)
	for step, days := range new.Promises.Each {
		if days != before[step] {
			pl.add("reports", "promise to %s changed from %d to %d days", step, before[step], days)
		}
	}
}

func (pl *plan) files(old, new *Programme) {
	for _, f := range old.Files {
		if _, still := new.File(f.Path); !still {
			pl.add("file "+f.Path, "removed")
		}
	}
	for _, f := range new.Files {
		was, known := old.File(f.Path)
		switch {
		case !known:
			pl.add("file "+f.Path, "added")
		case was.SHA256 != f.SHA256:
			pl.add("file "+f.Path, "changed")
		}
	}
}

// lines are the changes as a statement holds them: at most 200, and no more
// bytes than fit next to the list of files. What is left out is counted.
func lines(changes []Change) []string {
	const most = 200
	var all []string
	room := Limits.Changes - 64 // for the last line
	for i, c := range changes {
		line := clip(c.String(), 1000)
		if quoted, err := json.Marshal(line); err == nil {
			room -= len(quoted) + 1
		}
		if room < 0 || len(all) == most-1 && i < len(changes)-1 {
			return append(all, fmt.Sprintf("and %d more changes", len(changes)-i))
		}
		all = append(all, line)
	}
	return all
}
