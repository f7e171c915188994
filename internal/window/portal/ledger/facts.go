package ledger

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"clerestory.dev/clerestory/statement"
)

// Fact is one line of what a statement says.
type Fact struct {
	Name  string
	Parts []Part
}

// Part is one value of a fact: exactly one of its members is set.
type Part struct {
	Text, Hash, Time string
	Find             string // text that leads to the statements on it
	Entry            *int64
}

func text(name, s string) Fact     { return Fact{name, []Part{{Text: s}}} }
func hash(name, s string) Fact     { return Fact{name, []Part{{Hash: s}}} }
func when(name, s string) Fact     { return Fact{name, []Part{{Time: s}}} }
func at(name string, n int64) Fact { return Fact{name, []Part{{Entry: &n}}} }

// facts reads what a statement says into lines, and returns the members of its
// predicate that this version does not know as JSON.
func facts(s *statement.Statement) ([]Fact, string) {
	switch s.PredicateType {
	case statement.ReleaseType:
		return of(s, &statement.Release{}, releaseFacts)
	case statement.BuildType:
		return of(s, &statement.Build{}, buildFacts)
	case statement.TestResultType:
		return of(s, &statement.TestResult{}, testFacts)
	case statement.SourceType:
		return of(s, &statement.Source{}, sourceFacts)
	case statement.KeyType:
		return of(s, &statement.Key{}, keyFacts)
	case statement.AdvisoryType:
		return of(s, &statement.Advisory{}, advisoryFacts)
	case statement.VEXType:
		return of(s, &statement.VEX{}, vexFacts)
	case statement.DisclosureType:
		return of(s, &statement.Disclosure{}, disclosureFacts)
	case statement.ProgrammeType:
		return of(s, &statement.Programme{}, programmeFacts)
	case statement.RevocationType:
		return of(s, &statement.Revocation{}, revocationFacts)
	}
	return nil, indent(s.Predicate)
}

func of[T statement.Predicate](s *statement.Statement, p T, read func(T) []Fact) ([]Fact, string) {
	p, err := statement.As(s, p)
	if err != nil {
		return nil, indent(s.Predicate)
	}
	return read(p), unknown(s.Predicate, reflect.TypeOf(p).Elem())
}

// unknown is the members of a predicate that its Go type does not have.
func unknown(predicate json.RawMessage, t reflect.Type) string {
	var members map[string]json.RawMessage
	if json.Unmarshal(predicate, &members) != nil {
		return indent(predicate)
	}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		delete(members, name)
	}
	if len(members) == 0 {
		return ""
	}
	raw, err := json.Marshal(members)
	if err != nil {
		return indent(predicate)
	}
	return indent(raw)
}

func releaseFacts(r *statement.Release) []Fact {
	all := []Fact{
		text("Product", r.Product), text("Version", r.Version), text("Channel", r.Channel),
		{"Files", []Part{{Text: fmt.Sprintf("%d, with the tree root", r.Manifest.Files)}, {Hash: r.Manifest.Root}}},
		{"Source commit", []Part{{Hash: r.Commit}, {Text: "with the tree"}, {Hash: r.Tree}}},
		hash("Source statement", r.Source), hash("Build statement", r.Build),
		{"Bill of materials", []Part{{Text: r.SBOM.Name}, {Hash: r.SBOM.SHA256}}},
	}
	if r.Notes != "" {
		all = append(all, text("Notes", r.Notes))
	}
	return append(all, when("Released", r.At))
}

func buildFacts(b *statement.Build) []Fact {
	d, m := b.BuildDefinition, b.RunDetails.Metadata
	all := []Fact{text("Builder", b.RunDetails.Builder.ID), text("Build type", d.BuildType), text("Parameters", compact(d.ExternalParameters))}
	if len(d.InternalParameters) > 0 {
		all = append(all, text("Internal parameters", compact(d.InternalParameters)))
	}
	if m.InvocationID != "" {
		all = append(all, text("Run", m.InvocationID))
	}
	if m.StartedOn != "" {
		all = append(all, when("Started", m.StartedOn))
	}
	if m.FinishedOn != "" {
		all = append(all, when("Finished", m.FinishedOn))
	}
	var parts []Part
	for _, r := range d.ResolvedDependencies {
		parts = append(parts, Part{Text: firstOf(r.Name, r.URI)})
		for _, digest := range sorted(r.Digest) {
			parts = append(parts, Part{Hash: digest})
		}
	}
	if len(parts) > 0 {
		all = append(all, Fact{"Made from", parts})
	}
	return all
}

