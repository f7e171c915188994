package advisory

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// test runs the mandatory tests of CSAF 2.0, section 6.1, that the schema does not
// cover. docs/guide/advisories.md lists the ones that are not done.
func (d *Document) test(f *Findings) {
	d.testProducts(f)
	d.testTracking(f)
	d.testProfile(f)
	cves := map[string]bool{}
	for i, v := range d.csaf.Vulnerabilities {
		at := fmt.Sprintf("/vulnerabilities/%d", i)
		if v.CVE != "" && cves[v.CVE] {
			f.add("6.1.23", at+"/cve", "%s stands twice", v.CVE)
		}
		cves[v.CVE] = true
		d.testVulnerability(f, at, v)
	}
}

// products walks the product tree.
func (d *Document) products(yield func(at string, p product, above branch)) {
	var walk func(at string, list []branch, depth int)
	walk = func(at string, list []branch, depth int) {
		for i, b := range list {
			here := fmt.Sprintf("%s/branches/%d", at, i)
			if b.Product != nil {
				yield(here+"/product", *b.Product, b)
			}
			walk(here, b.Branches, depth+1)
		}
	}
	walk("/product_tree", d.csaf.ProductTree.Branches, 0)
	for i, p := range d.csaf.ProductTree.Names {
		yield(fmt.Sprintf("/product_tree/full_product_names/%d", i), p, branch{})
	}
}

// groups are the products of each group.
func (d *Document) groups() map[string][]string {
	all := map[string][]string{}
	for _, g := range d.csaf.ProductTree.Groups {
		all[g.ID] = g.Products
	}
	return all
}

func (d *Document) testProducts(f *Findings) {
	ids, groups := map[string]bool{}, map[string]bool{}
	d.products(func(at string, p product, above branch) {
		if ids[p.ID] {
			f.add("6.1.2", at+"/product_id", "the product id %q is defined twice", p.ID)
		}
		ids[p.ID] = true
		if above.Category == "product_version" && rangeWords.MatchString(above.Name) {
			f.add("6.1.31", at, "the version %q is a range; name exact versions", above.Name)
		}
		for i, h := range p.Helper.Hashes {
			seen := map[string]bool{}
			for _, x := range h.FileHashes {
				if seen[x.Algorithm] {
					f.add("6.1.25", fmt.Sprintf("%s/product_identification_helper/hashes/%d", at, i), "two hashes of one file by %s", x.Algorithm)
				}
				seen[x.Algorithm] = true
			}
		}
	})
	known := func(at string, list []string) {
		for _, id := range list {
			if !ids[id] {
				f.add("6.1.1", at, "the product id %q is not defined", id)
			}
		}
	}
	for i, g := range d.csaf.ProductTree.Groups {
		at := fmt.Sprintf("/product_tree/product_groups/%d", i)
		if groups[g.ID] {
			f.add("6.1.5", at+"/group_id", "the group id %q is defined twice", g.ID)
		}
		groups[g.ID] = true
		known(at+"/product_ids", g.Products)
	}
	for i, v := range d.csaf.Vulnerabilities {
		at := fmt.Sprintf("/vulnerabilities/%d", i)
		for name, list := range v.Status.each {
			known(at+"/product_status/"+name, list)
		}
		for j, s := range v.Scores {
			known(fmt.Sprintf("%s/scores/%d/products", at, j), s.Products)
		}
		for what, list := range v.sayings {
			for j, a := range list {
				here := fmt.Sprintf("%s/%s/%d", at, what, j)
				known(here+"/product_ids", a.Products)
				for _, g := range a.Groups {
					if !groups[g] {
						f.add("6.1.4", here+"/group_ids", "the group id %q is not defined", g)
					}
				}
			}
		}
	}
}

var rangeWords = regexp.MustCompile(`(?i)[<>]|(^|\s)(after|all|before|earlier|later|prior|versions)(\s|$)`)

// each gives the lists of products by their names.
func (s statuses) each(yield func(string, []string) bool) {
	_ = yield("first_affected", s.FirstAffected) && yield("known_affected", s.KnownAffected) && yield("last_affected", s.LastAffected) &&
		yield("known_not_affected", s.KnownNotAffected) && yield("first_fixed", s.FirstFixed) && yield("fixed", s.Fixed) &&
		yield("under_investigation", s.UnderInvestigation) && yield("recommended", s.Recommended)
}

// sayings gives what is said about products.
func (v vulnerability) sayings(yield func(string, []about) bool) {
	_ = yield("flags", v.Flags) && yield("remediations", v.Remediations) && yield("threats", v.Threats)
}

