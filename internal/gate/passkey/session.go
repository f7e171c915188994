package passkey

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/statement"
)

// SignedIn is a new session.
type SignedIn struct {
	Person  Person
	Token   string
	Expires time.Time // however busy it is
}

func (s *Service) openSession(ctx context.Context, tx *store.Tx, p Person, userAgent string, now time.Time) (SignedIn, error) {
	token, err := newToken(s.cfg.Random)
	if err != nil {
		return SignedIn{}, err
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM session WHERE expires_at <= $1", now.UnixMilli()); err != nil {
		return SignedIn{}, fmt.Errorf("removing old sessions: %w", err)
	}
	expires := now.Add(s.cfg.Session)
	if _, err := tx.ExecContext(ctx, "INSERT INTO session (hash, person, agent, made_at, seen_at, expires_at, revoked_at) VALUES ($1, $2, $3, $4, $4, $5, 0)",
		token.hash("session"), p.ID, family(userAgent), now.UnixMilli(), expires.UnixMilli()); err != nil {
		return SignedIn{}, fmt.Errorf("opening a session: %w", err)
	}
	return SignedIn{Person: p, Token: token.String(), Expires: expires}, nil
}

// family keeps of a browser's name what a person needs to recognise his own
// sessions, and nothing that would identify a machine.
func family(userAgent string) string {
	for _, f := range []struct{ sign, name string }{ // order matters: all claim to be Safari
		{"Firefox/", "Firefox"}, {"Edg/", "Edge"}, {"OPR/", "Opera"}, {"Chrome/", "Chrome"}, {"Safari/", "Safari"}, {"curl/", "curl"},
	} {
		if strings.Contains(userAgent, f.sign) {
			return f.name
		}
	}
	return "other"
}

var errNoSession = fault.Denied.New("you are not signed in (any more)")

// Session tells whose session this is. A token that is unknown, expired, idle
// for too long or revoked, or whose person may not come in, is Denied.
func (s *Service) Session(ctx context.Context, text string) (Person, error) {
	token, err := ParseToken(text)
	if err != nil {
		return Person{}, errNoSession
	}
	hash := token.hash("session")
	var p Person
	var found, roles string
	var disabled, demo, seen, expires, revoked int64
	err = s.db.QueryRow(ctx, `SELECT s.hash, s.seen_at, s.expires_at, s.revoked_at, p.id, p.name, p.roles, p.disabled, p.demo
		FROM session s JOIN person p ON p.id = s.person WHERE s.hash = $1`, hash).
		Scan(&found, &seen, &expires, &revoked, &p.ID, &p.Name, &roles, &disabled, &demo)
	if errors.Is(err, sql.ErrNoRows) {
		return Person{}, errNoSession
	}
	if err != nil {
		return Person{}, fault.Unavailable.New("reading a session: %w", err)
	}
	now := s.cfg.Now()
	idle := now.Sub(time.UnixMilli(seen))
	over := now.UnixMilli() >= expires || idle >= s.cfg.Idle || revoked != 0
	if !sameHash(found, hash) || over || disabled == 1 || (demo == 1 && !s.isDemo(p.ID)) {
		return Person{}, errNoSession
	}
	p.Roles = splitRoles(roles)
	if idle >= s.cfg.Idle/10 { // not a write per request
		err := s.write(ctx, "keeping a session", func(tx *store.Tx) error {
			_, err := tx.ExecContext(ctx, "UPDATE session SET seen_at = $1 WHERE hash = $2 AND seen_at < $1", now.UnixMilli(), hash)
			return err
		})
		if err != nil { // the session then ends early, which is the safe side
			s.cfg.Log.WarnContext(ctx, "session not kept", "error", err)
		}
	}
	return p, nil
}

// SignOut ends one session. A token that is none is fine: it is out.
func (s *Service) SignOut(ctx context.Context, text string) error {
	p, err := s.Session(ctx, text)
	if errors.Is(err, fault.Denied) {
		return nil
	}
	if err != nil {
		return err
	}
	token, err := ParseToken(text)
	if err != nil {
		return err
	}
	now := s.cfg.Now()
	return s.write(ctx, "signing out", func(tx *store.Tx) error {
		if err := s.cfg.Guard.Note(ctx, tx, p.ID, "session:sign-out", "person:"+p.ID, true); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "UPDATE session SET revoked_at = $1 WHERE hash = $2 AND revoked_at = 0", now.UnixMilli(), token.hash("session"))
		return err
	})
}

// RevokeSessions ends all sessions of a person, from the next request on.
func (s *Service) RevokeSessions(ctx context.Context, actor Person, id string) error {
	if err := statement.CheckID("the person's id", id); err != nil {
		return fault.Invalid.New("ending sessions: %w", err)
	}
	record, err := s.cfg.Guard.Permit(ctx, actor, "session:revoke", "person:"+id, nil)
	if err != nil {
		return fmt.Errorf("ending the sessions of %s: %w", id, err)
	}
	now := s.cfg.Now()
	return s.write(ctx, "ending the sessions of "+id, func(tx *store.Tx) error {
		if err := record(ctx, tx); err != nil {
			return err
		}
		if _, err := findPerson(ctx, tx, id); err != nil {
			return err
		}
		return endSessions(ctx, tx, id, now)
	})
}

// Open is a session as its person, or an admin, sees it.
type Open struct {
	Agent   string // the browser's family
	Made    time.Time
	Seen    time.Time // to a tenth of the idle time
	Expires time.Time // however busy
}

// Sessions lists a person's sessions that are in force, newest first, to whoever
// may end them (session:revoke).
func (s *Service) Sessions(ctx context.Context, actor Person, id string) ([]Open, error) {
	doing := "listing sessions of " + id
	if err := statement.CheckID("the person's id", id); err != nil {
		return nil, fault.Invalid.New("listing sessions: %w", err)
	}
	record, err := s.cfg.Guard.Permit(ctx, actor, "session:revoke", "person:"+id, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	if err := s.write(ctx, doing, func(tx *store.Tx) error { return record(ctx, tx) }); err != nil {
		return nil, err
	}
	now := s.cfg.Now()
	rows, err := s.db.Query(ctx, `SELECT agent, made_at, seen_at, expires_at FROM session
		WHERE person = $1 AND revoked_at = 0 AND expires_at > $2 AND seen_at > $3 ORDER BY made_at DESC, hash LIMIT $4`,
		id, now.UnixMilli(), now.Add(-s.cfg.Idle).UnixMilli(), Caps.List)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	defer rows.Close()
	var all []Open
	for rows.Next() {
		var o Open
		var made, seen, expires int64
		if err := rows.Scan(&o.Agent, &made, &seen, &expires); err != nil {
			return nil, fmt.Errorf("%s: %w", doing, err)
		}
		o.Made, o.Seen, o.Expires = time.UnixMilli(made).UTC(), time.UnixMilli(seen).UTC(), time.UnixMilli(expires).UTC()
		all = append(all, o)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	return all, nil
}

func endSessions(ctx context.Context, tx *store.Tx, person string, now time.Time) error {
	if _, err := tx.ExecContext(ctx, "UPDATE session SET revoked_at = $1 WHERE person = $2 AND revoked_at = 0", now.UnixMilli(), person); err != nil {
		return fmt.Errorf("ending the sessions of %s: %w", person, err)
	}
	return nil
}
