package advisory

import (
	"fmt"
	"slices"
	"strings"
)

// The states that a version can have by the list of product_status that it is in.
// "recommended" says nothing about a vulnerability.
var stateOf = map[string]string{
	"first_affected": "affected", "known_affected": "affected", "last_affected": "affected",
	"known_not_affected": "not affected", "first_fixed": "fixed", "fixed": "fixed", "under_investigation": "under investigation",
}

// justifications are the flags that say why a product is not affected.
var justifications = []string{"component_not_present", "vulnerable_code_not_present", "vulnerable_code_not_in_execute_path",
	"vulnerable_code_cannot_be_controlled_by_adversary", "inline_mitigations_already_exist"}

// testProfile checks what the document's category asks for (CSAF 2.0, section 4
// and 6.1.27). Only the categories that name vulnerabilities bind to anything.
func (d *Document) testProfile(f *Findings) {
	h := d.csaf.Document
	switch h.Category {
	case "csaf_security_advisory":
	case "csaf_vex":
	default:
		f.add("house", "/document/category", "the category %q says nothing about versions; write csaf_security_advisory or csaf_vex", h.Category)
		return
	}
	if len(d.csaf.ProductTree.Branches)+len(d.csaf.ProductTree.Names) == 0 {
		f.add("6.1.27.4", "/product_tree", "there is no product")
	}
	if len(d.csaf.Vulnerabilities) == 0 {
		f.add("6.1.27.11", "/vulnerabilities", "there is no vulnerability")
	}
	for i, v := range d.csaf.Vulnerabilities {
		at := fmt.Sprintf("/vulnerabilities/%d", i)
		if len(v.Notes) == 0 {
			f.add("6.1.27.5", at+"/notes", "the vulnerability is not described")
		}
		if v.id() == "" {
			f.add("6.1.27.8", at, "it has neither a cve nor another id")
		}
		if h.Category == "csaf_vex" {
			d.testVEX(f, at, v)
		} else if empty(v.Status) {
			f.add("6.1.27.6", at+"/product_status", "it names no product")
		}
	}
	d.testHouse(f)
}

func empty(s statuses) bool {
	for _, list := range s.each {
		if len(list) > 0 {
			return false
		}
	}
	return true
}

// testVEX checks the profile VEX: every state has its reason or its remedy.
func (d *Document) testVEX(f *Findings, at string, v vulnerability) {
	s := v.Status
	if len(s.Fixed)+len(s.KnownAffected)+len(s.KnownNotAffected)+len(s.UnderInvestigation) == 0 {
		f.add("6.1.27.7", at+"/product_status", "it says of no product that it is fixed, affected, not affected or looked into")
	}
	groups := d.groups()
	explained := func(list []about) map[string]bool {
		all := map[string]bool{}
		for _, a := range list {
			for _, id := range a.of(groups) {
				all[id] = true
			}
		}
		return all
	}
	impact := explained(slices.Concat(v.Flags, slices.DeleteFunc(slices.Clone(v.Threats), func(a about) bool { return a.Category != "impact" })))
	for _, id := range s.KnownNotAffected {
		if !impact[id] {
			f.add("6.1.27.9", at+"/product_status/known_not_affected", "why %q is not affected is not said (a flag, or a threat of the category impact)", id)
		}
	}
	action := explained(v.Remediations)
	for _, id := range s.KnownAffected {
		if !action[id] {
			f.add("6.1.27.10", at+"/product_status/known_affected", "what to do about %q is not said (a remediation)", id)
		}
	}
}

// testHouse checks what this house asks for beyond the standard.
func (d *Document) testHouse(f *Findings) {
	h := d.csaf.Document
	if h.Distribution.TLP.Label != "WHITE" {
		f.add("house", "/document/distribution/tlp/label", "the label is %q; what is published here is for everybody: WHITE", h.Distribution.TLP.Label)
	}
	if h.Publisher.Category != "vendor" {
		f.add("house", "/document/publisher/category", "the publisher is a vendor here, not a %s", h.Publisher.Category)
	}
	if len(d.csaf.ProductTree.Relationships) > 0 {
		f.add("house", "/product_tree/relationships", "relationships are not understood; give each version a product of its own")
	}
	if d.Slug == "" || len(d.Slug) > 100 || strings.Trim(d.Slug, "_-+") == "" {
		f.add("house", "/document/tracking/id", "the id makes no file name of at most 100 letters and digits")
	}
}
