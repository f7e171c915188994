package detection

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	office "clerestory.dev/clerestory/internal/office/detection"
)

// What a review of an emergency is.
const (
	reviewDue     = "due"
	reviewOverdue = "overdue"
)

// word is what came of the review, or whether it is due; "" where none is asked.
func (e *Emergency) word(now time.Time) string {
	switch {
	case e == nil:
		return ""
	case e.Review != nil:
		return e.Review.Outcome
	case now.After(e.Due):
		return reviewOverdue
	}
	return reviewDue
}

// state is the same for a table that does not change with the time.
func (e *Emergency) state() string {
	switch {
	case e == nil:
		return ""
	case e.Review != nil:
		return e.Review.Outcome
	}
	return "due " + e.Due.Format(time.RFC3339)
}

// names are what the kinds of things in a base are called: one, and many.
var names = map[string][2]string{
	"rule": {"rule", "rules"}, "hash": {"hash", "hashes"}, "pattern": {"pattern", "patterns"}, "logical": {"logical signature", "logical signatures"},
	"base": {"base.yaml", "base.yaml"},
}

// sentence tells the sums: "2 rules added, 1 removed; 40 hashes added".
func (r *Rules) sentence() string {
	if r.Not != "" {
		return r.Not
	}
	var parts []string
	for _, s := range r.Sums {
		var words []string
		for _, x := range []struct {
			n    int
			word string
		}{{s.Added, "added"}, {s.Changed, "changed"}, {s.Renamed, "renamed"}, {s.Removed, "removed"}} {
			if x.n == 0 {
				continue
			}
			if len(words) == 0 && s.What != "base" {
				words = append(words, count(x.n, names[s.What][0], names[s.What][1])+" "+x.word)
			} else if s.What == "base" {
				words = append(words, "base.yaml "+x.word)
			} else {
				words = append(words, fmt.Sprintf("%d %s", x.n, x.word))
			}
		}
		parts = append(parts, strings.Join(words, ", "))
	}
	if len(parts) == 0 {
		return "Nothing that it detects changed."
	}
	text := strings.Join(parts, "; ")
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

// signs stand before changes, so that they are not told by tint alone.
var signs = map[string]string{office.Added: "+", office.Removed: "\u2212", office.Changed: "\u00b1", office.Renamed: "\u2192"}

func authors(c office.Change) string {
	var all []string
	for _, a := range c.Authors {
		if !slices.Contains(all, a.Name) {
			all = append(all, a.Name)
		}
	}
	return strings.Join(all, ", ")
}

func testTone(result string) (tone, word string) {
	switch result {
	case "PASSED":
		return "ok", "Passed"
	case "WARNED":
		return "warn", "Warned"
	}
	return "bad", "Failed"
}

func stateTone(state string) (tone, word string) {
	switch state {
	case "revoked":
		return "bad", "Revoked"
	case "published":
		return "ok", "Published"
	}
	return "warn", "Draft"
}

// ringWords say who gets an update.
func ringWords(r *Ring) string {
	switch {
	case r == nil:
		return "Not offered by the update repository"
	case r.Halted:
		return fmt.Sprintf("Halted at %d percent of clients: nobody else gets it", r.Percent)
	case r.Percent == 0:
		return "Held back: no client gets it yet"
	case r.Percent == 100:
		return "Every client"
	}
	return fmt.Sprintf("%d percent of clients", r.Percent)
}

func numbers(t Test) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(t.Numbers)) {
		all = append(all, fmt.Sprintf("%s %d", name, t.Numbers[name]))
	}
	return strings.Join(all, ", ")
}

func join(names []string) string {
	switch len(names) {
	case 0:
		return "nobody"
	case 1:
		return names[0]
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}
