package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/programme"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/gate/audit"
	"clerestory.dev/clerestory/internal/gate/door"
	"clerestory.dev/clerestory/internal/gate/passkey"
)

type personCmd struct {
	Invite  personInviteCmd  `cmd:"" help:"Invite a person of the programme: prints a one-time link to enrol a passkey."`
	Recover personRecoverCmd `cmd:"" help:"Let a person who lost the passkey enrol a new one."`
	List    personListCmd    `cmd:"" help:"List people, and who has enrolled."`
}

// entrance is the people's room, for the operator on the server itself.
type entrance struct {
	home      *home
	programme *programme.Programme
	people    *passkey.Service
}

func withPeople(ctx context.Context, cli *cli, do func(*entrance) error) error {
	h, err := openHome(cli.Dir)
	if err != nil {
		return err
	}
	db, err := h.openDB(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	e, err := openEntrance(ctx, h, db)
	if err != nil {
		return err
	}
	return do(e)
}

func openEntrance(ctx context.Context, h *home, db *store.DB) (*entrance, error) {
	p, err := programme.Current(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("reading the programme (clerestory apply puts one in force): %w", err)
	}
	policies, err := loadPolicies(p)
	if err != nil {
		return nil, err
	}
	guard := door.NewGuard(policies, audit.New(db, time.Now))
	people, err := openGate(ctx, h, db, guard, p, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	return &entrance{h, p, people}, nil
}

// person finds somebody in the programme in force: nobody else gets a role.
func (e *entrance) person(id string) (passkey.Person, error) {
	i := slices.IndexFunc(e.programme.People, func(p programme.Person) bool { return p.ID == id })
	if i < 0 {
		return passkey.Person{}, fault.NotFound.New("the programme in force has no person %q: add one to programme.yaml, then clerestory apply", id)
	}
	p := e.programme.People[i]
	if p.Name == "" {
		p.Name = p.ID
	}
	return passkey.Person{ID: p.ID, Name: p.Name, Roles: p.Roles}, nil
}

// enrolled tells whether somebody has a passkey.
func (e *entrance) enrolled(ctx context.Context, id string) (has bool, err error) {
	err = e.each(ctx, func(p passkey.Listed) { has = has || p.ID == id && p.Passkeys > 0 })
	return has, err
}

// each calls do for everybody who was ever invited, by id.
func (e *entrance) each(ctx context.Context, do func(passkey.Listed)) error {
	for after := ""; ; {
		page, err := e.people.PeopleFromConsole(ctx, after, passkey.Caps.List)
		if err != nil {
			return err
		}
		for _, p := range page {
			do(p)
			after = p.ID
		}
		if len(page) < passkey.Caps.List {
			return nil
		}
	}
}

// invited tells of an invitation, once. The token is in the fragment, which a
// browser does not send: it gets into no log on its way.
func (e *entrance) invited(t *terminal, id string, in passkey.Invitation, asJSON bool) error {
	link := strings.TrimSuffix(e.home.config.URL, "/") + "/enrol#" + in.Token
	if asJSON {
		return t.json(map[string]any{"person": id, "link": link, "expires": in.Expires.UTC()})
	}
	t.printf("%s\n", link)
	t.note("Give this link to %s on a way that you trust: whoever opens it first enrols. It works once, until %s.", id, in.Expires.UTC().Format(time.RFC1123))
	return nil
}

type personInviteCmd struct {
	ID   string `arg:"" help:"The person's id in the programme."`
	JSON bool   `help:"Print JSON."`
}

// Run invites; somebody who has a passkey is not given another in passing.
func (c *personInviteCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	return withPeople(ctx, cli, func(e *entrance) error {
		p, err := e.person(c.ID)
		if err != nil {
			return err
		}
		if enrolled, err := e.enrolled(ctx, c.ID); err != nil || enrolled {
			if err == nil {
				err = fault.Conflict.New("%s has a passkey already; if it is lost: clerestory person recover %s", c.ID, c.ID)
			}
			return err
		}
		in, err := e.people.InviteFromConsole(ctx, p)
		if err != nil {
			return err
		}
		return e.invited(t, c.ID, in, c.JSON)
	})
}

type personRecoverCmd struct {
	ID   string `arg:"" help:"The person's id."`
	JSON bool   `help:"Print JSON."`
}

// Run makes a recovery; the old passkey works until the new one is enrolled.
func (c *personRecoverCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	return withPeople(ctx, cli, func(e *entrance) error {
		p, err := e.person(c.ID)
		if err != nil {
			return err
		}
		if enrolled, err := e.enrolled(ctx, c.ID); err != nil || !enrolled {
			if err == nil {
				err = fault.Conflict.New("%s has no passkey to recover: clerestory person invite %s", c.ID, c.ID)
			}
			return err
		}
		in, err := e.people.InviteFromConsole(ctx, p)
		if err != nil {
			return err
		}
		return e.invited(t, c.ID, in, c.JSON)
	})
}

type personListCmd struct {
	JSON bool `help:"Print JSON."`
}

// Run lists the programme's people, and those who were invited before they left it.
func (c *personListCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	return withPeople(ctx, cli, func(e *entrance) error {
		type row struct {
			ID    string   `json:"id"`
			Name  string   `json:"name"`
			Roles []string `json:"roles"`
			State string   `json:"state"` // not invited, invited, enrolled, disabled, demo
		}
		rows := []row{}
		for _, p := range e.programme.People {
			rows = append(rows, row{p.ID, p.Name, p.Roles, "not invited"})
		}
		err := e.each(ctx, func(l passkey.Listed) {
			i := slices.IndexFunc(rows, func(r row) bool { return r.ID == l.ID })
			if i < 0 {
				i, rows = len(rows), append(rows, row{ID: l.ID})
			}
			rows[i] = row{l.ID, l.Name, l.Roles, stateOf(l)}
		})
		if err != nil {
			return err
		}
		if c.JSON {
			return t.json(rows)
		}
		t.printf("%-20s %-12s %-28s %s\n", "person", "state", "roles", "name")
		for _, r := range rows {
			t.printf("%-20s %-12s %-28s %s\n", line(r.ID), r.State, line(strings.Join(r.Roles, ", ")), line(r.Name))
		}
		return nil
	})
}

func stateOf(l passkey.Listed) string {
	switch {
	case l.Disabled:
		return "disabled"
	case l.Demo:
		return "demo"
	case l.Passkeys == 0:
		return "invited"
	}
	return "enrolled"
}
