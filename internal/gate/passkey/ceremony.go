package passkey

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
)

const (
	ceremonyEnrol  = "enrol"
	ceremonySignIn = "sign-in"
)

// Begun is the first half of a ceremony.
type Begun struct {
	Ceremony string // token to finish it with
	Options  []byte // JSON for navigator.credentials.create or .get
}

// account is a person as the WebAuthn library sees him.
type account struct {
	person kept
	handle []byte
	keys   []webauthn.Credential
}

func (a *account) WebAuthnID() []byte                         { return a.handle }
func (a *account) WebAuthnName() string                       { return a.person.ID }
func (a *account) WebAuthnDisplayName() string                { return a.person.Name }
func (a *account) WebAuthnCredentials() []webauthn.Credential { return a.keys }

// begin keeps the challenge, as data, until the answer comes or life is over.
func (s *Service) begin(ctx context.Context, tx *store.Tx, purpose, invitation string, data, options any, now time.Time, life time.Duration) (Begun, error) {
	token, err := newToken(s.cfg.Random)
	if err != nil {
		return Begun{}, err
	}
	kept, err := json.Marshal(data)
	if err != nil {
		return Begun{}, fmt.Errorf("encoding a ceremony: %w", err)
	}
	shown, err := json.Marshal(options)
	if err != nil {
		return Begun{}, fmt.Errorf("encoding a ceremony: %w", err)
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM ceremony WHERE expires_at <= $1", now.UnixMilli()); err != nil {
		return Begun{}, fmt.Errorf("ending old ceremonies: %w", err)
	}
	var open int
	if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM ceremony").Scan(&open); err != nil {
		return Begun{}, fmt.Errorf("counting ceremonies: %w", err)
	}
	if open >= Caps.Ceremonies {
		return Begun{}, fault.Unavailable.New("too many people are signing in at once; try again in a few minutes")
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO ceremony (hash, purpose, invitation, data, expires_at) VALUES ($1, $2, $3, $4, $5)",
		token.hash("ceremony"), purpose, invitation, kept, now.Add(life).UnixMilli()); err != nil {
		return Begun{}, fmt.Errorf("writing a ceremony: %w", err)
	}
	return Begun{Ceremony: token.String(), Options: shown}, nil
}

// take ends a ceremony and returns what it was. The row is gone, durably, before
// the answer is looked at: a challenge is good for one answer, right or wrong.
func (s *Service) take(ctx context.Context, text, purpose string, now time.Time, data any) (invitation string, err error) {
	over := fault.Denied.New("this took too long or was answered already; begin again")
	token, err := ParseToken(text)
	if err != nil {
		return "", over
	}
	hash := token.hash("ceremony")
	var found, was string
	var raw []byte
	var expires int64
	err = s.write(ctx, "ending a ceremony", func(tx *store.Tx) error {
		err := tx.QueryRowContext(ctx, "DELETE FROM ceremony WHERE hash = $1 RETURNING hash, purpose, invitation, data, expires_at", hash).
			Scan(&found, &was, &invitation, &raw, &expires)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	if err != nil {
		return "", err
	}
	if !sameHash(found, hash) || was != purpose || now.UnixMilli() >= expires {
		return "", over
	}
	if err := json.Unmarshal(raw, data); err != nil {
		return "", fmt.Errorf("decoding a ceremony: %w", err)
	}
	return invitation, nil
}

// notAccepted is the one answer to whatever is wrong with a response; the
// details help an operator, and an attacker.
func (s *Service) notAccepted(ctx context.Context, err error) error {
	detail := err.Error()
	if e, ok := errors.AsType[*protocol.Error](err); ok {
		detail += ": " + e.DevInfo
	}
	s.cfg.Log.DebugContext(ctx, "passkey not accepted", "why", detail)
	return fault.Denied.New("this passkey was not accepted")
}
