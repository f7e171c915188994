// Package ledger is the pages of the log: the overview, the explorer of
// statements, one statement with its proof, and the feed.
//
// It promises that every statement can be found and shown, known kind or not,
// with who signed it, its proof as raw bytes, and the command that checks it;
// and that nothing a statement says can run, hide or leave its place on the page.
// It refuses to say "proven" of what no witnessed checkpoint covers yet.
//
// Start at [Room.Routes].
package ledger

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/window/portal/frame"
	"clerestory.dev/clerestory/internal/window/portal/record"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// Room is the log's pages.
type Room struct {
	Read   *record.Reader
	Vendor func() string // its name as people read it
	URL    string        // the portal's own, without a slash at the end
}

// pageSize is how many statements a page of the explorer shows, mostSize how
// many a machine may ask for at once.
const (
	pageSize = 50
	mostSize = 500
)

// Routes are the room's pages.
func (m *Room) Routes() []frame.Route {
	filters := []frame.Param{
		{Name: "kind", Hint: "short name of a kind of statement, or its predicate type URI"},
		{Name: "subject", Hint: "a subject's exact name, or one of its digests in hex"},
		{Name: "signer", Hint: "key id of a signature, 64 hex digits"},
		{Name: "from", Hint: "said at this time or later: 2026-11-01 or 2026-11-01T12:00:00Z"},
		{Name: "to", Hint: "said before this time"},
	}
	paging := []frame.Param{
		{Name: "before", Hint: "cursor: statements with smaller numbers"},
		{Name: "after", Hint: "cursor: statements with greater numbers"},
		{Name: "limit", Hint: "how many, 1 to 500; 50 unless told"},
	}
	return []frame.Route{
		{Method: "GET", Path: "/{$}", Formats: []string{"json"}, Summary: "How far the log has come, and the latest releases", Data: Overview{}, Serve: m.home},
		{Method: "GET", Path: "/statements", Formats: []string{"json", "csv"}, Summary: "Statements, newest first, by filter", Query: append(slices.Clone(filters), paging...), Data: List{}, Serve: m.list},
		{Method: "GET", Path: "/statements.atom", Machine: true, Type: "application/atom+xml", Summary: "The newest statements as an Atom feed; takes the filters of /statements", Query: filters, Serve: m.feed},
		{Method: "GET", Path: "/statements/{n}", Formats: []string{"json", "dsse", "proof"}, Summary: "One statement: what it says, who signed it, and its proof; .dsse is the envelope as logged, .proof its C2SP tlog-proof", Data: Detail{}, Serve: m.show},
	}
}

// Row is a statement in a list.
type Row struct {
	Entry    int64               `json:"entry"`
	At       time.Time           `json:"at"`
	Kind     string              `json:"kind"`
	Subjects []statement.Subject `json:"subjects"`
	Signers  []verify.Signer     `json:"signers"`
	SHA256   string              `json:"sha256"`
	Revoked  *Revoked            `json:"revoked,omitempty"`
	Broken   string              `json:"broken,omitempty"`
}

// Revoked says which entry took a statement back, and why.
type Revoked struct {
	By     int64  `json:"by"`
	Reason string `json:"reason"`
}

// List is a page of the explorer. Newer and Older are URLs of its neighbours.
type List struct {
	Statements []Row  `json:"statements"`
	Newer      string `json:"newer,omitempty"`
	Older      string `json:"older,omitempty"`
}

func row(s *record.Statement) Row {
	r := Row{Entry: s.N, At: s.At, Kind: s.Kind, SHA256: s.SHA256, Broken: s.Broken, Subjects: []statement.Subject{}, Signers: []verify.Signer{}}
	if s.Said != nil {
		r.Subjects = s.Said.Subject
	}
	r.Signers = append(r.Signers, s.Signers...)
	if s.Revoked != nil {
		r.Revoked = &Revoked{s.Revoked.By, s.Revoked.Reason}
	}
	return r
}

// asked is the explorer's form.
type asked struct {
	kind, subject, signer, from, to, before, after, limit frame.Field
}

func (a *asked) fields() []*frame.Field {
	return []*frame.Field{&a.kind, &a.subject, &a.signer, &a.from, &a.to, &a.before, &a.after, &a.limit}
}

// ask reads the filter from a request; what can not be read is marked.
func ask(r *frame.Request, format string) (*asked, store.Filter) {
	a := &asked{
		kind:    frame.Field{Name: "kind", Label: "Kind"},
		subject: frame.Field{Name: "subject", Label: "Subject", Hint: "exact name, or a digest", Wide: true},
		signer:  frame.Field{Name: "signer", Label: "Signed with key", Hint: "64 hex digits", Wide: true},
		from:    frame.Field{Name: "from", Label: "From", Hint: "such as 2026-11-01"},
		to:      frame.Field{Name: "to", Label: "To, not included", Hint: "such as 2026-12-01"},
		before:  frame.Field{Name: "before", Label: "Before"},
		after:   frame.Field{Name: "after", Label: "After"},
		limit:   frame.Field{Name: "limit", Label: "Limit"},
	}
	get := r.URL.Query().Get
	for _, f := range a.fields() {
		f.Read(get)
	}
	a.kind.Options = kindOptions(a.kind.Value)
	f := store.Filter{Kind: a.kind.Value, Subject: a.subject.Value, Signer: strings.ToLower(a.signer.Value), Limit: pageSize}
	if f.Signer != "" && !isHex(f.Signer, 64) {
		a.signer.Problem = "A key id has 64 hex digits."
	}
	if len(f.Kind) > 256 {
		a.kind.Problem = "A predicate type has at most 256 bytes."
	}
	f.From, f.To = a.from.Time(), a.to.Time()
	if !f.From.IsZero() && !f.To.IsZero() && !f.From.Before(f.To) {
		a.to.Problem = "This must be later than From."
	}
	f.Before, f.After = cursor(&a.before), cursor(&a.after)
	if f.Before != nil && f.After != nil {
		a.after.Problem = "Use either before or after."
	}
	if a.limit.Value != "" {
		n, err := strconv.Atoi(a.limit.Value)
		if err != nil || n < 1 || n > mostSize {
			a.limit.Problem = fmt.Sprintf("Write a number from 1 to %d.", mostSize)
		} else {
			f.Limit = n
		}
	} else if format == "csv" {
		f.Limit = mostSize
	}
	return a, f
}

func cursor(f *frame.Field) *int64 {
	if f.Value == "" {
		return nil
	}
	n, err := strconv.ParseInt(f.Value, 10, 64)
	if err != nil || n < 0 {
		f.Problem = "Write the number of a log entry."
		return nil
	}
	return &n
}

func kindOptions(now string) []frame.Option {
	options := []frame.Option{{Value: "", Text: "every kind"}}
	known := now == ""
	for _, k := range statement.Kinds {
		options = append(options, frame.Option{Value: k.Name, Text: k.Name})
		known = known || k.Name == now
	}
	if !known {
		options = append(options, frame.Option{Value: now, Text: now})
	}
	return options
}

func isHex(s string, n int) bool {
	return len(s) == n && strings.Trim(s, "0123456789abcdef") == ""
}

// number reads the entry in the URL.
func number(r *frame.Request) (int64, error) {
	text := r.PathValue("n")
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != text {
		return 0, fault.NotFound.New("there is no such log entry: entries have numbers, from 0")
	}
	return n, nil
}
