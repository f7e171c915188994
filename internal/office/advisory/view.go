package advisory

// View is what a document tells people, for a page.
type View struct {
	Category        string
	Notes           []Note
	References      []Reference
	Vulnerabilities []VulnerabilityView
}

// Note is a text of the document.
type Note struct {
	Title string `json:"title"`
	Text  string `json:"text"`
}

// Reference is a link of the document.
type Reference struct {
	Summary string `json:"summary"`
	URL     string `json:"url"`
}

// VulnerabilityView is what it tells of one vulnerability.
type VulnerabilityView struct {
	ID       string
	Notes    []Note
	Remedies []string
	Severity string // of CVSS, the highest
	Vector   string
}

// View reads the texts of a document.
func (d *Document) View() View {
	v := View{Category: d.csaf.Document.Category, Notes: notes(d.csaf.Document.Notes), References: []Reference{}}
	for _, r := range d.csaf.Document.References {
		v.References = append(v.References, Reference{r.Summary, r.URL})
	}
	for _, x := range d.csaf.Vulnerabilities {
		one := VulnerabilityView{ID: x.id(), Notes: notes(x.Notes)}
		for _, r := range x.Remediations {
			one.Remedies = append(one.Remedies, r.Details)
		}
		for _, s := range x.Scores {
			if s.V3.Vector != "" && severity[s.V3.Severity] >= severity[one.Severity] {
				one.Severity, one.Vector = s.V3.Severity, s.V3.Vector
			}
		}
		v.Vulnerabilities = append(v.Vulnerabilities, one)
	}
	return v
}

var severity = map[string]int{"NONE": 1, "LOW": 2, "MEDIUM": 3, "HIGH": 4, "CRITICAL": 5}

func notes(list []note) []Note {
	all := []Note{}
	for _, n := range list {
		all = append(all, Note{n.Title, n.Text})
	}
	return all
}
