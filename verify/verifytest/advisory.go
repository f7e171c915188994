package verifytest

import (
	"clerestory.dev/clerestory/statement"
)

// SayAdvisory says an advisory about versions of the product, and gives its entry.
// As it is, 1.2.0 is affected and 1.2.1 is fixed; change alters what is said.
func (v *Vendor) SayAdvisory(change func(*statement.Advisory), signers ...*Key) int64 {
	v.T.Helper()
	a := &statement.Advisory{
		ID: "LANTERN-2026-001", Version: "1", Title: "Lantern can be put out from afar", Status: "final", TLP: "WHITE", Severity: "high",
		Vulnerabilities: []statement.Vulnerability{{ID: "CVE-2026-1234", Title: "Missing check of a length",
			Products: []statement.Impact{{Product: Product, Affected: []string{"1.2.0"}, Fixed: []string{"1.2.1"}, NotAffected: []string{"1.1.0"}}}}},
		Released: At, At: At,
	}
	if change != nil {
		change(a)
	}
	a.Document = statement.Digest{Name: "lantern-2026-001.json", SHA256: SHA256("document " + a.Version), Size: 10}
	return v.Say([]statement.Subject{{Name: a.Document.Name, Digest: map[string]string{"sha256": a.Document.SHA256}}}, a, signers...)
}

// SayVEX says a VEX document about the same, whose subjects are the files.
func (v *Vendor) SayVEX(files map[string]string, change func(*statement.VEX), signers ...*Key) int64 {
	v.T.Helper()
	purl := statement.PURL("lantern-works", Product, "1.2.0")
	d := &statement.VEX{
		Context: statement.VEXContext, ID: "https://trust.lantern.example/advisories/lantern-2026-001/vex.json", Author: "Lantern Works", Timestamp: At, Version: 1,
		Statements: []statement.VEXStatement{{Vulnerability: statement.VEXVulnerability{Name: "CVE-2026-1234"}, Status: "affected", ActionStatement: "Update to 1.2.1.",
			Products: []statement.VEXProduct{{ID: purl, Identifiers: statement.VEXIdentifiers{PURL: purl}}}}},
	}
	if change != nil {
		change(d)
	}
	var subject []statement.Subject
	for _, f := range v.Manifest(files).Files {
		subject = append(subject, statement.Subject{Name: f.Name, Digest: map[string]string{"sha256": f.SHA256}})
	}
	return v.Say(subject, d, signers...)
}

// SayDisclosure accounts for the reports of a month.
func (v *Vendor) SayDisclosure(change func(*statement.Disclosure), signers ...*Key) int64 {
	v.T.Helper()
	d := &statement.Disclosure{
		From: "2026-02-01T00:00:00Z", To: "2026-03-01T00:00:00Z", Received: 1, Acknowledged: 1, Triaged: 1, Fixed: 2, Published: 1, Open: 3,
		FixDays: []int64{9, 40}, Receipts: []string{statement.Receipt("reference")}, At: At,
		Promises: statement.Promises{Acknowledge: 3, Triage: 10, Fix: 90, Publish: 120}, Missed: statement.Promises{Triage: 1},
	}
	if change != nil {
		change(d)
	}
	return v.Say([]statement.Subject{statement.DisclosureSubject(d.From, d.To, d.Receipts)}, d, signers...)
}
