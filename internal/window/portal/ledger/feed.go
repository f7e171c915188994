package ledger

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"
	"time"

	"clerestory.dev/clerestory/internal/window/portal/frame"
	"clerestory.dev/clerestory/internal/window/portal/record"
)

// feedDoc is an Atom feed (RFC 4287).
type feedDoc struct {
	XMLName xml.Name    `xml:"http://www.w3.org/2005/Atom feed"`
	ID      string      `xml:"id"`
	Title   string      `xml:"title"`
	Updated string      `xml:"updated"`
	Author  string      `xml:"author>name"`
	Links   []feedLink  `xml:"link"`
	Entries []feedEntry `xml:"entry"`
}

type feedLink struct {
	Rel  string `xml:"rel,attr"`
	Type string `xml:"type,attr,omitempty"`
	Href string `xml:"href,attr"`
}

type feedEntry struct {
	ID      string     `xml:"id"`
	Title   string     `xml:"title"`
	Updated string     `xml:"updated"`
	Links   []feedLink `xml:"link"`
	Summary string     `xml:"summary"`
	Kind    struct {
		Term string `xml:"term,attr"`
	} `xml:"category"`
}

func (m *Room) feed(r *frame.Request) (*frame.Answer, error) {
	form, filter := ask(r, "atom")
	r.Format = "atom" // a machine: problems are documents
	if bad := frame.Problems(form.fields()...); len(bad) > 0 {
		return &frame.Answer{Fields: bad}, nil
	}
	filter.Before, filter.After = nil, nil
	filter.Limit = pageSize
	statements, err := m.Read.List(r.Ctx(), filter)
	if err != nil {
		return nil, err
	}
	self := m.URL + "/statements.atom"
	if r.URL.RawQuery != "" {
		self += "?" + r.URL.RawQuery
	}
	doc := feedDoc{ID: self, Title: m.Vendor() + ": statements", Updated: updated(statements), Author: m.Vendor(),
		Links: []feedLink{{"self", "application/atom+xml", self}, {"alternate", "text/html", m.URL + "/statements"}}}
	for _, s := range statements {
		page := fmt.Sprintf("%s/statements/%d", m.URL, s.N)
		e := feedEntry{ID: page, Title: fmt.Sprintf("%d: %s", s.N, headline(s)), Updated: s.At.UTC().Format(time.RFC3339),
			Links: []feedLink{{"alternate", "text/html", page}}, Summary: titleOf(s.Kind) + ". Signed by " + signedBy(s) + "."}
		e.Kind.Term = s.Kind
		doc.Entries = append(doc.Entries, e)
	}
	var b bytes.Buffer
	b.WriteString(xml.Header)
	enc := xml.NewEncoder(&b)
	enc.Indent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return nil, fmt.Errorf("encoding the feed: %w", err)
	}
	return &frame.Answer{Bytes: b.Bytes(), Type: "application/atom+xml; charset=utf-8"}, nil
}

// updated is the time of the newest statement; an empty feed has the epoch, so
// that it does not look new at every visit.
func updated(statements []*record.Statement) string {
	if len(statements) == 0 {
		return time.Unix(0, 0).UTC().Format(time.RFC3339)
	}
	return statements[0].At.UTC().Format(time.RFC3339)
}

// headline is a statement's kind and subjects in one line.
func headline(s *record.Statement) string {
	if s.Said == nil {
		return s.Kind
	}
	var names []string
	for i, sub := range s.Said.Subject {
		if i == 3 {
			names = append(names, fmt.Sprintf("and %d more", len(s.Said.Subject)-3))
			break
		}
		name := []rune(sub.Name)
		if len(name) > 80 {
			name = append(name[:80], '…')
		}
		names = append(names, string(name))
	}
	return s.Kind + " " + strings.Join(names, ", ")
}