func (d *Document) testVulnerability(f *Findings, at string, v vulnerability) {
	state := map[string]string{}
	for name, list := range v.Status.each {
		kind := stateOf[name]
		for _, id := range list {
			if was := state[id]; kind != "" && was != "" && was != kind {
				f.add("6.1.6", at+"/product_status/"+name, "the product %q is %s and %s", id, was, kind)
			}
			if kind != "" {
				state[id] = kind
			}
		}
	}
	scored := map[string]bool{}
	for i, s := range v.Scores {
		for _, version := range []string{s.V3.Version, map[bool]string{true: "2.0"}[len(s.V2) > 0]} {
			for _, id := range s.Products {
				if version != "" && scored[version+" "+id] {
					f.add("6.1.7", fmt.Sprintf("%s/scores/%d", at, i), "the product %q has two CVSS %s scores", id, version)
				}
				scored[version+" "+id] = true
			}
		}
	}
	groups, flagged := d.groups(), map[string]bool{}
	for i, a := range v.Flags {
		here := fmt.Sprintf("%s/flags/%d", at, i)
		if len(a.Products)+len(a.Groups) == 0 {
			f.add("6.1.32", here, "the flag names no product")
		}
		for _, id := range a.of(groups) {
			if flagged[id] && slices.Contains(justifications, a.Label) {
				f.add("6.1.33", here, "the product %q has two justifications", id)
			}
			flagged[id] = flagged[id] || slices.Contains(justifications, a.Label)
		}
	}
	for i, a := range v.Remediations {
		if len(a.Products)+len(a.Groups) == 0 {
			f.add("6.1.29", fmt.Sprintf("%s/remediations/%d", at, i), "the remediation names no product")
		}
	}
}

// of are the products that something is said about.
func (a about) of(groups map[string][]string) []string {
	all := slices.Clone(a.Products)
	for _, g := range a.Groups {
		all = append(all, groups[g]...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

var (
	wholeNumber = regexp.MustCompile(`^(0|[1-9][0-9]*)$`)
	semver      = regexp.MustCompile(`^((?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*))(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)
)

// testTracking checks versions and dates against each other.
func (d *Document) testTracking(f *Findings) {
	t := d.csaf.Document.Tracking
	const at = "/document/tracking"
	seen, whole := map[string]bool{}, wholeNumber.MatchString(t.Version)
	history := slices.Clone(t.History)
	slices.SortStableFunc(history, func(a, b revision) int { return moment(a.Date).Compare(moment(b.Date)) })
	for i, r := range history {
		if seen[r.Number] {
			f.add("6.1.22", at+"/revision_history", "revision %s stands twice", r.Number)
		}
		seen[r.Number] = true
		if wholeNumber.MatchString(r.Number) != whole {
			f.add("6.1.30", at+"/revision_history", "%s and %s are versions of two kinds", r.Number, t.Version)
		} else if i > 0 && compareVersions(history[i-1].Number, r.Number) > 0 {
			f.add("6.1.14", at+"/revision_history", "by date revision %s follows %s", r.Number, history[i-1].Number)
		}
		if early(r.Number) {
			f.add("6.1.18", at+"/revision_history", "a published document has no revision %s", r.Number)
		}
		if preRelease(r.Number) {
			f.add("6.1.19", at+"/revision_history", "revision %s is a pre-release", r.Number)
		}
		if moment(r.Date).After(moment(t.Current)) {
			f.add("house", at+"/current_release_date", "revision %s is of a later date", r.Number)
		}
	}
	if n := len(history); n > 0 && compareVersions(history[n-1].Number, t.Version) != 0 {
		f.add("6.1.16", at+"/version", "version %s is not the newest revision (%s)", t.Version, history[n-1].Number)
	}
	if t.Status == "draft" {
		f.add("house", at+"/status", "a draft is not published; make it final or interim")
	} else if early(t.Version) || preRelease(t.Version) {
		f.add("6.1.17", at+"/status", "version %s is a draft's", t.Version)
	}
	if preRelease(t.Version) {
		f.add("6.1.20", at+"/version", "a published document has no pre-release version")
	}
	d.testNumbering(f, history)
	if _, err := time.Parse(time.RFC3339, t.Initial); err != nil || moment(t.Initial).After(moment(t.Current)) {
		f.add("house", at+"/initial_release_date", "the document was first released after it was last released")
	}
}

// testNumbering looks for revisions that are missing.
func (d *Document) testNumbering(f *Findings, history []revision) {
	last := -1
	for i, r := range history {
		major, err := strconv.Atoi(strings.SplitN(r.Number, ".", 2)[0])
		if err != nil || major > 1<<20 {
			return
		}
		if i == 0 && major > 1 || i > 0 && major > last+1 {
			f.add("6.1.21", "/document/tracking/revision_history", "a revision before %s is missing", r.Number)
		}
		last = major
	}
}

func early(version string) bool { return version == "0" || strings.HasPrefix(version, "0.") }
func preRelease(version string) bool {
	m := semver.FindStringSubmatch(version)
	return m != nil && m[2] != ""
}

// compareVersions compares two versions of one kind, build metadata aside.
// Pre-releases are refused elsewhere.
func compareVersions(a, b string) int {
	part := func(v string, i int) int {
		v, _, _ = strings.Cut(v, "+")
		v, _, _ = strings.Cut(v, "-")
		parts := strings.Split(v, ".")
		if i >= len(parts) {
			return 0
		}
		n, err := strconv.Atoi(parts[i])
		if err != nil {
			return 0
		}
		return n
	}
	for i := range 3 {
		if c := cmp.Compare(part(a, i), part(b, i)); c != 0 {
			return c
		}
	}
	return 0
}
