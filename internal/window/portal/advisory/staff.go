package advisory

import (
	"strings"
	"time"

	office "clerestory.dev/clerestory/internal/office/advisory"
	"clerestory.dev/clerestory/internal/window/portal/frame"
)

// Waiting is the reports as those see them who deal with them.
type Waiting struct {
	Reports []Case `json:"reports"`
}

// Case is a report without what it says.
type Case struct {
	ID       string    `json:"id"`
	State    string    `json:"state"`
	Received time.Time `json:"received"`
	Receipt  string    `json:"receipt"`
	Due      time.Time `json:"due,omitzero"` // of the next promised step
	Step     string    `json:"step,omitempty"`
	Missed   []string  `json:"missed"` // promised steps that were not done in time
	Next     []string  `json:"next"`   // steps that can be recorded
	OtherKey bool      `json:"otherKey,omitempty"`
}

func (m *Room) reports(r *frame.Request) (*frame.Answer, error) {
	if err := m.Guard.Allow(r.Ctx(), r.Visitor.Person, "report:read", "report:all", nil); err != nil {
		return nil, err
	}
	cases, err := m.Office.Cases(r.Ctx(), casesShown)
	if err != nil {
		return nil, err
	}
	data := Waiting{Reports: []Case{}}
	table := [][]string{{"id", "state", "received", "receipt", "step", "due", "missed"}}
	for _, c := range cases {
		one := m.seen(c, r.Now)
		data.Reports = append(data.Reports, one)
		due := ""
		if !one.Due.IsZero() {
			due = one.Due.Format(time.RFC3339)
		}
		table = append(table, []string{one.ID, one.State, one.Received.Format(time.RFC3339), one.Receipt, one.Step, due, strings.Join(one.Missed, " ")})
	}
	return &frame.Answer{Title: "Reports", Section: "/security/reports", Data: data, Table: table, Body: reportsPage(data, r.Now)}, nil
}

func (m *Room) seen(c office.Case, now time.Time) Case {
	one := Case{ID: c.ID, State: c.State, Received: c.Received, Receipt: c.Receipt, Missed: []string{}, Next: append([]string{}, c.Next...),
		OtherKey: c.Recipient != m.Programme().Security.Recipient}
	for _, step := range c.Steps {
		owed := c.Rejected.IsZero() || c.Rejected.After(step.Due)
		if owed && step.Missed(now) {
			one.Missed = append(one.Missed, step.Name)
		}
		if one.Step == "" && step.Done.IsZero() && !step.Due.IsZero() && len(c.Next) > 0 {
			one.Step, one.Due = step.Name, step.Due
		}
	}
	return one
}

func (m *Room) sealed(r *frame.Request) (*frame.Answer, error) {
	r.Format = "file"
	id := r.PathValue("id")
	if err := m.Guard.Allow(r.Ctx(), r.Visitor.Person, "report:read", "report:"+clip(id), nil); err != nil {
		return nil, err
	}
	b, err := m.Office.Sealed(r.Ctx(), id)
	if err != nil {
		return nil, err
	}
	return &frame.Answer{Bytes: b, Type: "application/age", Name: "report-" + id + ".age"}, nil
}

func (m *Room) step(r *frame.Request) (*frame.Answer, error) {
	id := r.PathValue("id")
	record, err := m.Guard.Permit(r.Ctx(), r.Visitor.Person, "report:step", "report:"+clip(id), nil)
	if err != nil {
		return nil, err
	}
	if err := m.Office.Move(r.Ctx(), id, r.PostFormValue("to"), record); err != nil {
		return nil, err
	}
	return &frame.Answer{SeeOther: "/security/reports"}, nil
}

// clip keeps what a visitor wrote into an address within what an audit row holds.
func clip(id string) string {
	if len(id) > 64 {
		return id[:64]
	}
	return id
}

func stateTone(c Case) string {
	switch {
	case c.State == office.Disclosed || c.State == office.Rejected:
		return "ok"
	case len(c.Missed) > 0:
		return "bad"
	}
	return "warn"
}

// stepWords is what a button says that records a step.
var stepWords = map[string]string{
	office.Acknowledged: "A person answered", office.Triaged: "We know what it is", office.Mended: "A fix is released",
	office.Disclosed: "An advisory is published", office.Rejected: "It is no weakness",
}
