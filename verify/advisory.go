package verify

import (
	"slices"
	"strings"

	"clerestory.dev/clerestory/statement"
)

// Notice is what one advisory, in its newest version, says about one version of a
// product.
type Notice struct {
	Entry    Entry
	Advisory *statement.Advisory
	Signers  []Signer
	Touches  []statement.Touch // at least one
}

// Affected tells whether the version is affected by any of the vulnerabilities.
func (n *Notice) Affected() bool {
	return slices.ContainsFunc(n.Touches, func(t statement.Touch) bool { return t.Status == statement.Affected })
}

// AdvisoryBrief is a [Notice] in a report.
type AdvisoryBrief struct {
	ID       string            `json:"id"`
	Version  string            `json:"version"` // of the advisory
	Title    string            `json:"title"`
	Entry    int64             `json:"entry"`
	Affected bool              `json:"affected"`
	Touches  []statement.Touch `json:"touches"`
}

// Advisories lists what the advisories among entries say about a version, in the
// log's order: of each advisory the newest that a key with the role "security" for
// this product has signed. A key of another product can neither say anything about
// this one, nor replace what was said. Nothing takes an advisory back but a newer
// version of it: whoever holds a release key can not hide a weakness.
func (a *Authority) Advisories(entries []Entry, product, version string) []Notice {
	var all []Notice
	seen := map[string]bool{}
	for _, e := range slices.Backward(entries) {
		adv, err := statement.As(e.Statement, &statement.Advisory{})
		if err != nil || seen[adv.ID] {
			continue
		}
		signers := a.signers(e, "security", product)
		if len(signers) == 0 {
			continue
		}
		seen[adv.ID] = true
		if touches := adv.On(product, version); len(touches) > 0 {
			all = append(all, Notice{e, adv, signers, touches})
		}
	}
	slices.Reverse(all)
	return all
}

// believeSecurity asks for the role security for every product that is named.
func (a *Authority) believeSecurity(e Entry, products []string) ([]Signer, error) {
	var found []Signer
	for _, p := range products {
		s := a.signers(e, "security", p)
		if len(s) == 0 {
			return nil, refuse(CodeSignature, "the %s statement at entry %d is not signed by a key that had the role security for %s there", e.Statement.Kind(), e.Index, p)
		}
		for _, x := range s {
			if !slices.Contains(found, x) {
				found = append(found, x)
			}
		}
	}
	return found, nil
}

// advisories says whether any advisory speaks of this version. One that does is
// no refusal: who decides what to run needs to know, and decides.
func (j *judgement) advisories() {
	product, version := j.release.Product, j.release.Version
	found := j.authority.Advisories(j.ev.Entries, product, version)
	for _, n := range found {
		j.report.Advisories = append(j.report.Advisories, AdvisoryBrief{n.Advisory.ID, n.Advisory.Version, n.Advisory.Title, n.Entry.Index, n.Affected(), n.Touches})
		j.report.claim("advisory", n.Entry.Index, n.Signers, "%s %s is %s; %s version %s: %s", product, version, touchText(n.Touches), n.Advisory.ID, n.Advisory.Version, n.Advisory.Title)
	}
	switch {
	case !j.ev.Complete:
		j.report.notChecked("advisory", "a bundle can not show that there is no newer advisory about this version; read the log for that (--log)")
	case len(found) == 0:
		j.report.claim("no-advisory", -1, nil, "no advisory in all %d entries of the log names %s %s", j.ev.Checkpoint.Size, product, version)
	}
}

// touchText is "affected by CVE-1 and CVE-2, fixed for CVE-3".
func touchText(touches []statement.Touch) string {
	var parts []string
	for _, status := range []struct{ name, by string }{
		{statement.Affected, " by "}, {statement.UnderInvestigation, " for "}, {statement.Fixed, " for "}, {statement.NotAffected, " by "},
	} {
		var ids []string
		for _, t := range touches {
			if t.Status == status.name {
				ids = append(ids, t.Vulnerability)
			}
		}
		if len(ids) > 0 {
			parts = append(parts, status.name+status.by+strings.Join(ids, ", "))
		}
	}
	return strings.Join(parts, "; ")
}
