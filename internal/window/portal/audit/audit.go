// Package audit is the auditor's pages: what was decided, who asked, and the text
// of the policies that decided.
//
// It promises that nobody reads them whom the policies do not let, and that
// reading them is itself recorded. It changes nothing.
//
// Start at [Room.Routes].
package audit

import (
	"context"
	"net/url"
	"strconv"
	"strings"
	"time"

	trail "clerestory.dev/clerestory/internal/gate/audit"
	"clerestory.dev/clerestory/internal/gate/passkey"
	"clerestory.dev/clerestory/internal/gate/policy"
	"clerestory.dev/clerestory/internal/window/portal/frame"
)

// Trail is the audit trail; *audit.Trail is one.
type Trail interface {
	List(context.Context, trail.Filter) ([]trail.Record, error)
	Head(context.Context) (trail.Head, error)
}

// Guard decides and records; *door.Guard is one.
type Guard interface {
	Allow(ctx context.Context, actor passkey.Person, action, object string, attrs map[string]any) error
}

// Room is the pages.
type Room struct {
	Trail    Trail
	Guard    Guard
	Policies func() *policy.Set // in force
}

const pageSize = 100

// Routes are the room's pages.
func (m *Room) Routes() []frame.Route {
	return []frame.Route{
		{Method: "GET", Path: "/audit", Formats: []string{"json", "csv"}, Summary: "Decisions, newest first, for auditors: who, what, allowed or not, by which policies", Data: List{}, Staff: true,
			Query: []frame.Param{{Name: "actor", Hint: "id of a person"}, {Name: "action", Hint: "such as release:approve"}, {Name: "allowed", Hint: "yes or no"}, {Name: "before", Hint: "cursor: records with smaller numbers"}}, Serve: m.list},
		{Method: "GET", Path: "/audit/policies", Formats: []string{"json"}, Summary: "The policies in force, for those who may read them", Data: Policies{}, Staff: true, Serve: m.policies},
	}
}

// List is a page of the trail.
type List struct {
	Records []Record `json:"records"`
	Next    string   `json:"next,omitempty"`
	Count   int64    `json:"count"` // of the whole trail
	Head    string   `json:"head"`  // hash of its last record
}

// Record is one decision.
type Record struct {
	N        int64     `json:"n"`
	At       time.Time `json:"at"`
	Actor    string    `json:"actor"` // empty is a visitor
	Action   string    `json:"action"`
	Object   string    `json:"object"`
	Allowed  bool      `json:"allowed"`
	Policies []string  `json:"policies"`
	Hash     string    `json:"hash"`
}

// asked is the page's form.
type asked struct{ actor, action, allowed, before frame.Field }

func ask(r *frame.Request) (*asked, trail.Filter) {
	a := &asked{
		actor:   frame.Field{Name: "actor", Label: "Who", Hint: "id of a person"},
		action:  frame.Field{Name: "action", Label: "Action", Options: []frame.Option{{Value: "", Text: "every action"}}},
		allowed: frame.Field{Name: "allowed", Label: "Outcome", Options: []frame.Option{{Value: "", Text: "both"}, {Value: "yes", Text: "allowed"}, {Value: "no", Text: "refused"}}},
		before:  frame.Field{Name: "before", Label: "Before"},
	}
	get := r.URL.Query().Get
	f := trail.Filter{Actor: a.actor.Read(get), Action: a.action.Read(get), Limit: pageSize}
	known := f.Action == ""
	for _, act := range policy.Actions {
		a.action.Options = append(a.action.Options, frame.Option{Value: act.Name, Text: act.Name + ": " + act.Title})
		known = known || act.Name == f.Action
	}
	if !known { // what no policy decides has names too, such as a sign-in
		a.action.Options = append(a.action.Options, frame.Option{Value: f.Action, Text: f.Action})
	}
	if len(f.Actor) > trail.Caps.Text {
		a.actor.Problem = "An id is shorter."
	}
	switch a.allowed.Read(get) {
	case "":
	case "yes", "no":
		yes := a.allowed.Value == "yes"
		f.Allowed = &yes
	default:
		a.allowed.Problem = "Choose yes or no."
	}
	if v := a.before.Read(get); v != "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 0 {
			a.before.Problem = "Write the number of a record."
		}
		f.Before = &n
	}
	return a, f
}

func (m *Room) list(r *frame.Request) (*frame.Answer, error) {
	if err := m.Guard.Allow(r.Ctx(), r.Visitor.Person, "audit:read", "audit:trail", nil); err != nil {
		return nil, err
	}
	form, filter := ask(r)
	bad := frame.Problems(&form.actor, &form.action, &form.allowed, &form.before)
	data := List{Records: []Record{}}
	if len(bad) > 0 {
		return &frame.Answer{Title: "Audit", Section: "/audit", Status: 400, Fields: bad, Body: listPage(form, data, bad)}, nil
	}
	head, err := m.Trail.Head(r.Ctx())
	if err != nil {
		return nil, err
	}
	data.Count, data.Head = head.Next, head.Hash
	records, err := m.Trail.List(r.Ctx(), filter)
	if err != nil {
		return nil, err
	}
	table := [][]string{{"n", "at", "actor", "action", "object", "allowed", "policies", "hash"}}
	for _, x := range records {
		rec := Record{x.N, x.At, x.Actor, x.Action, x.Object, x.Allowed, append([]string{}, x.Policies...), x.Hash}
		data.Records = append(data.Records, rec)
		table = append(table, []string{strconv.FormatInt(x.N, 10), x.At.Format(time.RFC3339Nano), x.Actor, x.Action, x.Object, strconv.FormatBool(x.Allowed), strings.Join(x.Policies, " "), x.Hash})
	}
	if len(records) == pageSize {
		data.Next = next(r, records[len(records)-1].N)
	}
	return &frame.Answer{Title: "Audit", Section: "/audit", Data: data, Table: table, Body: listPage(form, data, nil)}, nil
}

func next(r *frame.Request, before int64) string {
	q := url.Values{}
	for k, v := range r.URL.Query() {
		q[k] = v
	}
	q.Set("before", strconv.FormatInt(before, 10))
	page := "/audit"
	if r.Format != "" {
		page += "." + r.Format
	}
	return page + "?" + q.Encode()
}

// Policies is the policies in force.
type Policies struct {
	Policies []Policy `json:"policies"`
}

// Policy is one of them.
type Policy struct {
	ID     string `json:"id"`
	Effect string `json:"effect"`
	Reason string `json:"reason"`
	File   string `json:"file"`
	Line   int    `json:"line"`
	Text   string `json:"text"`
}

func (m *Room) policies(r *frame.Request) (*frame.Answer, error) {
	if err := m.Guard.Allow(r.Ctx(), r.Visitor.Person, "policy:read", "policy:all", nil); err != nil {
		return nil, err
	}
	data := Policies{Policies: []Policy{}}
	for _, rule := range m.Policies().Rules() {
		data.Policies = append(data.Policies, Policy{rule.ID, rule.Effect, rule.Reason, rule.File, rule.Line, rule.Text})
	}
	return &frame.Answer{Title: "Policies", Section: "/audit", Data: data, Body: policiesPage(data)}, nil
}

func who(actor string) string {
	if actor == "" {
		return "a visitor"
	}
	return actor
}

// undecided explains why no policy stands beside a record.
func undecided(allowed bool) string {
	if allowed {
		return "no policy needed"
	}
	return "no policy permits it"
}
