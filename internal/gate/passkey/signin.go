package passkey

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
)

// BeginSignIn starts a sign-in. Nobody says who he is: the authenticator offers
// the passkeys that it has for this site (discoverable credentials).
func (s *Service) BeginSignIn(ctx context.Context) (Begun, error) {
	options, data, err := s.web.BeginDiscoverableLogin(webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		return Begun{}, fmt.Errorf("beginning a sign-in: %w", err)
	}
	now := s.cfg.Now()
	var begun Begun
	err = s.write(ctx, "beginning a sign-in", func(tx *store.Tx) error {
		begun, err = s.begin(ctx, tx, ceremonySignIn, "", data, options, now, s.cfg.Ceremony)
		return err
	})
	return begun, err
}

var (
	errUnknownKey = errors.New("there is no such passkey")
	errCloned     = fault.Denied.New("this passkey was used in another place: its counter went back. Ask an admin to recover it")
	errDisabled   = fault.Denied.New("this account is disabled; ask an admin")
)

// FinishSignIn checks the authenticator's response and opens a session. A
// counter that did not advance, and a disabled person, are refused and recorded.
func (s *Service) FinishSignIn(ctx context.Context, ceremony string, response []byte, userAgent string) (SignedIn, error) {
	now := s.cfg.Now()
	var data webauthn.SessionData
	if _, err := s.take(ctx, ceremony, ceremonySignIn, now, &data); err != nil {
		return SignedIn{}, fmt.Errorf("signing in: %w", err)
	}
	if len(response) > Caps.Response {
		return SignedIn{}, fault.Invalid.New("signing in: the response has more than %d bytes", Caps.Response)
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(response)
	if err != nil {
		return SignedIn{}, fmt.Errorf("signing in: %w", s.notAccepted(ctx, err))
	}
	var in SignedIn
	var who string
	err = s.write(ctx, "signing in", func(tx *store.Tx) error {
		in, who, err = s.signIn(ctx, tx, data, parsed, userAgent, now)
		return err
	})
	// The transaction is gone with its record, so the refusal gets its own.
	if errors.Is(err, errCloned) || errors.Is(err, errDisabled) {
		what := "person:" + who
		if errors.Is(err, errCloned) {
			what = "cloned-passkey:" + who
		}
		if noted := s.cfg.Guard.Note(ctx, nil, who, "session:sign-in", what, false); noted != nil {
			err = noted
		}
	}
	if err != nil {
		return SignedIn{}, err
	}
	return in, nil
}

// signIn also tells who it was, once that is proven.
func (s *Service) signIn(ctx context.Context, tx *store.Tx, data webauthn.SessionData, response *protocol.ParsedCredentialAssertionData, userAgent string, now time.Time) (SignedIn, string, error) {
	var broken error // the database's, as against the passkey's
	found := func(rawID, handle []byte) (webauthn.User, error) {
		a, err := findAccount(ctx, tx, rawID, handle)
		if err != nil && !errors.Is(err, errUnknownKey) {
			broken = err
		}
		return a, err
	}
	user, key, err := s.web.ValidatePasskeyLogin(found, data, response)
	if broken != nil {
		return SignedIn{}, "", broken
	}
	if err != nil {
		return SignedIn{}, "", s.notAccepted(ctx, err)
	}
	p := user.(*account).person
	switch {
	case p.Disabled:
		return SignedIn{}, p.ID, errDisabled
	case key.Authenticator.CloneWarning: // WebAuthn 7.2, step 22
		return SignedIn{}, p.ID, errCloned
	}
	if err := s.cfg.Guard.Note(ctx, tx, p.ID, "session:sign-in", "person:"+p.ID, true); err != nil {
		return SignedIn{}, "", err
	}
	if err := countUp(ctx, tx, key, now); err != nil {
		return SignedIn{}, p.ID, err
	}
	in, err := s.openSession(ctx, tx, p.Person, userAgent, now)
	return in, p.ID, err
}

// countUp keeps a passkey's counter. The condition decides between two answers at
// the same moment.
func countUp(ctx context.Context, tx *store.Tx, key *webauthn.Credential, now time.Time) error {
	res, err := tx.ExecContext(ctx, "UPDATE credential SET sign_count = $1, used_at = $2 WHERE id = $3 AND (sign_count < $1 OR (sign_count = 0 AND $1 = 0))",
		int64(key.Authenticator.SignCount), now.UnixMilli(), credentialID(key.ID))
	if err != nil {
		return fmt.Errorf("counting a passkey's use: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return errCloned
	}
	return nil
}

// findAccount reads the person to whom a passkey belongs. Both the passkey and
// the handle have to be his.
func findAccount(ctx context.Context, tx *store.Tx, rawID, handle []byte) (*account, error) {
	var person string
	var count, eligible int64
	key := webauthn.Credential{ID: rawID}
	err := tx.QueryRowContext(ctx, "SELECT c.person, c.public_key, c.sign_count, c.backup_eligible FROM credential c JOIN person p ON p.id = c.person WHERE c.id = $1 AND p.handle = $2",
		credentialID(rawID), base64.RawURLEncoding.EncodeToString(handle)).Scan(&person, &key.PublicKey, &count, &eligible)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, errUnknownKey
	}
	if err != nil {
		return nil, fmt.Errorf("reading a passkey: %w", err)
	}
	key.Authenticator.SignCount = uint32(count)
	key.Flags.BackupEligible = eligible == 1
	p, err := findPerson(ctx, tx, person)
	if err != nil {
		return nil, err
	}
	return &account{person: p, handle: handle, keys: []webauthn.Credential{key}}, nil
}
