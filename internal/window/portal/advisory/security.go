package advisory

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/yuin/goldmark"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/programme"
	office "clerestory.dev/clerestory/internal/office/advisory"
	"clerestory.dev/clerestory/internal/window/portal/frame"
)

// Security is what the page for reporters says, as data.
type Security struct {
	Contact     []string  `json:"contact"`
	Recipient   string    `json:"recipient,omitempty"` // the age key that reports are encrypted to
	Scope       []string  `json:"scope"`
	SafeHarbour string    `json:"safeHarbour,omitempty"`
	Policy      string    `json:"policy,omitempty"` // Markdown
	Promises    []Promise `json:"promises"`
	Figures     Figures   `json:"figures"`
	Accounts    []Account `json:"accounts"` // the statements that the figures are made from
}

// Promise is one promised step, and how often it was not kept in time.
type Promise struct {
	Step   string `json:"step"`
	Days   int    `json:"days"`
	Missed int64  `json:"missed"`
}

// Figures are sums over the accounts.
type Figures struct {
	From       string `json:"from,omitempty"`
	To         string `json:"to,omitempty"`
	Received   int64  `json:"received"`
	Fixed      int64  `json:"fixed"`
	Published  int64  `json:"published"`
	Rejected   int64  `json:"rejected"`
	Open       int64  `json:"open"`
	MedianDays int64  `json:"medianDays"` // from report to fix; -1 when nothing was fixed
	Missed     int64  `json:"missed"`     // promises that were not kept in time
}

// Account is a disclosure statement.
type Account struct {
	Entry    int64    `json:"entry"`
	From     string   `json:"from"`
	To       string   `json:"to"`
	Received int64    `json:"received"`
	Fixed    int64    `json:"fixed"`
	Missed   int64    `json:"missed"`
	Receipts []string `json:"receipts"`
}

// reporting is what the page shows.
type reporting struct {
	Security
	vendor, html string
	intake       bool
	title        *frame.Field
	product      *frame.Field
	details      *frame.Field
	contact      *frame.Field
	credit       *frame.Field
	problems     []*frame.Field
}

func (m *Room) security(r *frame.Request) (*frame.Answer, error) { return m.form(r, m.blank()) }

func (m *Room) blank() *reporting {
	products := []frame.Option{{Value: "", Text: "I do not know, or none of these"}}
	for _, p := range m.Programme().Products {
		products = append(products, frame.Option{Value: p.ID, Text: p.Name})
	}
	return &reporting{
		title:   &frame.Field{Name: "title", Label: "What is it, in one line", Wide: true},
		product: &frame.Field{Name: "product", Label: "Product", Options: products},
		details: &frame.Field{Name: "details", Label: "What you did, what happened, and what somebody could do with it", Hint: fmt.Sprintf("At most %d characters. You may paste text that you encrypted yourself.", office.Caps.Report)},
		contact: &frame.Field{Name: "contact", Label: "How to reach you", Hint: "May be left out; then we can not answer, and you follow by your reference."},
		credit:  &frame.Field{Name: "credit", Label: "How to name you in the advisory", Hint: "May be left out; then you are not named."},
	}
}

// form sets the page around the form in its present state.
func (m *Room) form(r *frame.Request, page *reporting) (*frame.Answer, error) {
	p := m.Programme()
	accounts, err := m.Office.Accounts(r.Ctx())
	if err != nil {
		return nil, err
	}
	page.Security, page.vendor, page.intake = facts(p, accounts), p.Vendor.Name, p.Security.Intake()
	var html bytes.Buffer
	// goldmark leaves raw HTML out, and addresses that could run.
	if err := goldmark.Convert([]byte(p.Disclosure), &html); err != nil {
		return nil, fmt.Errorf("setting the disclosure policy: %w", err)
	}
	page.html = html.String()
	a := &frame.Answer{Title: "Report a weakness", Section: "/security", Data: page.Security, Body: securityPage(page)}
	if len(page.problems) > 0 {
		a.Status, a.Fields = 400, page.problems
	}
	return a, nil
}

