package advisory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// vexStatus is how OpenVEX calls a state.
var vexStatus = map[string]string{
	statement.Affected: "affected", statement.Fixed: "fixed", statement.NotAffected: "not_affected", statement.UnderInvestigation: "under_investigation",
}

// VEX derives the OpenVEX document: one statement for each vulnerability, state and
// reason, with the versions that share them. Nothing in it is not in the advisory.
func (d *Document) VEX(vendor, author, id string, revision int64) *statement.VEX {
	h := d.Head()
	out := &statement.VEX{Context: statement.VEXContext, ID: id, Author: author, Role: "Document Creator", Timestamp: stamp(moment(h.Current)), Version: revision}
	for _, v := range d.csaf.Vulnerabilities {
		states, _ := d.states(v)
		for _, version := range d.Versions() {
			state, ok := states[version]
			if !ok {
				continue
			}
			s := d.reasons(v, version, state)
			s.Vulnerability = statement.VEXVulnerability{Name: v.id(), Description: clip(v.Title)}
			for _, other := range v.IDs {
				if other.Text != v.id() {
					s.Vulnerability.Aliases = append(s.Vulnerability.Aliases, other.Text)
				}
			}
			purl := statement.PURL(vendor, version.Product, version.Version)
			p := statement.VEXProduct{ID: purl, Identifiers: statement.VEXIdentifiers{PURL: purl}}
			same := slices.IndexFunc(out.Statements, func(x statement.VEXStatement) bool {
				return x.Vulnerability.Name == s.Vulnerability.Name && x.Status == s.Status && x.Justification == s.Justification &&
					x.ImpactStatement == s.ImpactStatement && x.ActionStatement == s.ActionStatement
			})
			if same >= 0 {
				out.Statements[same].Products = append(out.Statements[same].Products, p)
				continue
			}
			s.Products = []statement.VEXProduct{p}
			out.Statements = append(out.Statements, s)
		}
	}
	return out
}

// reasons are why a version has its state, or what to do about it.
func (d *Document) reasons(v vulnerability, version Version, state string) statement.VEXStatement {
	s := statement.VEXStatement{Status: vexStatus[state]}
	switch state {
	case statement.Affected:
		s.ActionStatement = cmp.Or(d.said(v.Remediations, version, ""), "No remedy is known yet.")
	case statement.NotAffected:
		groups := d.groups()
		for _, flag := range v.Flags {
			if slices.Contains(justifications, flag.Label) && d.means(flag.of(groups), version) {
				s.Justification = flag.Label
			}
		}
		s.ImpactStatement = d.said(v.Threats, version, "impact")
		if s.Justification == "" && s.ImpactStatement == "" {
			s.ImpactStatement = "The vendor says that it is not affected, and gives no reason."
		}
	}
	return s
}

// said joins what is said about a version, of one category or any.
func (d *Document) said(list []about, version Version, category string) string {
	groups := d.groups()
	var all []string
	for _, a := range list {
		if (category == "" || a.Category == category) && d.means(a.of(groups), version) {
			all = append(all, strings.TrimSpace(a.Details))
		}
	}
	return clip(strings.Join(all, " "))
}

func (d *Document) means(ids []string, version Version) bool {
	return slices.ContainsFunc(ids, func(id string) bool { return d.bound[id] == version })
}

// clip keeps a text within what a statement holds, at a whole character.
func clip(s string) string {
	const most = 2000
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// subjects are the released files of the versions that a document speaks of. A
// release with very many files is named by its manifest's root.
func (s *Service) subjects(ctx context.Context, d *Document) ([]statement.Subject, error) {
	const most = 400 // of the 512 that a statement holds
	var manifests []*verify.Manifest
	total := 0
	for _, v := range d.Versions() {
		files, err := s.Releases.Files(ctx, v.Product, v.Version)
		if err != nil {
			return nil, err
		}
		m, err := verify.NewManifest(files)
		if err != nil {
			return nil, fault.Tampered.New("reading the files of %s %s: %w", v.Product, v.Version, err)
		}
		manifests = append(manifests, m)
		total += len(m.Files)
	}
	var all []statement.Subject
	for i, v := range d.Versions() {
		m := manifests[i]
		if total > most || len(m.Files) > statement.InlineFiles {
			all = append(all, statement.Subject{Name: v.Product + "@" + v.Version, Digest: map[string]string{"sha256": m.Tree().Root}})
			continue
		}
		for _, f := range m.Files {
			name := fmt.Sprintf("%s/%s/%s", v.Product, v.Version, f.Name)
			all = append(all, statement.Subject{Name: name, Digest: map[string]string{"sha256": f.SHA256}})
		}
	}
	return all, nil
}
