// Package account is the pages of signing in: with a passkey, for the first time
// with an invitation, as a demo person where the operator allows that; and the
// page on which admins let people in.
//
// It promises that an invitation's token is never part of an address that a
// server sees (it travels in the fragment, or in a form's body), and that a page
// shows it once. It decides nothing: packages door and passkey do.
//
// Start at [Room.Routes].
package account

import (
	"context"
	"net/http"

	"clerestory.dev/clerestory/internal/gate/passkey"
	"clerestory.dev/clerestory/internal/gate/policy"
	"clerestory.dev/clerestory/internal/window/portal/frame"
)

// People is who may come in; *passkey.Service is one.
type People interface {
	People(ctx context.Context, actor passkey.Person, after string, limit int) ([]passkey.Listed, error)
	Invite(ctx context.Context, actor passkey.Person, p passkey.Person) (passkey.Invitation, error)
	Recover(ctx context.Context, admin passkey.Person, id string) (passkey.Invitation, error)
	RevokeSessions(ctx context.Context, actor passkey.Person, id string) error
	Disable(ctx context.Context, actor passkey.Person, id string) error
	Enable(ctx context.Context, actor passkey.Person, id string) error
	DemoPeople() []passkey.Person
}

// Guard says what somebody could do; *door.Guard is one.
type Guard interface {
	Decide(actor passkey.Person, action, object string, attrs map[string]any) policy.Decision
}

// Room is the pages.
type Room struct {
	People People
	Guard  Guard
	Door   http.Handler // serves the endpoints under door.Prefix
	URL    string       // the portal's own
	Roles  []string     // that a person can be given
}

// pageSize is how many people a page lists.
const pageSize = 100

// Routes are the room's pages.
func (m *Room) Routes() []frame.Route {
	person := []frame.Param{{Name: "person", Hint: "id of the person"}}
	return []frame.Route{
		{Method: "GET", Path: "/account", Formats: []string{"json"}, Summary: "Who you are here, or how to sign in", Data: Me{}, Serve: m.account},
		{Method: "POST", Path: "/account/sign-out", Summary: "End this session", Serve: m.signOut},
		{Method: "POST", Path: "/account/end-sessions", Summary: "End all sessions of yours, or of another person if you may", Query: person, Staff: true, Serve: m.endSessions},
		{Method: "GET", Path: "/enrol", Summary: "Enrol a passkey with an invitation", Serve: m.enrol},
		{Method: "GET", Path: "/account/people", Formats: []string{"json", "csv"}, Summary: "The people who may come in, for those who may list them", Data: Listing{}, Staff: true,
			Query: []frame.Param{{Name: "after", Hint: "cursor: the id that the page before ended with"}}, Serve: m.people},
		{Method: "POST", Path: "/account/people/invite", Summary: "Invite a person; the answer shows the invitation once", Staff: true,
			Query: []frame.Param{{Name: "person", Hint: "the new id"}, {Name: "name", Hint: "for pages only"}, {Name: "role", Hint: "may stand several times"}}, Serve: m.invite},
		{Method: "POST", Path: "/account/people/recover", Summary: "Invite a person to replace a lost passkey", Query: person, Staff: true, Serve: m.recover},
		{Method: "POST", Path: "/account/people/disable", Summary: "Keep a person out", Query: append(person, frame.Param{Name: "repeat", Hint: "the id again"}), Staff: true, Serve: m.disable},
		{Method: "POST", Path: "/account/people/enable", Summary: "Let a person in again", Query: person, Staff: true, Serve: m.enable},
		{Method: "GET", Path: "/demo-identities", Formats: []string{"json"}, Summary: "The people of a demonstration, whom anybody can be", Data: Demo{}, Serve: m.demo},
		{Method: "POST", Path: "/demo-identities", Summary: "Sign in as a person of the demonstration", Query: person, Serve: m.demoSignIn},
	}
}

// Me is who the visitor is; id is empty for the public.
type Me struct {
	ID    string   `json:"id"`
	Name  string   `json:"name"`
	Roles []string `json:"roles"`
}

func me(p passkey.Person) Me { return Me{p.ID, p.Name, append([]string{}, p.Roles...)} }

func (m *Room) account(r *frame.Request) (*frame.Answer, error) {
	a := &frame.Answer{Title: "Account", Section: "/account", Data: me(r.Visitor.Person), Scripts: []string{"passkey.js"}}
	if !r.Visitor.SignedIn() {
		a.Title, a.Body = "Sign in", signInPage(len(m.People.DemoPeople()) > 0)
		return a, nil
	}
	a.Body = accountPage(r.Visitor, m.may(r, "person:list"))
	return a, nil
}

func (m *Room) may(r *frame.Request, action string) bool {
	return m.Guard.Decide(r.Visitor.Person, action, "people:all", nil).Allowed
}

func (m *Room) enrol(*frame.Request) (*frame.Answer, error) {
	return &frame.Answer{Title: "Enrol a passkey", Section: "/account", Scripts: []string{"passkey.js"}, Body: enrolPage()}, nil
}

func (m *Room) signOut(r *frame.Request) (*frame.Answer, error) {
	if err := m.knock(r, "sign-out", struct{}{}); err != nil {
		return nil, err
	}
	return &frame.Answer{SeeOther: "/account"}, nil
}

func (m *Room) endSessions(r *frame.Request) (*frame.Answer, error) {
	id := r.PostFormValue("person")
	if id == "" {
		id = r.Visitor.ID
	}
	if err := m.People.RevokeSessions(r.Ctx(), r.Visitor.Person, id); err != nil {
		return nil, err
	}
	if id == r.Visitor.ID {
		return &frame.Answer{SeeOther: "/account"}, nil
	}
	return &frame.Answer{SeeOther: "/account/people"}, nil
}

// Demo is the people of a demonstration.
type Demo struct {
	People []Me `json:"people"`
}

func (m *Room) demo(*frame.Request) (*frame.Answer, error) {
	data := Demo{People: []Me{}}
	for _, p := range m.People.DemoPeople() {
		data.People = append(data.People, me(p))
	}
	if len(data.People) == 0 {
		return nil, errNoDemo
	}
	return &frame.Answer{Title: "Demo identities", Section: "/account", Data: data, Body: demoPage(data)}, nil
}

func (m *Room) demoSignIn(r *frame.Request) (*frame.Answer, error) {
	if err := m.knock(r, "demo", map[string]string{"person": r.PostFormValue("person")}); err != nil {
		return nil, err
	}
	return &frame.Answer{SeeOther: "/account"}, nil
}
