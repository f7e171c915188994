package passkey

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/statement"
)

// Person is somebody who can sign in. The zero Person is a visitor.
type Person struct {
	ID       string // as the programme names him; public, in every record
	Name     string // for pages; never in a record
	Roles    []string
	Disabled bool
}

// IsVisitor tells that nobody has signed in.
func (p Person) IsVisitor() bool { return p.ID == "" }

func (s *Service) checkPerson(p Person) (Person, error) {
	if err := statement.CheckID("the person's id", p.ID); err != nil {
		return p, fault.Invalid.New("%w", err)
	}
	if p.Name == "" || len(p.Name) > Caps.Name || !utf8.ValidString(p.Name) || strings.ContainsFunc(p.Name, unicode.IsControl) {
		return p, fault.Invalid.New("the name of %s must be one line of 1 to %d bytes", p.ID, Caps.Name)
	}
	roles := slices.Compact(slices.Sorted(slices.Values(p.Roles)))
	for _, role := range roles {
		if !slices.Contains(s.cfg.Roles, role) {
			return p, fault.Invalid.New("there is no role %q; the roles are %s", role, strings.Join(s.cfg.Roles, ", "))
		}
	}
	p.Roles = roles
	return p, nil
}

// Listed is a person as admins see him.
type Listed struct {
	Person
	Passkeys int  // 0: was invited and has not enrolled yet
	Demo     bool // a demo identity
}

// People lists people by id, after the cursor, to whom person:list is permitted.
func (s *Service) People(ctx context.Context, actor Person, after string, limit int) ([]Listed, error) {
	record, err := s.cfg.Guard.Permit(ctx, actor, "person:list", "person:all", nil)
	if err != nil {
		return nil, fmt.Errorf("listing people: %w", err)
	}
	if err := s.write(ctx, "listing people", func(tx *store.Tx) error { return record(ctx, tx) }); err != nil {
		return nil, err
	}
	return s.list(ctx, after, limit)
}

// PeopleFromConsole is [Service.People] for the operator's command line on the
// server, and for nothing that hears a network; see [Service.InviteFromConsole].
func (s *Service) PeopleFromConsole(ctx context.Context, after string, limit int) ([]Listed, error) {
	if err := s.cfg.Guard.Note(ctx, nil, Console, "person:list", "person:all", true); err != nil {
		return nil, fmt.Errorf("listing people: %w", err)
	}
	return s.list(ctx, after, limit)
}

func (s *Service) list(ctx context.Context, after string, limit int) ([]Listed, error) {
	rows, err := s.db.Query(ctx, `SELECT id, name, roles, disabled, demo, (SELECT COUNT(*) FROM credential c WHERE c.person = p.id)
		FROM person p WHERE id > $1 ORDER BY id LIMIT $2`, after, min(max(limit, 1), Caps.List))
	if err != nil {
		return nil, fmt.Errorf("listing people: %w", err)
	}
	defer rows.Close()
	var all []Listed
	for rows.Next() {
		var l Listed
		var roles string
		var disabled, demo int64
		if err := rows.Scan(&l.ID, &l.Name, &roles, &disabled, &demo, &l.Passkeys); err != nil {
			return nil, fmt.Errorf("listing people: %w", err)
		}
		l.Roles, l.Disabled, l.Demo = splitRoles(roles), disabled == 1, demo == 1
		all = append(all, l)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("listing people: %w", err)
	}
	return all, nil
}

func splitRoles(roles string) []string {
	if roles == "" {
		return nil
	}
	return strings.Split(roles, ",")
}

// kept is a person's row.
type kept struct {
	Person
	handle string // base64url of the WebAuthn user handle
	demo   bool
}

// findPerson reads a row.
func findPerson(ctx context.Context, tx *store.Tx, id string) (kept, error) {
	var p kept
	var roles string
	var disabled, demo int64
	err := tx.QueryRowContext(ctx, "SELECT id, name, roles, handle, disabled, demo FROM person WHERE id = $1", id).
		Scan(&p.ID, &p.Name, &roles, &p.handle, &disabled, &demo)
	if errors.Is(err, sql.ErrNoRows) {
		return p, fault.NotFound.New("there is no person %q", id)
	}
	if err != nil {
		return p, fmt.Errorf("reading person %s: %w", id, err)
	}
	p.Roles, p.Disabled, p.demo = splitRoles(roles), disabled == 1, demo == 1
	return p, nil
}

// putPerson writes a new row, or the name and the roles of an old one.
func (s *Service) putPerson(ctx context.Context, tx *store.Tx, p Person, demo bool, now time.Time) error {
	handle, err := newToken(s.cfg.Random)
	if err != nil {
		return err
	}
	isDemo := 0
	if demo {
		isDemo = 1
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO person (id, name, roles, handle, disabled, demo, made_at) VALUES ($1, $2, $3, $4, 0, $5, $6)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, roles = excluded.roles`,
		p.ID, p.Name, strings.Join(p.Roles, ","), base64.RawURLEncoding.EncodeToString(handle[:]), isDemo, now.UnixMilli())
	if err != nil {
		return fmt.Errorf("writing person %s: %w", p.ID, err)
	}
	return nil
}

func countPasskeys(ctx context.Context, tx *store.Tx, person string) (n int, err error) {
	if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM credential WHERE person = $1", person).Scan(&n); err != nil {
		return 0, fmt.Errorf("counting the passkeys of %s: %w", person, err)
	}
	return n, nil
}

// Disable keeps a person out from now on: his sessions and invitations end, his
// passkeys stay for [Service.Enable]. It takes session:revoke. Nobody disables
// himself: the last admin would be locked out.
func (s *Service) Disable(ctx context.Context, actor Person, id string) error {
	return s.setDisabled(ctx, actor, id, "session:revoke", 1)
}

// Enable lets a disabled person in again; it takes person:invite.
func (s *Service) Enable(ctx context.Context, actor Person, id string) error {
	return s.setDisabled(ctx, actor, id, "person:invite", 0)
}

func (s *Service) setDisabled(ctx context.Context, actor Person, id, action string, disabled int) error {
	doing := "disabling " + id
	if disabled == 0 {
		doing = "enabling " + id
	}
	if err := statement.CheckID("the person's id", id); err != nil {
		return fault.Invalid.New("%w", err)
	}
	record, err := s.cfg.Guard.Permit(ctx, actor, action, "person:"+id, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if actor.ID == id {
		return s.refuse(ctx, actor, action, id, "nobody does that to himself; ask another admin")
	}
	now := s.cfg.Now()
	return s.write(ctx, doing, func(tx *store.Tx) error {
		if err := record(ctx, tx); err != nil {
			return err
		}
		if _, err := findPerson(ctx, tx, id); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE person SET disabled = $1 WHERE id = $2", disabled, id); err != nil {
			return err
		}
		if disabled == 0 {
			return nil
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM invitation WHERE person = $1 AND used_at = 0", id); err != nil {
			return err
		}
		return endSessions(ctx, tx, id, now)
	})
}

// refuse records a refusal that is this package's own rule, not a policy's.
func (s *Service) refuse(ctx context.Context, actor Person, action, person, why string) error {
	if err := s.cfg.Guard.Note(ctx, nil, actor.ID, action, "person:"+person, false); err != nil {
		return err
	}
	return fault.Denied.New("%s", why)
}
