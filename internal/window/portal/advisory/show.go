package advisory

import (
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	office "clerestory.dev/clerestory/internal/office/advisory"
	"clerestory.dev/clerestory/internal/window/portal/frame"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// Detail is one advisory as data.
type Detail struct {
	Summary
	Status          string             `json:"status"`
	TLP             string             `json:"tlp"`
	SHA256          string             `json:"sha256"`             // of the CSAF document
	Document        string             `json:"document,omitempty"` // its address; "" where only the statement is here
	VEX             string             `json:"vex"`
	Vulnerabilities []Vulnerability    `json:"vulnerabilities"`
	Notes           []office.Note      `json:"notes"`
	References      []office.Reference `json:"references"`
	Versions        []Edition          `json:"versions"` // of the advisory, the newest first
	Believed        bool               `json:"believed"` // signed in the role security for every product
}

// Vulnerability is one weakness and how versions stand to it.
type Vulnerability struct {
	ID       string        `json:"id"`
	Title    string        `json:"title,omitempty"`
	Severity string        `json:"severity,omitempty"`
	Vector   string        `json:"vector,omitempty"` // CVSS
	States   []State       `json:"states"`
	Notes    []office.Note `json:"notes"`
	Remedies []string      `json:"remedies"`
}

// State is how one version stands to it.
type State struct {
	Product string `json:"product"`
	Version string `json:"version"`
	State   string `json:"state"`
}

// Edition is a version of the advisory.
type Edition struct {
	Version  string    `json:"version"`
	Entry    int64     `json:"entry"`
	Released time.Time `json:"released"`
	SHA256   string    `json:"sha256"`
	Document string    `json:"document,omitempty"`
}

func (m *Room) show(r *frame.Request) (*frame.Answer, error) {
	all, err := m.Office.Show(r.Ctx(), r.PathValue("slug"))
	if err != nil {
		return nil, err
	}
	a := all[0]
	st, said, err := m.said(r, a)
	if err != nil {
		return nil, err
	}
	d := &Detail{Summary: summary(a, st), Status: st.Status, TLP: st.TLP, SHA256: a.SHA256, VEX: m.URL + "/advisories/" + a.Slug + "/vex.json",
		Vulnerabilities: []Vulnerability{}, Notes: []office.Note{}, References: []office.Reference{}, Versions: []Edition{}, Believed: believed(st, said.Signers)}
	for _, x := range all {
		e := Edition{Version: x.Version, Entry: x.Entry, Released: x.ReleasedAt, SHA256: x.SHA256}
		if x.Raw != nil {
			e.Document = "/advisories/" + x.Slug + "/versions/" + x.Version
		}
		d.Versions = append(d.Versions, e)
	}
	for _, v := range st.Vulnerabilities {
		one := Vulnerability{ID: v.ID, Title: v.Title, States: states(v), Notes: []office.Note{}, Remedies: []string{}}
		d.Vulnerabilities = append(d.Vulnerabilities, one)
	}
	if a.Raw != nil {
		d.Document = m.URL + a.Path()
		if err := d.read(a.Raw); err != nil {
			return nil, err
		}
	}
	return &frame.Answer{Title: a.ID + ": " + a.Title, Section: "/advisories", Data: *d, Body: showPage(*d)}, nil
}

// read adds what only the document says.
func (d *Detail) read(raw []byte) error {
	doc, err := office.Parse(raw)
	if err != nil {
		return fault.Tampered.New("reading the advisory's document: %w", err)
	}
	view := doc.View()
	d.Notes, d.References = view.Notes, view.References
	for i, v := range view.Vulnerabilities {
		if i < len(d.Vulnerabilities) && d.Vulnerabilities[i].ID == v.ID {
			x := &d.Vulnerabilities[i]
			x.Severity, x.Vector, x.Notes, x.Remedies = v.Severity, v.Vector, v.Notes, append(x.Remedies, v.Remedies...)
		}
	}
	return nil
}

// believed tells whether somebody with the role security signed. That the role was
// for every product was checked before it was said; the log's reader checks again.
func believed(st *statement.Advisory, signers []verify.Signer) bool {
	for _, s := range signers {
		if s.Role == "security" {
			return len(st.Vulnerabilities) > 0
		}
	}
	return false
}

func states(v statement.Vulnerability) []State {
	all := []State{}
	for _, p := range v.Products {
		for _, list := range []struct {
			state    string
			versions []string
		}{{statement.Affected, p.Affected}, {statement.UnderInvestigation, p.UnderInvestigation}, {statement.Fixed, p.Fixed}, {statement.NotAffected, p.NotAffected}} {
			for _, version := range list.versions {
				all = append(all, State{p.Product, version, list.state})
			}
		}
	}
	return all
}

// tone and word are how a state looks.
func tone(state string) string {
	switch state {
	case statement.Affected:
		return "bad"
	case statement.UnderInvestigation:
		return "warn"
	}
	return "ok"
}

func (m *Room) vex(r *frame.Request) (*frame.Answer, error) {
	all, err := m.Office.Show(r.Ctx(), r.PathValue("slug"))
	if err != nil {
		return nil, err
	}
	s, err := m.Read.At(r.Ctx(), all[0].VEXEntry())
	if err != nil {
		return nil, err
	}
	if s.Said == nil || s.Kind != "vex" {
		return nil, fault.NotFound.New("the log holds no VEX document for this advisory")
	}
	return &frame.Answer{Bytes: s.Said.Predicate, Type: "application/json"}, nil
}

func (m *Room) document(r *frame.Request) (*frame.Answer, error) {
	a, err := m.Office.Version(r.Ctx(), r.PathValue("slug"), r.PathValue("version"))
	if err != nil {
		return nil, err
	}
	if a.Raw == nil {
		return nil, fault.NotFound.New("only the statement of this version is here, not its document")
	}
	return &frame.Answer{Bytes: a.Raw, Type: "application/json"}, nil
}

// file answers from the provider's folder.
func (m *Room) file(r *frame.Request) (*frame.Answer, error) {
	r.Format = "file" // a machine asks: problems are documents
	f, err := m.Office.File(r.Ctx(), r.PathValue("file"))
	if err != nil {
		return nil, err
	}
	content := f.Content
	if content == nil {
		content = []byte{} // an empty file is a file
	}
	return &frame.Answer{Bytes: content, Type: f.Type}, nil
}
