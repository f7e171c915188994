package detection

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	office "clerestory.dev/clerestory/internal/office/detection"
	"clerestory.dev/clerestory/internal/window/portal/frame"
	"clerestory.dev/clerestory/internal/window/portal/record"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/update"
)

// History is the updates of one base, a page of them.
type History struct {
	Product     string    `json:"product"`
	Name        string    `json:"name"`
	Description string    `json:"description"`
	Owner       string    `json:"owner"`
	Updates     []*Update `json:"updates"` // newest first; without their single changes
	Next        string    `json:"next,omitempty"`
}

var errNoBase = fault.NotFound.New("there is no detection base of this name")

func (m *Room) history(r *frame.Request) (*frame.Answer, error) {
	product := r.PathValue("product")
	if statement.CheckID("product", product) != nil {
		return nil, errNoBase
	}
	before, bad := cursor(r)
	if bad != nil {
		return nil, bad
	}
	all, err := m.window(r.Ctx(), product, before)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, errNoBase
	}
	heads, err := m.heads(r.Ctx())
	if err != nil {
		return nil, err
	}
	about := all[0].manifest.About
	data := History{Product: product, Name: cmp.Or(about.Name, product), Description: about.Description, Owner: about.Owner}
	for i, s := range all[:min(len(all), Caps.Page)] {
		u, err := m.tell(r.Ctx(), s, earlier(all[i+1:], s), heads)
		if err != nil {
			return nil, err
		}
		u.Rules.Changes = []office.Change{} // each update's own page has them
		data.Updates = append(data.Updates, u)
	}
	if len(all) > Caps.Page {
		data.Next = "/bases/" + product + "?before=" + strconv.FormatInt(all[Caps.Page-1].N, 10)
		if r.Format == "json" {
			data.Next = strings.Replace(data.Next, "?", ".json?", 1)
		}
	}
	return &frame.Answer{Title: data.Name, Section: "/bases", Data: data, Table: table(data.Updates), Body: historyPage(data, r.Now)}, nil
}

// window reads a page of updates, and as many after it that every one of them
// finds the one before in its channel, as a rule.
func (m *Room) window(ctx context.Context, product string, before *int64) ([]said, error) {
	var all []said
	err := m.each(ctx, product, before, func(s said) bool {
		all = append(all, s)
		if len(all) <= Caps.Page {
			return true
		}
		open := map[string]bool{}
		for _, x := range all[:Caps.Page] {
			open[x.release.Channel] = true
		}
		for _, x := range all[Caps.Page:] {
			delete(open, x.release.Channel)
		}
		return len(open) > 0 && len(all) < 4*Caps.Page
	})
	return all, err
}

// earlier is the first of the same channel among older ones.
func earlier(older []said, s said) *said {
	i := slices.IndexFunc(older, func(o said) bool {
		return o.release.Channel == s.release.Channel && o.release.Product == s.release.Product
	})
	if i < 0 {
		return nil
	}
	return &older[i]
}

func cursor(r *frame.Request) (*int64, error) {
	text := r.URL.Query().Get("before")
	if text == "" {
		return nil, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return nil, fault.Invalid.New("before is the number of a log entry: use the link to the next page")
	}
	return &n, nil
}

func (m *Room) heads(ctx context.Context) ([]*update.Head, error) {
	if m.Heads == nil {
		return nil, nil
	}
	return m.Heads.Heads(ctx)
}

func table(all []*Update) [][]string {
	rows := [][]string{{"entry", "at", "product", "version", "channel", "state", "rules added", "rules changed", "rules removed", "tests", "approvals", "percent", "halted", "reason", "review"}}
	for _, u := range all {
		var rule Sum
		for _, s := range u.Rules.Sums {
			if s.What == "rule" {
				rule = s
			}
		}
		var tests []string
		for _, t := range u.Tests {
			tests = append(tests, t.Gate+" "+t.Result)
		}
		percent, halted, reason := "", "", ""
		if u.Ring != nil {
			percent, halted = strconv.Itoa(u.Ring.Percent), strconv.FormatBool(u.Ring.Halted)
		}
		if u.Revoked != nil {
			reason = u.Revoked.Reason
		}
		rows = append(rows, []string{strconv.FormatInt(u.Entry, 10), u.At.Format(time.RFC3339), u.Product, u.Version, u.Channel, u.State,
			strconv.Itoa(rule.Added), strconv.Itoa(rule.Changed + rule.Renamed), strconv.Itoa(rule.Removed), strings.Join(tests, "; "), strings.Join(u.Approvals, ", "), percent, halted, reason, u.Emergency.state()})
	}
	return rows
}

