package ledger

import (
	"fmt"
	"strings"

	"clerestory.dev/clerestory/statement"
)

func advisoryFacts(a *statement.Advisory) []Fact {
	all := []Fact{text("Advisory", a.ID+", version "+a.Version+" ("+a.Status+", TLP:"+a.TLP+")"), text("Title", a.Title)}
	if a.Severity != "" {
		all = append(all, text("Severity", a.Severity))
	}
	all = append(all, Fact{"Document", []Part{{Text: a.Document.Name}, {Hash: a.Document.SHA256}}})
	for _, v := range a.Vulnerabilities {
		var parts []Part
		if v.Title != "" {
			parts = append(parts, Part{Text: v.Title})
		}
		for _, p := range v.Products {
			for _, list := range []struct {
				state    string
				versions []string
			}{{statement.Affected, p.Affected}, {statement.Fixed, p.Fixed}, {statement.NotAffected, p.NotAffected}, {statement.UnderInvestigation, p.UnderInvestigation}} {
				if len(list.versions) > 0 {
					parts = append(parts, Part{Text: p.Product + " " + strings.Join(list.versions, ", ") + ": " + list.state})
				}
			}
		}
		all = append(all, Fact{v.ID, parts})
	}
	return append(all, when("Released", a.Released), when("Said", a.At))
}

func vexFacts(v *statement.VEX) []Fact {
	all := []Fact{text("Document", v.ID), text("Author", v.Author), text("Version", fmt.Sprint(v.Version))}
	for _, s := range v.Statements {
		var parts []Part
		for _, p := range s.Products {
			parts = append(parts, Part{Text: p.ID + ": " + strings.ReplaceAll(s.Status, "_", " ")})
		}
		for _, why := range []string{s.Justification, s.ImpactStatement, s.ActionStatement} {
			if why != "" {
				parts = append(parts, Part{Text: why})
			}
		}
		all = append(all, Fact{s.Vulnerability.Name, parts})
	}
	return append(all, when("Written", v.Timestamp))
}

func disclosureFacts(d *statement.Disclosure) []Fact {
	number := func(name string, n int64) Fact { return text(name, fmt.Sprint(n)) }
	steps := func(name string, p statement.Promises, unit string) Fact {
		return Fact{name, []Part{{Text: fmt.Sprintf("acknowledge %d%s, triage %d%s, fix %d%s, publish %d%s", p.Acknowledge, unit, p.Triage, unit, p.Fix, unit, p.Publish, unit)}}}
	}
	all := []Fact{when("From", d.From), when("To", d.To), number("Received", d.Received), number("Acknowledged", d.Acknowledged), number("Triaged", d.Triaged),
		number("Fixed", d.Fixed), number("Published", d.Published), number("Found to be none", d.Rejected), number("Open at the end", d.Open),
		steps("Promised", d.Promises, " days"), steps("Not kept in time", d.Missed, "")}
	if len(d.FixDays) > 0 {
		all = append(all, text("Days to each fix", strings.Trim(fmt.Sprint(d.FixDays), "[]")))
	}
	var receipts []Part
	for _, r := range d.Receipts {
		receipts = append(receipts, Part{Hash: r})
	}
	if len(receipts) > 0 {
		all = append(all, Fact{"Receipts", receipts})
	}
	return append(all, when("Said", d.At))
}