func testFacts(t *statement.TestResult) []Fact {
	c := t.Clerestory
	all := []Fact{text("Gate", t.Gate()), text("Result", t.Result)}
	if c.Product != "" {
		all = append(all, text("Product", c.Product))
	}
	var with []Part
	for _, r := range t.Configuration[1:] {
		with = append(with, Part{Text: firstOf(r.Name, r.URI)})
		for _, digest := range sorted(r.Digest) {
			with = append(with, Part{Hash: digest})
		}
	}
	if len(with) > 0 {
		all = append(all, Fact{"Run with", with})
	}
	for _, l := range []struct {
		name  string
		tests []string
	}{{"Failed", t.FailedTests}, {"Warned", t.WarnedTests}, {"Passed", t.PassedTests}} {
		var parts []Part
		for _, name := range l.tests {
			parts = append(parts, Part{Text: name})
		}
		if len(parts) > 0 {
			all = append(all, Fact{l.name, parts})
		}
	}
	for name, n := range sorted(c.Numbers) {
		all = append(all, text(name, fmt.Sprint(n)))
	}
	if sum := c.Report.Digest["sha256"]; sum != "" {
		all = append(all, hash("Full report", sum))
	}
	if c.At != "" {
		all = append(all, when("Stated", c.At))
	}
	return all
}

func sourceFacts(s *statement.Source) []Fact {
	return []Fact{text("Product", s.Product), {"Repository", []Part{{Find: s.Repository}}}, hash("Commit", s.Commit),
		hash("Tree", s.Tree), text("Files", fmt.Sprint(s.Files)), when("Published", s.At)}
}

func keyFacts(k *statement.Key) []Fact {
	act := map[string]string{
		statement.KeyGrant:  "granted: from this entry on, the key may sign for the role",
		statement.KeyRetire: "retired: from this entry on, the key may not sign; what it signed before stands",
		statement.KeyRevoke: "revoked: nothing it signed from the entry below on is believed",
	}[k.Action]
	all := []Fact{text("Action", act), text("Holder", k.Holder), text("Role", k.Role), text("Products", productNames(k.Products)),
		hash("Key id", k.KeyID), hash("Public key", statement.Base64.EncodeToString(k.Public))}
	if k.Action == statement.KeyRevoke {
		all = append(all, at("Not believed from", k.Since))
	}
	if k.Reason != "" {
		all = append(all, text("Reason", k.Reason))
	}
	return append(all, when("Decided", k.At))
}

func programmeFacts(p *statement.Programme) []Fact {
	all := []Fact{text("Vendor", p.Name+" ("+p.Vendor+")")}
	var changes, files []Part
	for _, c := range p.Changes {
		changes = append(changes, Part{Text: c})
	}
	if len(changes) > 0 {
		all = append(all, Fact{"What changed", changes})
	}
	for name, sum := range sorted(p.Files) {
		files = append(files, Part{Text: name}, Part{Hash: sum})
	}
	return append(all, Fact{"Files", files}, when("In force from", p.At))
}

func revocationFacts(r *statement.Revocation) []Fact {
	return []Fact{at("Takes back", r.Entry), text("Kind", r.Kind), text("Product", r.Product), text("Reason", r.Reason), when("Decided", r.At)}
}

func productNames(products []string) string {
	if len(products) == 1 && products[0] == "*" {
		return "every product"
	}
	return strings.Join(products, ", ")
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func compact(raw json.RawMessage) string { return strings.Join(strings.Fields(indent(raw)), " ") }

// moment reads a statement's time, which was validated as RFC 3339.
func moment(s string) time.Time {
	t, _ := time.Parse(time.RFC3339, s) // an impossible failure shows the year 1
	return t
}
