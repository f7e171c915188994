package statement

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// AdvisoryType names advisory statements.
const AdvisoryType = "https://clerestory.dev/advisory/v1"

// How a version of a product stands to a vulnerability.
const (
	Affected           = "affected"
	Fixed              = "fixed"
	NotAffected        = "not affected"
	UnderInvestigation = "under investigation"
)

// advisoryCaps are the caps on one advisory, beside those of every statement.
var advisoryCaps = struct{ vulnerabilities, products, versions int }{vulnerabilities: 64, products: 64, versions: 256}

// Advisory says that a security advisory was published, and which exact versions
// of which products it speaks of. Its one subject is the CSAF 2.0 document, by its
// hash. A newer statement with the same ID takes the place of an older one; none
// is ever taken back, a mistake is mended by a newer version. Signed by the role
// "security".
type Advisory struct {
	ID       string `json:"id"`      // the document's tracking id
	Version  string `json:"version"` // and version
	Title    string `json:"title"`
	Status   string `json:"status"`             // final or interim
	TLP      string `json:"tlp"`                // WHITE or CLEAR: what stands in the log is public
	Severity string `json:"severity,omitempty"` // as the document's aggregate severity has it
	Document Digest `json:"document"`
	// Vulnerabilities are in the document's order.
	Vulnerabilities []Vulnerability `json:"vulnerabilities"`
	Released        string          `json:"released"` // the document's current release date
	At              string          `json:"at"`
}

// Vulnerability is one weakness, and the versions that it was looked for in.
type Vulnerability struct {
	ID       string   `json:"id"` // a CVE id, or the vendor's where there is none
	Title    string   `json:"title,omitempty"`
	Products []Impact `json:"products"`
}

// Impact is what a vulnerability means for versions of one product. A version
// stands in one list only.
type Impact struct {
	Product            string   `json:"product"`
	Affected           []string `json:"affected,omitempty"`
	Fixed              []string `json:"fixed,omitempty"`
	NotAffected        []string `json:"notAffected,omitempty"`
	UnderInvestigation []string `json:"underInvestigation,omitempty"`
}

// Touch is what an advisory says about one version and one vulnerability.
type Touch struct {
	Vulnerability string `json:"vulnerability"`
	Title         string `json:"title,omitempty"`
	Status        string `json:"status"` // affected, fixed, not affected or under investigation
}

// PredicateType implements [Predicate].
func (*Advisory) PredicateType() string { return AdvisoryType }

// Validate implements [Predicate].
func (a *Advisory) Validate(subject []Subject) error {
	switch {
	case len(subject) != 1 || subject[0].Name != a.Document.Name || subject[0].Digest["sha256"] != a.Document.SHA256:
		return errors.New("the subject must be the document, with its sha256")
	case a.Status != "final" && a.Status != "interim":
		return fmt.Errorf("status %q must be final or interim: a draft is not published", clip(a.Status))
	case a.TLP != "WHITE" && a.TLP != "CLEAR":
		return fmt.Errorf("tlp %q must be WHITE or CLEAR: the log is public", clip(a.TLP))
	case a.Document.Size < 1:
		return errors.New("document.size must be at least 1")
	case len(a.Vulnerabilities) == 0 || len(a.Vulnerabilities) > advisoryCaps.vulnerabilities:
		return fmt.Errorf("an advisory has 1 to %d vulnerabilities", advisoryCaps.vulnerabilities)
	}
	seen := map[string]bool{}
	for i, v := range a.Vulnerabilities {
		if seen[v.ID] {
			return fmt.Errorf("vulnerabilities[%d]: %q stands twice", i, clip(v.ID))
		}
		seen[v.ID] = true
		if err := v.validate(); err != nil {
			return fmt.Errorf("vulnerabilities[%d]: %w", i, err)
		}
	}
	return firstError(checkAdvisoryID("id", a.ID), CheckVersion(a.Version), checkText("title", a.Title, 1), checkText("severity", a.Severity, 0),
		CheckFileName(a.Document.Name), checkHex("document.sha256", a.Document.SHA256, 32), checkTime("released", a.Released), checkTime("at", a.At))
}

// checkAdvisoryID checks the id of an advisory or vulnerability: one line that
// can be read aloud.
func checkAdvisoryID(field, id string) error {
	if len(id) > 128 || strings.ContainsAny(id, " \n\t\"<>") {
		return fmt.Errorf("%s %q must have at most 128 bytes, without space and quotes", field, clip(id))
	}
	return checkText(field, id, 1)
}

func (v *Vulnerability) validate() error {
	if len(v.Products) == 0 || len(v.Products) > advisoryCaps.products {
		return fmt.Errorf("needs 1 to %d products", advisoryCaps.products)
	}
	seen := map[string]bool{}
	for i, p := range v.Products {
		if seen[p.Product] {
			return fmt.Errorf("products[%d]: %q stands twice", i, clip(p.Product))
		}
		seen[p.Product] = true
		if err := p.validate(); err != nil {
			return fmt.Errorf("products[%d]: %w", i, err)
		}
	}
	return firstError(checkAdvisoryID("id", v.ID), checkText("title", v.Title, 0))
}

func (p *Impact) validate() error {
	if err := CheckID("product", p.Product); err != nil {
		return err
	}
	all := slices.Concat(p.Affected, p.Fixed, p.NotAffected, p.UnderInvestigation)
	if len(all) == 0 || len(all) > advisoryCaps.versions {
		return fmt.Errorf("needs 1 to %d versions", advisoryCaps.versions)
	}
	seen := map[string]bool{}
	for _, v := range all {
		if err := CheckVersion(v); err != nil {
			return err
		}
		if seen[v] {
			return fmt.Errorf("version %s stands twice: it has one state only", v)
		}
		seen[v] = true
	}
	return nil
}

// Products lists the products that the advisory speaks of, each once, sorted.
func (a *Advisory) Products() []string {
	var all []string
	for _, v := range a.Vulnerabilities {
		for _, p := range v.Products {
			all = append(all, p.Product)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// On lists what the advisory says about one version of a product, nothing when it
// does not name it.
func (a *Advisory) On(product, version string) []Touch {
	var all []Touch
	for _, v := range a.Vulnerabilities {
		for _, p := range v.Products {
			if status := p.status(version); p.Product == product && status != "" {
				all = append(all, Touch{v.ID, v.Title, status})
			}
		}
	}
	return all
}

func (p *Impact) status(version string) string {
	switch {
	case slices.Contains(p.Affected, version):
		return Affected
	case slices.Contains(p.Fixed, version):
		return Fixed
	case slices.Contains(p.NotAffected, version):
		return NotAffected
	case slices.Contains(p.UnderInvestigation, version):
		return UnderInvestigation
	}
	return ""
}