// one is a single update with every change.
func (m *Room) one(r *frame.Request) (*frame.Answer, error) {
	u, err := m.find(r.Ctx(), r.PathValue("product"), r.PathValue("version"))
	if err != nil {
		return nil, err
	}
	rows := [][]string{{"kind", "what", "name", "was", "part", "old", "new", "file", "line", "authors"}}
	for _, c := range u.Rules.Changes {
		row := []string{c.Kind, c.What, c.Name, c.Was, "", "", "", c.File, strconv.Itoa(c.Line), authors(c)}
		if len(c.Parts) == 0 {
			rows = append(rows, row)
		}
		for _, p := range c.Parts {
			part := slices.Clone(row)
			part[4], part[5], part[6] = p.Name, p.Old, p.New
			rows = append(rows, part)
		}
	}
	return &frame.Answer{Title: u.Product + " " + u.Version, Section: "/bases", Data: *u, Table: rows, Body: onePage(u, r.Now)}, nil
}

func (m *Room) find(ctx context.Context, product, version string) (*Update, error) {
	if statement.CheckID("product", product) != nil || statement.CheckVersion(version) != nil {
		return nil, errNoBase
	}
	var found *said
	var before *said
	err := m.each(ctx, product, nil, func(s said) bool {
		switch {
		case found == nil && s.release.Version == version:
			found = &s
		case found != nil && s.release.Channel == found.release.Channel:
			before = &s
		}
		return before == nil
	})
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, fault.NotFound.New("there is no update %s of a base %s", version, product)
	}
	heads, err := m.heads(ctx)
	if err != nil {
		return nil, err
	}
	u, err := m.tell(ctx, *found, before, heads)
	if err != nil {
		return nil, err
	}
	return u, m.told(ctx, u, contentOf(before))
}

// report is the full report of a test, as its statement names it. Of a proposal
// it is for those who may read drafts.
func (m *Room) report(r *frame.Request) (*frame.Answer, error) {
	n, err := strconv.ParseInt(r.PathValue("n"), 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != r.PathValue("n") {
		return nil, fault.NotFound.New("there is no such test")
	}
	s, err := m.Read.At(r.Ctx(), n)
	if err != nil {
		return nil, err
	}
	var t *statement.TestResult
	if s.Said != nil {
		t, err = statement.As(s.Said, &statement.TestResult{})
	}
	if t == nil || err != nil || len(holders(s, "tester")) == 0 {
		return nil, fault.NotFound.New("statement %d is not a test that counts", n)
	}
	if err := m.mayReadReport(r, s); err != nil {
		return nil, err
	}
	file, err := m.Blobs.Open(t.Clerestory.Report.Digest["sha256"])
	if errors.Is(err, fault.NotFound) || t.Clerestory.Report.Digest["sha256"] == "" {
		return nil, fault.NotFound.New("the report of test %d is not kept here", n)
	}
	if err != nil {
		return nil, err
	}
	return &frame.Answer{Stream: func(w http.ResponseWriter, req *http.Request) {
		defer file.Close()
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Disposition", frame.Attachment(fmt.Sprintf("test-%d.json", n)))
		w.Header().Set("Cache-Control", "no-cache")
		http.ServeContent(w, req, "", s.At, file)
	}}, nil
}

func (m *Room) mayReadReport(r *frame.Request, s *record.Statement) error {
	for _, sub := range s.Said.Subject {
		if sub.Name != office.ManifestName {
			continue
		}
		all, err := m.Read.List(r.Ctx(), store.Filter{Kind: "release", Subject: sub.Digest["sha256"], Limit: 1})
		if err != nil || len(all) > 0 {
			return err
		}
	}
	if !r.Visitor.SignedIn() {
		return fault.NotFound.New("there is no such report")
	}
	return m.Guard.Allow(r.Ctx(), r.Visitor.Person, "release:read-draft", "report:"+strconv.FormatInt(s.N, 10), nil)
}

func path(product, version string) string {
	return "/bases/" + url.PathEscape(product) + "/" + url.PathEscape(version)
}
