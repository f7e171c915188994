package release

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	office "clerestory.dev/clerestory/internal/office/release"
	"clerestory.dev/clerestory/internal/window/portal/frame"
)

// Materials is a bill of materials as data.
type Materials struct {
	Product    string      `json:"product"`
	Version    string      `json:"version"`
	Entry      int64       `json:"entry"` // of the release, which names the file's hash
	File       File        `json:"file"`
	Total      int         `json:"total"` // before the search
	Components []Component `json:"components"`
}

// Component is one line of it.
type Component struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	PURL    string `json:"purl"`
	Hash    string `json:"hash"`
}

// columns are what the table can be sorted by.
var columns = map[string]func(Component) string{
	"name":    func(c Component) string { return c.Name },
	"version": func(c Component) string { return c.Version },
	"purl":    func(c Component) string { return c.PURL },
}

// materials is what the page shows.
type materials struct {
	Materials
	q      *frame.Field
	sort   string
	state  string
	hidden int
}

func (m *Room) sbom(r *frame.Request) (*frame.Answer, error) {
	rel, err := m.find(r)
	if err != nil {
		return nil, err
	}
	st := rel.Statement
	page := materials{q: &frame.Field{Name: "q", Label: "Search", Hint: "part of a name, version or package URL", Wide: true}, state: string(rel.State),
		Materials: Materials{st.Product, st.Version, rel.Entry, File{st.SBOM.Name, st.SBOM.SHA256, st.SBOM.Size}, 0, []Component{}}}
	page.q.Read(r.URL.Query().Get)
	order := &frame.Field{Name: "sort", Label: "Order"}
	order.Read(r.URL.Query().Get)
	key, known := columns[cmp.Or(strings.TrimPrefix(order.Value, "-"), "name")]
	if !known {
		order.Problem = "Sort by name, version or purl."
	}
	title := "Bill of materials of " + st.Product + " " + st.Version
	if bad := frame.Problems(page.q, order); len(bad) > 0 {
		return &frame.Answer{Title: title, Section: "/releases", Status: 400, Fields: bad, Body: sbomPage(page, bad)}, nil
	}
	page.sort = order.Value
	if err := m.readSBOM(&page); err != nil {
		return nil, err
	}
	slices.SortStableFunc(page.Components, func(a, b Component) int { return cmp.Compare(key(a), key(b)) })
	if strings.HasPrefix(order.Value, "-") {
		slices.Reverse(page.Components)
	}
	data := page.Materials
	table := [][]string{{"name", "version", "purl", "hash"}}
	for _, c := range data.Components {
		table = append(table, []string{c.Name, c.Version, c.PURL, c.Hash})
	}
	if n := len(page.Components) - sbomShown; n > 0 {
		page.Components, page.hidden = page.Components[:sbomShown], n
	}
	return &frame.Answer{Title: title, Section: "/releases", Data: data, Table: table, Body: sbomPage(page, nil)}, nil
}

// readSBOM reads the file, verified by its hash, and keeps what the search finds.
func (m *Room) readSBOM(page *materials) error {
	file, err := m.Blobs.Open(page.File.SHA256)
	if err != nil {
		return err
	}
	defer file.Close()
	all, err := office.ReadSBOM(file)
	if err != nil {
		return err
	}
	page.Total = len(all)
	q := strings.ToLower(page.q.Value)
	for _, c := range all {
		if q == "" || strings.Contains(strings.ToLower(c.Name+" "+c.Version+" "+c.PURL), q) {
			page.Components = append(page.Components, Component{c.Name, c.Version, c.PURL, c.Hash})
		}
	}
	return nil
}

// sortLink is the page ordered by a column, or turned round when it is already.
func (p materials) sortLink(column string) string {
	if p.sort == column || p.sort == "" && column == "name" {
		column = "-" + column
	}
	q := url.Values{"sort": {column}}
	if p.q.Value != "" {
		q.Set("q", p.q.Value)
	}
	return path(p.Product, p.Version) + "/sbom?" + q.Encode()
}

// direction is the aria-sort of a column.
func (p materials) direction(column string) string {
	switch {
	case p.sort == column || p.sort == "" && column == "name":
		return "ascending"
	case p.sort == "-"+column:
		return "descending"
	}
	return "none"
}
