package passkey

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
)

// A touch is a person's passkey used again for one deed: a session that somebody
// stole, or left open, does not approve anything. It is good for one action on
// one object, once, within Lifetimes.Touch, for the person of the session only.

const ceremonyTouch = "touch"

// touching is what a touch is for; only the row has it, so that the answer can
// not say something else.
type touching struct {
	Person  string               `json:"person"`
	Action  string               `json:"action"`
	Object  string               `json:"object"`
	Session webauthn.SessionData `json:"session"`
}

// touched is the browser's answer, as the form's field holds it.
type touched struct {
	Ceremony   string          `json:"ceremony"`
	Credential json.RawMessage `json:"credential"`
}

var (
	errNoTouch  = fault.Denied.New("this needs a fresh touch of your passkey, and there was none")
	errOldTouch = fault.Denied.New("the touch of your passkey was not for this, or it was too long ago; touch it again")
)

// AsksTouch tells whether a deed of this person needs a touch. A demo identity
// has no passkey, so nothing can be asked: pages say that plainly.
func (s *Service) AsksTouch(p Person) bool { return !s.isDemo(p.ID) }

// BeginTouch asks the person's passkey about one action on one object.
func (s *Service) BeginTouch(ctx context.Context, actor Person, action, object string) (Begun, error) {
	if actor.IsVisitor() {
		return Begun{}, errNoSession
	}
	if !plainName(action, 64) || !plainName(object, Caps.Object) {
		return Begun{}, fault.Invalid.New("asking for a touch: the action and the object are plain names of at most 64 and %d bytes", Caps.Object)
	}
	now := s.cfg.Now()
	var begun Begun
	err := s.write(ctx, "asking for a touch", func(tx *store.Tx) error {
		who, err := accountOf(ctx, tx, actor.ID)
		if err != nil {
			return err
		}
		if len(who.keys) == 0 {
			return fault.Denied.New("%s has no passkey to touch; ask an admin for an invitation", actor.ID)
		}
		options, data, err := s.web.BeginLogin(who, webauthn.WithUserVerification(protocol.VerificationRequired), s.soon)
		if err != nil {
			return err
		}
		begun, err = s.begin(ctx, tx, ceremonyTouch, "", touching{actor.ID, action, object, *data}, options, now, s.cfg.Touch)
		return err
	})
	return begun, err
}

// soon tells the browser how long the touch is waited for.
func (s *Service) soon(o *protocol.PublicKeyCredentialRequestOptions) error {
	o.Timeout = int(s.cfg.Touch.Milliseconds())
	return nil
}

// Touch spends the answer to BeginTouch: nil means that this person, within the
// last minute, meant this action on this object. The answer is gone afterwards,
// good or bad. For a demo identity it is nil without an answer, and recorded so.
func (s *Service) Touch(ctx context.Context, actor Person, action, object, answer string) error {
	if actor.IsVisitor() {
		return errNoSession
	}
	if !s.AsksTouch(actor) {
		return s.cfg.Guard.Note(ctx, nil, actor.ID, "session:demo-touch", action+" "+object, true)
	}
	if answer == "" {
		return errNoTouch
	}
	var got touched
	if len(answer) > Caps.Response || json.Unmarshal([]byte(answer), &got) != nil {
		return fault.Invalid.New("reading the touch of a passkey: this is not what a browser answers")
	}
	now := s.cfg.Now()
	var was touching
	if _, err := s.take(ctx, got.Ceremony, ceremonyTouch, now, &was); err != nil {
		if errors.Is(err, fault.Denied) {
			return errOldTouch
		}
		return err
	}
	if was.Person != actor.ID || was.Action != action || was.Object != object {
		if err := s.cfg.Guard.Note(ctx, nil, actor.ID, "session:touch", action+" "+object, false); err != nil {
			return err
		}
		return errOldTouch
	}
	return s.checkTouch(ctx, was, got.Credential, now)
}

func (s *Service) checkTouch(ctx context.Context, was touching, response []byte, now time.Time) error {
	parsed, err := protocol.ParseCredentialRequestResponseBytes(response)
	if err != nil {
		return s.notAccepted(ctx, err)
	}
	var refused error
	err = s.write(ctx, "taking the touch of a passkey", func(tx *store.Tx) error {
		who, err := accountOf(ctx, tx, was.Person)
		if err != nil {
			return err
		}
		key, err := s.web.ValidateLogin(who, was.Session, parsed)
		switch {
		case err != nil:
			refused = s.notAccepted(ctx, err)
		case who.person.Disabled:
			refused = errDisabled
		case key.Authenticator.CloneWarning:
			refused = errCloned
		default:
			refused = countUp(ctx, tx, key, now)
		}
		// The row of the ceremony is gone already, so the refusal stays in this
		// transaction with its record.
		return s.cfg.Guard.Note(ctx, tx, was.Person, "session:touch", was.Action+" "+was.Object, refused == nil)
	})
	return errors.Join(err, refused)
}

// accountOf reads a person with all passkeys.
func accountOf(ctx context.Context, tx *store.Tx, id string) (*account, error) {
	p, err := findPerson(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	a, err := newAccount(p)
	if err != nil {
		return nil, err
	}
	rows, err := tx.QueryContext(ctx, "SELECT id, public_key, sign_count, backup_eligible FROM credential WHERE person = $1 ORDER BY id", id)
	if err != nil {
		return nil, fmt.Errorf("reading the passkeys of %s: %w", id, err)
	}
	defer rows.Close()
	for rows.Next() {
		var key webauthn.Credential
		var name string
		var count, eligible int64
		if err := rows.Scan(&name, &key.PublicKey, &count, &eligible); err != nil {
			return nil, fmt.Errorf("reading the passkeys of %s: %w", id, err)
		}
		if key.ID, err = base64.RawURLEncoding.DecodeString(name); err != nil {
			return nil, fmt.Errorf("reading the passkeys of %s: %w", id, err)
		}
		key.Authenticator.SignCount, key.Flags.BackupEligible = uint32(count), eligible == 1
		a.keys = append(a.keys, key)
	}
	return a, rows.Err()
}

func plainName(s string, most int) bool {
	return s != "" && len(s) <= most && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}
