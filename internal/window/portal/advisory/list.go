package advisory

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	office "clerestory.dev/clerestory/internal/office/advisory"
	"clerestory.dev/clerestory/internal/window/portal/frame"
	"clerestory.dev/clerestory/internal/window/portal/record"
	"clerestory.dev/clerestory/statement"
)

// Summary is an advisory in a list.
type Summary struct {
	ID       string    `json:"id"`
	Slug     string    `json:"slug"` // of its address
	Version  string    `json:"version"`
	Title    string    `json:"title"`
	Severity string    `json:"severity,omitempty"`
	Entry    int64     `json:"entry"` // log entry that says so
	Released time.Time `json:"released"`
	Affected []string  `json:"affected"` // "PRODUCT VERSION"
	Fixed    []string  `json:"fixed"`
}

// List is a page of advisories.
type List struct {
	Advisories []Summary `json:"advisories"`
	Next       string    `json:"next,omitempty"` // URL of the page after this
}

type listing struct {
	List
	product *frame.Field
}

func (m *Room) list(r *frame.Request) (*frame.Answer, error) {
	product := &frame.Field{Name: "product", Label: "Product", Hint: "its id, such as agent"}
	if product.Read(r.URL.Query().Get) != "" && statement.CheckID("product", product.Value) != nil {
		product.Problem = "An id has 1 to 64 of a-z, 0-9, dot, underscore and minus."
	}
	page := listing{List{Advisories: []Summary{}}, product}
	if bad := frame.Problems(product); len(bad) > 0 {
		return &frame.Answer{Title: "Advisories", Section: "/advisories", Status: 400, Fields: bad, Body: listPage(page, bad)}, nil
	}
	all, err := m.Office.List(r.Ctx())
	if err != nil {
		return nil, err
	}
	if before := r.URL.Query().Get("before"); before != "" {
		i := slices.IndexFunc(all, func(a *office.Advisory) bool { return a.Slug == before })
		all = all[i+1:]
	}
	for _, a := range all {
		st, _, err := m.said(r, a)
		if err != nil {
			return nil, err
		}
		if product.Value != "" && !slices.Contains(st.Products(), product.Value) {
			continue
		}
		if len(page.Advisories) == pageSize {
			page.Next = next(r, page.Advisories[pageSize-1].Slug)
			break
		}
		page.Advisories = append(page.Advisories, summary(a, st))
	}
	table := [][]string{{"id", "version", "title", "severity", "entry", "released", "affected", "fixed"}}
	for _, s := range page.Advisories {
		table = append(table, []string{s.ID, s.Version, s.Title, s.Severity, strconv.FormatInt(s.Entry, 10), s.Released.Format(time.RFC3339), strings.Join(s.Affected, "; "), strings.Join(s.Fixed, "; ")})
	}
	return &frame.Answer{Title: "Advisories", Section: "/advisories", Data: page.List, Table: table, Body: listPage(page, nil)}, nil
}

func next(r *frame.Request, before string) string {
	q := url.Values{"before": {before}}
	if p := r.URL.Query().Get("product"); p != "" {
		q.Set("product", p)
	}
	if r.Format == "json" {
		return "/advisories.json?" + q.Encode()
	}
	return "/advisories?" + q.Encode()
}

// said reads an advisory's statement: what a page claims comes from the log, and
// not from a table.
func (m *Room) said(r *frame.Request, a *office.Advisory) (*statement.Advisory, *record.Statement, error) {
	s, err := m.Read.At(r.Ctx(), a.Entry)
	if err != nil {
		return nil, nil, err
	}
	if s.Said == nil {
		return &statement.Advisory{}, s, nil
	}
	st, err := statement.As(s.Said, &statement.Advisory{})
	return st, s, err
}

func summary(a *office.Advisory, st *statement.Advisory) Summary {
	s := Summary{ID: a.ID, Slug: a.Slug, Version: a.Version, Title: a.Title, Severity: st.Severity, Entry: a.Entry, Released: a.ReleasedAt, Affected: []string{}, Fixed: []string{}}
	for _, v := range st.Vulnerabilities {
		for _, p := range v.Products {
			s.Affected = add(s.Affected, p.Product, p.Affected)
			s.Fixed = add(s.Fixed, p.Product, p.Fixed)
		}
	}
	return s
}

func add(list []string, product string, versions []string) []string {
	for _, v := range versions {
		if name := product + " " + v; !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list
}
