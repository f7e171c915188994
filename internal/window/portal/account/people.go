package account

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/gate/passkey"
	"clerestory.dev/clerestory/internal/window/portal/frame"
	"clerestory.dev/clerestory/statement"
)

// Listing is a page of people.
type Listing struct {
	People []Listed `json:"people"`
	Next   string   `json:"next,omitempty"`
}

// Listed is a person in it.
type Listed struct {
	Me
	Passkeys int  `json:"passkeys"`
	Disabled bool `json:"disabled"`
	Demo     bool `json:"demo"`
}

// gathering is what the page of people shows.
type gathering struct {
	Listing
	self      string
	id, name  *frame.Field
	roles     []string // to choose from
	chosen    []string
	problems  []*frame.Field
	mayInvite bool
}

func (m *Room) people(r *frame.Request) (*frame.Answer, error) {
	return m.gather(r, m.blank(r))
}

func (m *Room) blank(r *frame.Request) gathering {
	return gathering{
		self: r.Visitor.ID, roles: m.Roles, mayInvite: m.may(r, "person:invite"),
		id:   &frame.Field{Name: "person", Label: "Id", Hint: "public: it stands in statements instead of a name; it never changes"},
		name: &frame.Field{Name: "name", Label: "Name", Hint: "for colleagues' eyes only"},
	}
}

// gather lists the people around the form in its present state.
func (m *Room) gather(r *frame.Request, page gathering) (*frame.Answer, error) {
	after := r.URL.Query().Get("after")
	list, err := m.People.People(r.Ctx(), r.Visitor.Person, after, pageSize)
	if err != nil {
		return nil, err
	}
	page.People = []Listed{}
	table := [][]string{{"id", "name", "roles", "passkeys", "disabled", "demo"}}
	for _, p := range list {
		page.People = append(page.People, Listed{me(p.Person), p.Passkeys, p.Disabled, p.Demo})
		table = append(table, []string{p.ID, p.Name, strings.Join(p.Roles, " "), strconv.Itoa(p.Passkeys), strconv.FormatBool(p.Disabled), strconv.FormatBool(p.Demo)})
	}
	if len(list) == pageSize {
		page.Next = "/account/people?after=" + list[len(list)-1].ID
	}
	a := &frame.Answer{Title: "People", Section: "/account/people", Data: page.Listing, Table: table, Body: peoplePage(page)}
	if len(page.problems) > 0 {
		a.Status, a.Fields = 400, page.problems
	}
	return a, nil
}

func (m *Room) invite(r *frame.Request) (*frame.Answer, error) {
	page := m.blank(r)
	id, name := page.id.Read(r.PostFormValue), page.name.Read(r.PostFormValue)
	page.chosen = r.PostForm["role"]
	if err := statement.CheckID("id", id); err != nil {
		page.id.Problem = "Use 1 to 64 of a-z, 0-9, dot, underscore and minus, starting with a letter or digit."
	}
	if name == "" {
		page.name.Problem = "Write the name that colleagues will see."
	}
	role := &frame.Field{Name: "role", Label: "Roles"}
	for _, c := range page.chosen {
		if !slices.Contains(m.Roles, c) {
			role.Problem = "Choose from the roles that there are."
		}
	}
	page.problems = frame.Problems(page.id, page.name, role)
	if len(page.problems) > 0 {
		return m.gather(r, page)
	}
	made, err := m.People.Invite(r.Ctx(), r.Visitor.Person, passkey.Person{ID: id, Name: name, Roles: page.chosen})
	if fault.KindOf(err) == fault.Conflict || fault.KindOf(err) == fault.Invalid {
		page.id.Problem = err.Error()
		page.problems = frame.Problems(page.id)
		return m.gather(r, page)
	}
	if err != nil {
		return nil, err
	}
	return m.invited(id, made), nil
}

func (m *Room) recover(r *frame.Request) (*frame.Answer, error) {
	id := r.PostFormValue("person")
	made, err := m.People.Recover(r.Ctx(), r.Visitor.Person, id)
	if err != nil {
		return nil, err
	}
	return m.invited(id, made), nil
}

// Invited is an invitation, told once.
type Invited struct {
	Person  string    `json:"person"`
	Link    string    `json:"link"`
	Expires time.Time `json:"expires"`
}

// invited shows the link once. The token is in the fragment, which a browser
// does not send, so it gets into no log on its way back.
func (m *Room) invited(id string, made passkey.Invitation) *frame.Answer {
	data := Invited{id, m.URL + "/enrol#" + made.Token, made.Expires}
	return &frame.Answer{Title: "Invitation", Section: "/account/people", Body: invitedPage(data)}
}

func (m *Room) disable(r *frame.Request) (*frame.Answer, error) {
	id := r.PostFormValue("person")
	if r.PostFormValue("repeat") != id {
		return nil, fault.Invalid.New("to disable %s, repeat the id exactly; nothing was changed", id)
	}
	if err := m.People.Disable(r.Ctx(), r.Visitor.Person, id); err != nil {
		return nil, err
	}
	return &frame.Answer{SeeOther: "/account/people"}, nil
}

func (m *Room) enable(r *frame.Request) (*frame.Answer, error) {
	if err := m.People.Enable(r.Ctx(), r.Visitor.Person, r.PostFormValue("person")); err != nil {
		return nil, err
	}
	return &frame.Answer{SeeOther: "/account/people"}, nil
}

func stateOf(p Listed) (tone, word string) {
	switch {
	case p.Disabled:
		return "bad", "Disabled"
	case p.Demo:
		return "warn", "Demo"
	case p.Passkeys == 0:
		return "warn", "Invited"
	}
	return "ok", "Enrolled"
}

func rolesOf(roles []string) string {
	if len(roles) == 0 {
		return "no role"
	}
	return strings.Join(roles, ", ")
}

func contains(list []string, s string) bool { return slices.Contains(list, s) }
