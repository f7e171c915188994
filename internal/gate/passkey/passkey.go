// Package passkey is who may come in: people, their passkeys (WebAuthn) and
// their sessions.
//
// It promises: a person comes in only with a passkey that verified the person
// (PIN, finger, face), enrolled with a one-time invitation; a recovery replaces
// the old passkeys at the moment when the new one is enrolled, not before;
// every token has 256 random bits and is known here by its hash only; whatever
// an admin does is decided by a policy and recorded in the same transaction.
// It refuses: a challenge or an invitation used twice, a signature counter that
// went back (a cloned authenticator), an admin who recovers himself, and a
// disabled person, from the next request on.
//
// A deed that must not rest on a session alone asks for the passkey again: a
// [Service.Touch] is good for one action on one object, once, within a minute.
//
// It knows no HTTP: package door is the browser's side, and pages are the
// portal's. There are no passwords.
//
// Start at [New]; then [Service.Invite], [Service.BeginEnrol],
// [Service.BeginSignIn] and [Service.Session].
package passkey

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
)

// Caps bound what comes from outside.
var Caps = struct {
	Response   int // bytes of an authenticator's response
	Name       int // bytes of a person's name
	Ceremonies int // open ones, of everybody: they cost a row before anybody is known
	List       int // people, or sessions, on one page
	Object     int // bytes of what a touch is about
}{Response: 64 << 10, Name: 200, Ceremonies: 10000, List: 500, Object: 400}

// Guard decides and records. Implementations may be called concurrently.
type Guard interface {
	// Permit tells whether actor may do action to object. A refusal is
	// fault.Denied and is recorded durably before it is returned. A permission
	// comes with record, which the caller runs first in the deed's transaction.
	Permit(ctx context.Context, actor Person, action, object string, attrs map[string]any) (record func(context.Context, *store.Tx) error, err error)
	// Note records what no policy decides: a sign-in, an enrolment, an attack.
	// tx is the deed's transaction; nil makes one.
	Note(ctx context.Context, tx *store.Tx, actor, action, object string, allowed bool) error
}

// Lifetimes say how long things are good for. Zero is the default.
type Lifetimes struct {
	Invitation time.Duration // until it has to be used; 72 h
	Ceremony   time.Duration // between the two halves of a ceremony; 5 min
	Touch      time.Duration // between asking for a touch and the deed that it is for; 60 s
	Idle       time.Duration // of a session without a request; 30 min
	Session    time.Duration // of a session, however busy; 12 h
}

// Config is what a [Service] needs. All but Lifetimes, Random and Unsafe… must
// be given.
type Config struct {
	Name    string   // of the site, as authenticators show it
	RPID    string   // its host name; passkeys are bound to it for ever
	Origins []string // where pages are served from: https://host[:port], or http://localhost for trying out
	Roles   []string // the roles that a person can have
	Guard   Guard
	Now     func() time.Time
	Log     *slog.Logger
	Random  io.Reader // crypto/rand when nil
	Lifetimes
	// UnsafeDemoIdentities are people whom anybody may sign in as, without a
	// passkey. For demonstrations; their sessions end when this is taken away.
	UnsafeDemoIdentities []Person
}

// Service keeps people, passkeys and sessions. It may be used concurrently.
type Service struct {
	db  *store.DB
	cfg Config
	web *webauthn.WebAuthn
}

// New checks the configuration and, when there are demo identities, writes them.
func New(ctx context.Context, db *store.DB, cfg Config) (*Service, error) {
	if cfg.Guard == nil || cfg.Now == nil || cfg.Log == nil || len(cfg.Roles) == 0 {
		return nil, fault.Invalid.New("setting up passkeys: a guard, a clock, a log and roles are needed")
	}
	if cfg.RPID == "" || cfg.Name == "" {
		return nil, fault.Invalid.New("setting up passkeys: the site's host name and a name for people are needed")
	}
	for _, origin := range cfg.Origins {
		if err := checkOrigin(origin); err != nil {
			return nil, err
		}
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	orDefault(&cfg.Invitation, 72*time.Hour)
	orDefault(&cfg.Ceremony, 5*time.Minute)
	orDefault(&cfg.Touch, time.Minute)
	orDefault(&cfg.Idle, 30*time.Minute)
	orDefault(&cfg.Session, 12*time.Hour)
	wait := webauthn.TimeoutConfig{Timeout: cfg.Ceremony, TimeoutUVD: cfg.Ceremony}
	web, err := webauthn.New(&webauthn.Config{
		RPID: cfg.RPID, RPDisplayName: cfg.Name, RPOrigins: cfg.Origins,
		// Which make of authenticator it is, is the person's business.
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey: protocol.ResidentKeyRequirementRequired, RequireResidentKey: protocol.ResidentKeyRequired(),
			UserVerification: protocol.VerificationRequired,
		},
		Timeouts: webauthn.TimeoutsConfig{Login: wait, Registration: wait}, // for the browser; ours is in the ceremony's row
		// Password managers answer credProps unasked; nothing here reads it.
		ExtensionsUnsolicitedOutputPolicy: protocol.UnsolicitedOutputPolicyIgnore,
	})
	if err != nil {
		return nil, fault.Invalid.New("setting up passkeys for %q: %w", cfg.RPID, err)
	}
	s := &Service{db: db, cfg: cfg, web: web}
	return s, s.writeDemoIdentities(ctx)
}

func orDefault(d *time.Duration, value time.Duration) {
	if *d <= 0 {
		*d = value
	}
}

// checkOrigin refuses what browsers would: passkeys exist on https, and on
// localhost for trying out.
func checkOrigin(origin string) error {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || u.Scheme+"://"+u.Host != origin {
		return fault.Invalid.New("setting up passkeys: the origin %q must be https://host[:port] and nothing more", origin)
	}
	if u.Scheme != "https" && (u.Scheme != "http" || u.Hostname() != "localhost") {
		return fault.Invalid.New("setting up passkeys: the origin %q is not https, and browsers offer passkeys without it on localhost only", origin)
	}
	return nil
}

// write runs a transaction and says in its error what was being done.
func (s *Service) write(ctx context.Context, doing string, do func(tx *store.Tx) error) error {
	if err := s.db.Write(ctx, do); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}
