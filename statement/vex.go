package statement

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// VEXType is the OpenVEX predicate type (openvex.dev, attestation of a document).
const VEXType = "https://openvex.dev/ns"

// VEXContext is the version of OpenVEX that is spoken.
const VEXContext = "https://openvex.dev/ns/v0.2.0"

// vexCaps are the caps on one VEX document, beside those of every statement.
var vexCaps = struct{ statements, products int }{statements: 256, products: 256}

// VEX is an OpenVEX 0.2.0 document: for tools that scan what somebody runs. It is
// derived from an advisory and said with it. Its subjects are the released files
// of the versions that it names, so that a file's hash leads to it. Signed by the
// role "security".
type VEX struct {
	Context    string         `json:"@context"`
	ID         string         `json:"@id"`
	Author     string         `json:"author"`
	Role       string         `json:"role,omitempty"`
	Timestamp  string         `json:"timestamp"`
	Version    int64          `json:"version"`
	Tooling    string         `json:"tooling,omitempty"`
	Statements []VEXStatement `json:"statements"`
}

// VEXStatement says how products stand to one vulnerability.
type VEXStatement struct {
	Vulnerability   VEXVulnerability `json:"vulnerability"`
	Products        []VEXProduct     `json:"products"`
	Status          string           `json:"status"`
	StatusNotes     string           `json:"status_notes,omitempty"`
	Justification   string           `json:"justification,omitempty"`
	ImpactStatement string           `json:"impact_statement,omitempty"`
	ActionStatement string           `json:"action_statement,omitempty"`
}

// VEXVulnerability names a vulnerability.
type VEXVulnerability struct {
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	Aliases     []string `json:"aliases,omitempty"`
}

// VEXProduct is one version of a product, as a package URL (see [PURL]).
type VEXProduct struct {
	ID          string         `json:"@id"`
	Identifiers VEXIdentifiers `json:"identifiers,omitzero"`
}

// VEXIdentifiers are other names of the product.
type VEXIdentifiers struct {
	PURL string `json:"purl,omitempty"`
}

// vexStatuses and vexJustifications are those of the OpenVEX specification.
var (
	vexStatuses       = []string{"not_affected", "affected", "fixed", "under_investigation"}
	vexJustifications = []string{"component_not_present", "vulnerable_code_not_present", "vulnerable_code_not_in_execute_path",
		"vulnerable_code_cannot_be_controlled_by_adversary", "inline_mitigations_already_exist"}
)

// PredicateType implements [Predicate].
func (*VEX) PredicateType() string { return VEXType }

// Validate implements [Predicate].
func (v *VEX) Validate(subject []Subject) error {
	switch {
	case v.Context != VEXContext:
		return fmt.Errorf("@context is %q; expected %q", clip(v.Context), VEXContext)
	case v.Version < 1:
		return errors.New("version must be at least 1")
	case len(v.Statements) == 0 || len(v.Statements) > vexCaps.statements:
		return fmt.Errorf("a VEX document has 1 to %d statements", vexCaps.statements)
	}
	for i, s := range subject {
		if s.Digest["sha256"] == "" {
			return fmt.Errorf("subject[%d] must have a sha256", i)
		}
	}
	for i, s := range v.Statements {
		if err := s.validate(); err != nil {
			return fmt.Errorf("statements[%d]: %w", i, err)
		}
	}
	return firstError(checkText("@id", v.ID, 1), checkText("author", v.Author, 1), checkText("role", v.Role, 0),
		checkText("tooling", v.Tooling, 0), checkTime("timestamp", v.Timestamp))
}

func (s *VEXStatement) validate() error {
	switch {
	case !slices.Contains(vexStatuses, s.Status):
		return fmt.Errorf("status %q must be one of %v", clip(s.Status), vexStatuses)
	case len(s.Products) == 0 || len(s.Products) > vexCaps.products:
		return fmt.Errorf("needs 1 to %d products", vexCaps.products)
	case s.Justification != "" && (s.Status != "not_affected" || !slices.Contains(vexJustifications, s.Justification)):
		return fmt.Errorf("justification %q must be one of %v, for not_affected only", clip(s.Justification), vexJustifications)
	case s.Status == "not_affected" && s.Justification == "" && s.ImpactStatement == "":
		return errors.New("not_affected needs a justification or an impact_statement")
	case s.Status == "affected" && s.ActionStatement == "":
		return errors.New("affected needs an action_statement")
	case s.ActionStatement != "" && s.Status != "affected" || s.ImpactStatement != "" && s.Status != "not_affected":
		return errors.New("action_statement belongs to affected, and impact_statement to not_affected")
	}
	for i, p := range s.Products {
		if _, _, _, err := ParsePURL(p.ID); err != nil {
			return fmt.Errorf("products[%d]: %w", i, err)
		}
		if p.Identifiers.PURL != "" && p.Identifiers.PURL != p.ID {
			return fmt.Errorf("products[%d]: identifiers.purl differs from @id", i)
		}
	}
	for i, a := range s.Vulnerability.Aliases {
		if err := checkAdvisoryID("alias", a); err != nil {
			return fmt.Errorf("aliases[%d]: %w", i, err)
		}
	}
	return firstError(checkAdvisoryID("vulnerability.name", s.Vulnerability.Name), checkText("description", s.Vulnerability.Description, 0),
		checkText("status_notes", s.StatusNotes, 0), checkText("impact_statement", s.ImpactStatement, 0), checkText("action_statement", s.ActionStatement, 0))
}

// ProductIDs lists the product ids that the document speaks of, each once, sorted.
func (v *VEX) ProductIDs() []string {
	var all []string
	for _, s := range v.Statements {
		for _, p := range s.Products {
			if _, product, _, err := ParsePURL(p.ID); err == nil {
				all = append(all, product)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// PURL is the package URL of a version of a vendor's product, as advisories name
// it: pkg:generic/VENDOR/PRODUCT@VERSION.
func PURL(vendor, product, version string) string {
	return "pkg:generic/" + vendor + "/" + product + "@" + strings.ReplaceAll(version, "+", "%2B")
}

// ParsePURL reads what [PURL] writes, and nothing else: qualifiers and other
// spellings of the same thing are refused.
func ParsePURL(s string) (vendor, product, version string, err error) {
	path, v, ok := strings.Cut(strings.TrimPrefix(s, "pkg:generic/"), "@")
	vendor, product, both := strings.Cut(path, "/")
	version = strings.ReplaceAll(v, "%2B", "+")
	if !ok || !both || firstError(CheckID("vendor", vendor), CheckID("product", product), CheckVersion(version)) != nil || PURL(vendor, product, version) != s {
		return "", "", "", fmt.Errorf("%q must be a package URL like pkg:generic/VENDOR/PRODUCT@VERSION, of ids and an exact version", clip(s))
	}
	return vendor, product, version, nil
}