// facts are what the programme promises, and what the statements say.
func facts(p *programme.Programme, accounts []office.AccountEntry) Security {
	f := office.Sum(accounts)
	s := Security{Contact: p.Security.Contact, Recipient: p.Security.Recipient, Scope: append([]string{}, p.Security.Scope...), SafeHarbour: p.Security.SafeHarbour, Policy: p.Disclosure,
		Promises: []Promise{}, Accounts: []Account{},
		Figures: Figures{f.From, f.To, f.Received, f.Fixed, f.Published, f.Rejected, f.Open, f.MedianDays, f.MissedAll}}
	missed := map[string]int64{"acknowledge": f.MissedAcknowledge, "triage": f.MissedTriage, "fix": f.MissedFix, "publish": f.MissedPublish}
	for step, days := range p.Security.Promises.Each {
		if days > 0 {
			s.Promises = append(s.Promises, Promise{step, days, missed[step]})
		}
	}
	for _, a := range accounts {
		one := Account{a.Entry, a.From, a.To, a.Received, a.Fixed, a.Missed.Acknowledge + a.Missed.Triage + a.Missed.Fix + a.Missed.Publish, a.Receipts}
		s.Accounts = append(s.Accounts, one)
	}
	slices.Reverse(s.Accounts)
	return s
}

// report takes what was sent. Nothing of it goes into an error's text or a log.
func (m *Room) report(r *frame.Request) (*frame.Answer, error) {
	if err := r.ParseForm(); err != nil {
		return nil, fault.Invalid.New("the report is too large, or the form is broken; nothing was kept")
	}
	page := m.blank()
	for _, f := range []*frame.Field{page.title, page.product, page.contact, page.credit} {
		if f.Read(r.PostFormValue); len(f.Value) > office.Caps.Field {
			f.Problem = fmt.Sprintf("At most %d characters, please.", office.Caps.Field)
		}
	}
	page.details.Value = strings.ReplaceAll(strings.TrimSpace(r.PostFormValue("details")), "\r\n", "\n")
	known := slices.ContainsFunc(page.product.Options, func(o frame.Option) bool { return o.Value == page.product.Value })
	switch {
	case page.title.Value == "":
		page.title.Problem = "Say in a few words what it is."
	case !known:
		page.product.Problem = "Choose one of the products, or none."
	}
	if n := len(page.details.Value); n == 0 {
		page.details.Problem = "Tell what you found."
	} else if n > office.Caps.Report {
		page.details.Problem = fmt.Sprintf("It has %d characters; at most %d are taken. Send the rest to the address below.", n, office.Caps.Report)
	}
	if page.problems = frame.Problems(page.title, page.product, page.details, page.contact, page.credit); len(page.problems) > 0 {
		return m.form(r, page)
	}
	if !m.limit.take(m.from(r.Request), r.Now) {
		return nil, fault.Unavailable.New("several reports have come from your network within an hour; wait a little, or write to %s", strings.Join(m.Programme().Security.Contact, " or "))
	}
	got, err := m.Office.Receive(r.Ctx(), office.Report{Title: page.title.Value, Product: page.product.Value, Details: page.details.Value, Contact: page.contact.Value, Credit: page.credit.Value})
	if errors.Is(err, fault.Invalid) {
		page.details.Problem = "It holds bytes that are no text."
		page.problems = frame.Problems(page.details)
		return m.form(r, page)
	}
	if err != nil {
		return nil, err
	}
	return &frame.Answer{Title: "Thank you", Section: "/security", Body: receivedPage(received(got))}, nil
}

// taken is what a reporter is told, once.
type taken struct {
	reference, receipt string
	due                []deadline
}

type deadline struct {
	words string
	at    time.Time
}

func received(got *office.Received) taken {
	t := taken{reference: got.Reference, receipt: got.Receipt}
	for _, step := range []string{"acknowledge", "triage", "fix", "publish"} {
		if at, ok := got.Due[step]; ok {
			t.due = append(t.due, deadline{promiseWords[step], at})
		}
	}
	return t
}

// promiseWords say what a promised step is.
var promiseWords = map[string]string{
	"acknowledge": "A person has read it", "triage": "We know what it is", "fix": "A fixed version is released", "publish": "An advisory is published",
}
