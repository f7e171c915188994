package passkey

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
)

// BeginEnrol starts the enrolment of a passkey with an invitation's token. The
// invitation stays open until the enrolment is finished.
func (s *Service) BeginEnrol(ctx context.Context, invitationToken string) (Begun, error) {
	hash := ""
	if token, err := ParseToken(invitationToken); err == nil {
		hash = token.hash("invitation")
	}
	now := s.cfg.Now()
	var begun Begun
	err := s.write(ctx, "beginning an enrolment", func(tx *store.Tx) error {
		in, err := s.findInvitation(ctx, tx, hash, now)
		if err != nil {
			return err
		}
		who, err := newAccount(in.person)
		if err != nil {
			return err
		}
		options, data, err := s.web.BeginRegistration(who)
		if err != nil {
			return err
		}
		begun, err = s.begin(ctx, tx, ceremonyEnrol, in.hash, data, options, now, s.cfg.Ceremony)
		return err
	})
	return begun, err
}

func newAccount(p kept) (*account, error) {
	handle, err := base64.RawURLEncoding.DecodeString(p.handle)
	if err != nil {
		return nil, fmt.Errorf("reading the handle of %s: %w", p.ID, err)
	}
	return &account{person: p, handle: handle}, nil
}

// FinishEnrol checks the authenticator's response, keeps the passkey, uses the
// invitation up and signs the person in. A recovery removes the old passkeys and
// ends the old sessions in the same transaction.
func (s *Service) FinishEnrol(ctx context.Context, ceremony string, response []byte, userAgent string) (SignedIn, error) {
	now := s.cfg.Now()
	var data webauthn.SessionData
	hash, err := s.take(ctx, ceremony, ceremonyEnrol, now, &data)
	if err != nil {
		return SignedIn{}, fmt.Errorf("enrolling: %w", err)
	}
	if len(response) > Caps.Response {
		return SignedIn{}, fault.Invalid.New("enrolling: the response has more than %d bytes", Caps.Response)
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(response)
	if err != nil {
		return SignedIn{}, fmt.Errorf("enrolling: %w", s.notAccepted(ctx, err))
	}
	var in SignedIn
	err = s.write(ctx, "enrolling", func(tx *store.Tx) error {
		invitation, err := s.findInvitation(ctx, tx, hash, now)
		if err != nil {
			return err
		}
		who, err := newAccount(invitation.person)
		if err != nil {
			return err
		}
		key, err := s.web.CreateCredential(who, data, parsed)
		if err != nil {
			return s.notAccepted(ctx, err)
		}
		if err := s.keep(ctx, tx, invitation, key, now); err != nil {
			return err
		}
		in, err = s.openSession(ctx, tx, invitation.person.Person, userAgent, now)
		return err
	})
	if err != nil {
		return SignedIn{}, err
	}
	return in, nil
}

var errUsed = errors.New("used by somebody else at this moment")

// keep writes the deed of an enrolment.
func (s *Service) keep(ctx context.Context, tx *store.Tx, in invitation, key *webauthn.Credential, now time.Time) error {
	id := in.person.ID
	action := "passkey:enrol"
	if in.purpose == purposeRecover {
		action = "passkey:replace"
	}
	if err := s.cfg.Guard.Note(ctx, tx, id, action, "person:"+id, true); err != nil {
		return err
	}
	res, err := tx.ExecContext(ctx, "UPDATE invitation SET used_at = $1 WHERE hash = $2 AND used_at = 0", now.UnixMilli(), in.hash)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return fault.Denied.New("this invitation is not valid (any more): %w", errors.Join(err, errUsed))
	}
	if in.purpose == purposeRecover {
		if _, err := tx.ExecContext(ctx, "DELETE FROM credential WHERE person = $1", id); err != nil {
			return err
		}
		if err := endSessions(ctx, tx, id, now); err != nil {
			return err
		}
	}
	eligible := 0
	if key.Flags.BackupEligible {
		eligible = 1
	}
	res, err = tx.ExecContext(ctx, `INSERT INTO credential (id, person, public_key, sign_count, backup_eligible, made_at, used_at)
		VALUES ($1, $2, $3, $4, $5, $6, $6) ON CONFLICT (id) DO NOTHING`,
		credentialID(key.ID), id, key.PublicKey, int64(key.Authenticator.SignCount), eligible, now.UnixMilli())
	if err != nil {
		return err
	}
	// WebAuthn 7.1, step 26: a credential id that somebody else has is refused.
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return fault.Denied.New("this passkey was not accepted")
	}
	return nil
}

func credentialID(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }
