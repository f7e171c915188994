package passkey

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/statement"
)

// Console is the actor in records of what the operator did on the server itself.
// No person can have this id.
const Console = "@console"

const (
	purposeInvite  = "invite"
	purposeRecover = "recover"
)

// Invitation is a one-time permission to enrol a passkey. Whoever holds the
// token enrols: it goes to the person on a way that the inviter trusts.
type Invitation struct {
	Token   string
	Expires time.Time
}

// Invite makes a person, or changes the name and roles of one who has not
// enrolled yet, and invites him. An earlier invitation of his ends. Somebody who
// has a passkey is a Conflict: see [Service.Recover].
func (s *Service) Invite(ctx context.Context, actor Person, p Person) (Invitation, error) {
	p, err := s.checkPerson(p)
	if err != nil {
		return Invitation{}, fmt.Errorf("inviting: %w", err)
	}
	record, err := s.cfg.Guard.Permit(ctx, actor, "person:invite", "person:"+p.ID, nil)
	if err != nil {
		return Invitation{}, fmt.Errorf("inviting %s: %w", p.ID, err)
	}
	var made Invitation
	err = s.write(ctx, "inviting "+p.ID, func(tx *store.Tx) error {
		if err := record(ctx, tx); err != nil {
			return err
		}
		made, err = s.invite(ctx, tx, actor.ID, p)
		return err
	})
	return made, err
}

func (s *Service) invite(ctx context.Context, tx *store.Tx, by string, p Person) (Invitation, error) {
	now := s.cfg.Now()
	old, err := findPerson(ctx, tx, p.ID)
	if err != nil && !errors.Is(err, fault.NotFound) {
		return Invitation{}, err
	}
	if old.demo {
		return Invitation{}, fault.Conflict.New("%s is a demo identity; choose another id", p.ID)
	}
	if old.Disabled {
		return Invitation{}, fault.Conflict.New("%s is disabled; enable him first", p.ID)
	}
	if n, err := countPasskeys(ctx, tx, p.ID); err != nil || n > 0 {
		if err == nil {
			err = fault.Conflict.New("%s has a passkey already; if it is lost, recover it", p.ID)
		}
		return Invitation{}, err
	}
	if err := s.putPerson(ctx, tx, p, false, now); err != nil {
		return Invitation{}, err
	}
	return s.putInvitation(ctx, tx, p.ID, purposeInvite, by, now)
}

// Recover lets a person who lost his passkey enrol a new one. Until he does, the
// old ones and his sessions stay as they are: an invitation that went astray
// locks nobody out. Any admin may do this for others, none for himself.
func (s *Service) Recover(ctx context.Context, admin Person, id string) (Invitation, error) {
	if err := statement.CheckID("the person's id", id); err != nil {
		return Invitation{}, fault.Invalid.New("recovering: %w", err)
	}
	record, err := s.cfg.Guard.Permit(ctx, admin, "person:recover", "person:"+id, nil)
	if err != nil {
		return Invitation{}, fmt.Errorf("recovering %s: %w", id, err)
	}
	if admin.ID == id {
		return Invitation{}, s.refuse(ctx, admin, "person:recover", id, "nobody recovers his own passkey; ask another admin")
	}
	var made Invitation
	err = s.write(ctx, "recovering "+id, func(tx *store.Tx) error {
		if err := record(ctx, tx); err != nil {
			return err
		}
		made, err = s.recover(ctx, tx, admin.ID, id)
		return err
	})
	return made, err
}

func (s *Service) recover(ctx context.Context, tx *store.Tx, by, id string) (Invitation, error) {
	p, err := findPerson(ctx, tx, id)
	if err != nil {
		return Invitation{}, err
	}
	if p.Disabled || p.demo {
		return Invitation{}, fault.Conflict.New("%s is disabled or a demo identity, and has nothing to recover", id)
	}
	return s.putInvitation(ctx, tx, id, purposeRecover, by, s.cfg.Now())
}

// InviteFromConsole is for the operator's command line on the server, and for
// nothing that hears a network: it invites the first admin, and recovers the
// last one. Whoever may call it could as well write to the database.
func (s *Service) InviteFromConsole(ctx context.Context, p Person) (Invitation, error) {
	p, err := s.checkPerson(p)
	if err != nil {
		return Invitation{}, fmt.Errorf("inviting: %w", err)
	}
	var made Invitation
	err = s.write(ctx, "inviting "+p.ID, func(tx *store.Tx) error {
		n, err := countPasskeys(ctx, tx, p.ID)
		if err != nil {
			return err
		}
		action := "person:invite"
		if n > 0 {
			action = "person:recover"
		}
		if err := s.cfg.Guard.Note(ctx, tx, Console, action, "person:"+p.ID, true); err != nil {
			return err
		}
		if n > 0 {
			made, err = s.recover(ctx, tx, Console, p.ID)
		} else {
			made, err = s.invite(ctx, tx, Console, p)
		}
		return err
	})
	return made, err
}

func (s *Service) putInvitation(ctx context.Context, tx *store.Tx, person, purpose, by string, now time.Time) (Invitation, error) {
	token, err := newToken(s.cfg.Random)
	if err != nil {
		return Invitation{}, err
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM invitation WHERE person = $1", person); err != nil {
		return Invitation{}, fmt.Errorf("ending earlier invitations of %s: %w", person, err)
	}
	expires := now.Add(s.cfg.Invitation)
	if _, err := tx.ExecContext(ctx, "INSERT INTO invitation (hash, person, purpose, made_by, made_at, expires_at, used_at) VALUES ($1, $2, $3, $4, $5, $6, 0)",
		token.hash("invitation"), person, purpose, by, now.UnixMilli(), expires.UnixMilli()); err != nil {
		return Invitation{}, fmt.Errorf("writing the invitation of %s: %w", person, err)
	}
	return Invitation{Token: token.String(), Expires: expires}, nil
}

// invitation is an open one, with the person whom it invites.
type invitation struct {
	hash    string
	purpose string
	person  kept
}

func (s *Service) findInvitation(ctx context.Context, tx *store.Tx, hash string, now time.Time) (invitation, error) {
	in := invitation{}
	var id string
	err := tx.QueryRowContext(ctx, "SELECT hash, purpose, person FROM invitation WHERE hash = $1 AND used_at = 0 AND expires_at > $2", hash, now.UnixMilli()).
		Scan(&in.hash, &in.purpose, &id)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return in, fmt.Errorf("reading an invitation: %w", err)
	}
	if err == nil {
		if in.person, err = findPerson(ctx, tx, id); err != nil {
			return in, err
		}
	}
	// One answer for unknown, used and expired: a finder of old links learns nothing.
	if err != nil || !sameHash(in.hash, hash) || in.person.Disabled {
		return in, fault.Denied.New("this invitation is not valid (any more); ask for a new one")
	}
	return in, nil
}
