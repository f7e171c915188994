package release

import (
	"errors"
	"net/url"
	"strconv"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	office "clerestory.dev/clerestory/internal/office/release"
	"clerestory.dev/clerestory/internal/window/portal/frame"
	"clerestory.dev/clerestory/statement"
)

// listing is what the page of releases shows.
type listing struct {
	List
	product *frame.Field
	staff   bool
}

func (m *Room) list(r *frame.Request) (*frame.Answer, error) {
	product := &frame.Field{Name: "product", Label: "Product", Hint: "its id, such as agent"}
	if product.Read(r.URL.Query().Get) != "" && statement.CheckID("product", product.Value) != nil {
		product.Problem = "An id has 1 to 64 of a-z, 0-9, dot, underscore and minus."
	}
	before := &frame.Field{Name: "before", Label: "Before"}
	if before.Read(r.URL.Query().Get); len(before.Value) > 64 {
		before.Problem = "Use the link to the next page."
	}
	page := listing{product: product, List: List{Releases: []Summary{}}}
	if bad := frame.Problems(product, before); len(bad) > 0 {
		return &frame.Answer{Title: "Releases", Section: "/releases", Status: 400, Fields: bad, Body: listPage(page, bad)}, nil
	}
	if err := m.published(r, &page, product.Value, before.Value); err != nil {
		return nil, err
	}
	if before.Value == "" && r.Visitor.SignedIn() {
		if err := m.drafts(r, &page, product.Value); err != nil {
			return nil, err
		}
	}
	table := [][]string{{"product", "version", "channel", "state", "entry", "at"}}
	for _, s := range page.Releases {
		table = append(table, []string{s.Product, s.Version, s.Channel, s.State, strconv.FormatInt(s.Entry, 10), s.At.Format(time.RFC3339)})
	}
	return &frame.Answer{Title: "Releases", Section: "/releases", Data: page.List, Table: table, Body: listPage(page, nil)}, nil
}

// published fills a page with releases that were said to the log. The office
// lists drafts among them, so it may take several readings.
func (m *Room) published(r *frame.Request, page *listing, product, before string) error {
	const readings = 8
	for range readings {
		all, err := m.Office.List(r.Ctx(), office.Filter{Product: product, Before: before, Limit: 200})
		if err != nil {
			return err
		}
		for _, rel := range all {
			before = rel.ID
			if !rel.State.Said() {
				continue
			}
			page.Releases = append(page.Releases, summary(rel))
			if len(page.Releases) == pageSize {
				page.Next = nextPage(r, before)
				return nil
			}
		}
		if len(all) < 200 {
			return nil
		}
	}
	page.Next = nextPage(r, before)
	return nil
}

func nextPage(r *frame.Request, before string) string {
	q := url.Values{"before": {before}}
	if p := r.URL.Query().Get("product"); p != "" {
		q.Set("product", p)
	}
	if r.Format == "json" {
		return "/releases.json?" + q.Encode()
	}
	return "/releases?" + q.Encode()
}

// drafts adds the proposals that the visitor may read, each read recorded.
func (m *Room) drafts(r *frame.Request, page *listing, product string) error {
	all, err := m.Office.List(r.Ctx(), office.Filter{Product: product, Open: true, Limit: pageSize})
	if err != nil {
		return err
	}
	page.staff = len(all) == 0
	for _, rel := range all {
		err := m.mayRead(r, rel)
		if errors.Is(err, fault.Denied) {
			continue
		}
		if err != nil {
			return err
		}
		page.staff = true
		page.Drafts = append(page.Drafts, summary(rel))
	}
	return nil
}
