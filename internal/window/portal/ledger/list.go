package ledger

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/window/portal/frame"
	"clerestory.dev/clerestory/internal/window/portal/record"
)

// explorer is what the explorer's page shows.
type explorer struct {
	form         *asked
	problems     []*frame.Field
	statements   []*record.Statement
	newer, older string
	filtered     bool
}

func (m *Room) list(r *frame.Request) (*frame.Answer, error) {
	form, filter := ask(r, r.Format)
	page := explorer{form: form, problems: frame.Problems(form.fields()...), filtered: filtered(filter)}
	if len(page.problems) > 0 {
		return &frame.Answer{Title: "Statements", Section: "/statements", Status: 400, Fields: page.problems, Body: explorerPage(page)}, nil
	}
	want := filter.Limit
	statements, more, err := m.window(r, filter)
	if err != nil {
		return nil, err
	}
	page.statements = statements
	if len(statements) > 0 {
		newest, oldest := statements[0].N, statements[len(statements)-1].N
		if filter.After == nil && more || filter.After != nil {
			page.older = neighbour(r, "before", oldest)
		}
		if filter.After != nil && more || filter.Before != nil {
			page.newer = neighbour(r, "after", newest)
		}
	}
	data := List{Statements: make([]Row, 0, want), Newer: page.newer, Older: page.older}
	table := [][]string{{"entry", "at", "kind", "subject", "digests", "signed by", "sha256", "revoked by"}}
	for _, s := range statements {
		r := row(s)
		data.Statements = append(data.Statements, r)
		table = append(table, cells(r))
	}
	if r.Format == "json" {
		data.Newer, data.Older = asJSON(data.Newer), asJSON(data.Older)
	}
	return &frame.Answer{Title: "Statements", Section: "/statements", Data: data, Table: table, Body: explorerPage(page)}, nil
}

// window reads one page and tells whether there is more in its direction. A page
// that was asked for from below keeps the statements next to its cursor.
func (m *Room) window(r *frame.Request, filter store.Filter) ([]*record.Statement, bool, error) {
	want := filter.Limit
	filter.Limit = min(want+1, mostSize)
	all, err := m.Read.List(r.Ctx(), filter)
	if err != nil {
		return nil, false, err
	}
	if len(all) <= want {
		return all, want == mostSize && len(all) == want, nil
	}
	if filter.After != nil {
		return all[len(all)-want:], true, nil
	}
	return all[:want], true, nil
}

func filtered(f store.Filter) bool {
	return f.Kind+f.Subject+f.Signer != "" || !f.From.IsZero() || !f.To.IsZero()
}

// neighbour is this URL with another cursor.
func neighbour(r *frame.Request, name string, n int64) string {
	q := r.URL.Query()
	q.Del("before")
	q.Del("after")
	q.Set(name, strconv.FormatInt(n, 10))
	return "/statements?" + q.Encode()
}

func asJSON(u string) string {
	if u == "" {
		return ""
	}
	return strings.Replace(u, "/statements?", "/statements.json?", 1)
}

func cells(r Row) []string {
	var names, digests, signers []string
	for _, s := range r.Subjects {
		names = append(names, s.Name)
		for alg, d := range sorted(s.Digest) {
			digests = append(digests, alg+":"+d)
		}
	}
	for _, s := range r.Signers {
		signers = append(signers, s.Holder+" ("+s.Role+")")
	}
	by := ""
	if r.Revoked != nil {
		by = strconv.FormatInt(r.Revoked.By, 10)
	}
	return []string{strconv.FormatInt(r.Entry, 10), r.At.UTC().Format(time.RFC3339), r.Kind,
		strings.Join(names, " | "), strings.Join(digests, " "), strings.Join(signers, ", "), r.SHA256, by}
}

// about is a link to the statements on one subject.
func about(subject string) string { return "/statements?subject=" + url.QueryEscape(subject) }

// kindWord keeps an unknown kind's URI short enough for a row.
func kindWord(kind string) string {
	if len(kind) > 40 {
		return "…" + strings.ToValidUTF8(kind[len(kind)-38:], "")
	}
	return kind
}
