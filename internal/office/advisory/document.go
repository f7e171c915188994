package advisory

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/statement"
)

// Document is a CSAF 2.0 document: the exact bytes, and what is read of them.
type Document struct {
	Raw    []byte
	SHA256 string
	Slug   string // of its file name and addresses: SLUG.json
	csaf   csaf
	// bound is the version that each product id of the document means.
	bound map[string]Version
}

// Version is one version of a product of ours.
type Version struct {
	Product string
	Version string
}

// csaf is what is read of a document; the names are the standard's.
type csaf struct {
	Document        head            `json:"document"`
	ProductTree     productTree     `json:"product_tree"`
	Vulnerabilities []vulnerability `json:"vulnerabilities"`
}

type head struct {
	Category     string `json:"category"`
	Title        string `json:"title"`
	Lang         string `json:"lang"`
	Distribution struct {
		TLP struct {
			Label string `json:"label"`
		} `json:"tlp"`
	} `json:"distribution"`
	AggregateSeverity struct {
		Text string `json:"text"`
	} `json:"aggregate_severity"`
	Notes     []note `json:"notes"`
	Publisher struct {
		Category  string `json:"category"`
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"publisher"`
	References []reference `json:"references"`
	Tracking   tracking    `json:"tracking"`
}

type note struct {
	Category string `json:"category"`
	Title    string `json:"title"`
	Text     string `json:"text"`
}

type reference struct {
	Category string `json:"category"`
	Summary  string `json:"summary"`
	URL      string `json:"url"`
}

type tracking struct {
	ID      string     `json:"id"`
	Version string     `json:"version"`
	Status  string     `json:"status"`
	Initial string     `json:"initial_release_date"`
	Current string     `json:"current_release_date"`
	History []revision `json:"revision_history"`
}

type revision struct {
	Date    string `json:"date"`
	Number  string `json:"number"`
	Summary string `json:"summary"`
}

type productTree struct {
	Branches      []branch          `json:"branches"`
	Names         []product         `json:"full_product_names"`
	Groups        []group           `json:"product_groups"`
	Relationships []json.RawMessage `json:"relationships"`
}

type branch struct {
	Category string   `json:"category"`
	Name     string   `json:"name"`
	Product  *product `json:"product"`
	Branches []branch `json:"branches"`
}

type product struct {
	Name   string `json:"name"`
	ID     string `json:"product_id"`
	Helper struct {
		PURL   string `json:"purl"`
		Hashes []struct {
			FileHashes []fileHash `json:"file_hashes"`
			Filename   string     `json:"filename"`
		} `json:"hashes"`
	} `json:"product_identification_helper"`
}

type fileHash struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"value"`
}

type group struct {
	ID       string   `json:"group_id"`
	Products []string `json:"product_ids"`
}

type vulnerability struct {
	CVE   string `json:"cve"`
	Title string `json:"title"`
	IDs   []struct {
		System string `json:"system_name"`
		Text   string `json:"text"`
	} `json:"ids"`
	Notes        []note   `json:"notes"`
	Status       statuses `json:"product_status"`
	Scores       []score  `json:"scores"`
	Flags        []about  `json:"flags"`
	Remediations []about  `json:"remediations"`
	Threats      []about  `json:"threats"`
}

type statuses struct {
	FirstAffected      []string `json:"first_affected"`
	FirstFixed         []string `json:"first_fixed"`
	Fixed              []string `json:"fixed"`
	KnownAffected      []string `json:"known_affected"`
	KnownNotAffected   []string `json:"known_not_affected"`
	LastAffected       []string `json:"last_affected"`
	Recommended        []string `json:"recommended"`
	UnderInvestigation []string `json:"under_investigation"`
}

type score struct {
	Products []string        `json:"products"`
	V2       json.RawMessage `json:"cvss_v2"`
	V3       cvss            `json:"cvss_v3"`
}

type cvss struct {
	Version  string `json:"version"`
	Vector   string `json:"vectorString"`
	Severity string `json:"baseSeverity"`
}

// about is a flag, remediation or threat: what is said about some products.
type about struct {
	Category string   `json:"category"`
	Label    string   `json:"label"`
	Details  string   `json:"details"`
	Products []string `json:"product_ids"`
	Groups   []string `json:"group_ids"`
}

// id is the vulnerability's name: its CVE id, or the first other one.
func (v *vulnerability) id() string {
	if v.CVE != "" || len(v.IDs) == 0 {
		return v.CVE
	}
	return v.IDs[0].Text
}

// Finding is something that is wrong with a document.
type Finding struct {
	Test  string `json:"test"`  // of CSAF 2.0 section 6.1, "schema", or "house" for our own rules
	Where string `json:"where"` // JSON pointer
	What  string `json:"what"`
}

// Findings is an error: all that is wrong with a document.
type Findings []Finding

func (f Findings) Error() string {
	var lines []string
	for _, x := range f {
		lines = append(lines, fmt.Sprintf("%s (%s): %s", x.Where, x.Test, x.What))
	}
	return strings.Join(lines, "; ")
}

func (f *Findings) add(test, where, format string, args ...any) {
	if len(*f) < Caps.Findings {
		*f = append(*f, Finding{test, where, fmt.Sprintf(format, args...)})
	}
}

var notInFileName = regexp.MustCompile(`[^+\-a-z0-9]+`)

// slug is the file name of a document without .json (CSAF 2.0, section 5.1).
func slug(id string) string { return notInFileName.ReplaceAllString(strings.ToLower(id), "_") }

// Parse reads a document, and holds it against the standard's schema, its
// mandatory tests and the rules of this house that need no database. What is wrong
// with it is an error of kind Invalid that wraps [Findings].
func Parse(raw []byte) (*Document, error) {
	if len(raw) > Caps.Document {
		return nil, fault.Invalid.New("reading the advisory: it has %d bytes; at most %d are allowed", len(raw), Caps.Document)
	}
	var c csaf
	// Strict first: a document that two readers could read differently is neither.
	if err := statement.Decode(raw, &c); err != nil {
		return nil, fault.Invalid.New("reading the advisory: %w", err)
	}
	sum := sha256.Sum256(raw)
	d := &Document{Raw: raw, SHA256: hex.EncodeToString(sum[:]), Slug: slug(c.Document.Tracking.ID), csaf: c}
	found, err := againstSchema(raw)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 { // the tests take the shape for granted
		d.test(&found)
		d.bind(&found)
	}
	if len(found) > 0 {
		return nil, fault.Invalid.New("the advisory is not valid: %w", found)
	}
	return d, nil
}

// Head is what the document says about itself.
type Head struct {
	ID, Version, Title, Status, TLP, Severity string
	Initial, Current                          string // times
}

// Head reads it.
func (d *Document) Head() Head {
	h, t := d.csaf.Document, d.csaf.Document.Tracking
	return Head{t.ID, t.Version, h.Title, t.Status, h.Distribution.TLP.Label, h.AggregateSeverity.Text, t.Initial, t.Current}
}
