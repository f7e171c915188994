package passkey_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/base/store/storetest"
	"clerestory.dev/clerestory/internal/gate/passkey"
)

var (
	ctx    = context.Background()
	admin  = passkey.Person{ID: "ada", Name: "Ada", Roles: []string{"admin"}}
	bob    = passkey.Person{ID: "bob", Name: "Bob", Roles: []string{"approver"}}
	roles  = []string{"admin", "approver", "auditor"}
	origin = "https://trust.example.com"
)

// rule is a guard that lets admins do everything, and remembers what it was told.
type rule struct {
	mu     sync.Mutex
	notes  []string
	broken error // what recording fails with
}

func (g *rule) note(actor, action, object string, allowed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	verdict := " refused"
	if allowed {
		verdict = " allowed"
	}
	g.notes = append(g.notes, actor+" "+action+" "+object+verdict)
}

func (g *rule) Permit(_ context.Context, actor passkey.Person, action, object string, _ map[string]any) (func(context.Context, *store.Tx) error, error) {
	if !slices.Contains(actor.Roles, "admin") {
		g.note(actor.ID, action, object, false)
		return nil, fault.Denied.New("no policy permits it")
	}
	return func(context.Context, *store.Tx) error { g.note(actor.ID, action, object, true); return g.broken }, nil
}

func (g *rule) Note(_ context.Context, _ *store.Tx, actor, action, object string, allowed bool) error {
	g.note(actor, action, object, allowed)
	return g.broken
}

func (g *rule) has(t *testing.T, note string) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if !slices.Contains(g.notes, note) {
		t.Errorf("no record %q in %q", note, g.notes)
	}
}

// site is a service with a clock that tests turn.
type site struct {
	*passkey.Service
	t     *testing.T
	db    *store.DB
	cfg   passkey.Config
	guard *rule
	clock time.Time
	log   bytes.Buffer
}

func each(t *testing.T, run func(t *testing.T, s *site)) {
	storetest.Each(t, func(t *testing.T, dsn string) { run(t, open(t, storetest.Open(t, dsn))) })
}

func open(t *testing.T, db *store.DB, demo ...passkey.Person) *site {
	t.Helper()
	s := &site{t: t, db: db, guard: &rule{}, clock: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)}
	s.cfg = passkey.Config{
		Name: "Trust", RPID: "trust.example.com", Origins: []string{origin}, Roles: roles, Guard: s.guard,
		Now: func() time.Time { return s.clock }, Log: slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		UnsafeDemoIdentities: demo,
	}
	var err error
	if s.Service, err = passkey.New(ctx, db, s.cfg); err != nil {
		t.Fatal(err)
	}
	return s
}

// device is a software authenticator with one passkey.
type device struct {
	rp   virtualwebauthn.RelyingParty
	auth virtualwebauthn.Authenticator
	key  virtualwebauthn.Credential
}

func newDevice() *device {
	return &device{
		rp:   virtualwebauthn.RelyingParty{ID: "trust.example.com", Name: "Trust", Origin: origin},
		auth: virtualwebauthn.NewAuthenticator(),
		key:  newKey(),
	}
}

// create answers an enrolment's options.
func (d *device) create(t *testing.T, options []byte) []byte {
	t.Helper()
	o, err := virtualwebauthn.ParseAttestationOptions(string(options))
	if err != nil {
		t.Fatal(err)
	}
	d.auth.Options.UserHandle = []byte(o.UserID)
	return []byte(virtualwebauthn.CreateAttestationResponse(d.rp, d.auth, d.key, *o))
}

// get answers a sign-in's options; a real authenticator counts up first.
func (d *device) get(t *testing.T, options []byte) []byte {
	t.Helper()
	o, err := virtualwebauthn.ParseAssertionOptions(string(options))
	if err != nil {
		t.Fatal(err)
	}
	d.key.Counter++
	return []byte(virtualwebauthn.CreateAssertionResponse(d.rp, d.auth, d.key, *o))
}

func (s *site) enrol(token string, d *device) (passkey.SignedIn, error) {
	s.t.Helper()
	begun, err := s.BeginEnrol(ctx, token)
	if err != nil {
		return passkey.SignedIn{}, err
	}
	return s.FinishEnrol(ctx, begun.Ceremony, d.create(s.t, begun.Options), "Mozilla/5.0 Firefox/140.0")
}

func (s *site) signIn(d *device) (passkey.SignedIn, error) {
	s.t.Helper()
	begun, err := s.BeginSignIn(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.FinishSignIn(ctx, begun.Ceremony, d.get(s.t, begun.Options), "Mozilla/5.0 Chrome/140 Safari/537")
}

// newcomer invites a person and enrols a passkey.
func (s *site) newcomer(p passkey.Person) (*device, passkey.SignedIn) {
	s.t.Helper()
	in, err := s.Invite(ctx, admin, p)
	if err != nil {
		s.t.Fatal(err)
	}
	d := newDevice()
	signed, err := s.enrol(in.Token, d)
	if err != nil {
		s.t.Fatalf("%v\n%s", err, s.log.String())
	}
	return d, signed
}

func (s *site) denied(what string, err error) {
	s.t.Helper()
	if !errors.Is(err, fault.Denied) {
		s.t.Errorf("%s: got %v, want a refusal", what, err)
	}
}

func (s *site) signedIn(what, token string, want bool) {
	s.t.Helper()
	p, err := s.Session(ctx, token)
	if want && err != nil || !want && (!errors.Is(err, fault.Denied) || p.ID != "") {
		s.t.Errorf("%s: session gives %+v, %v, want signed in: %v", what, p, err, want)
	}
}

func (s *site) count(table string) (n int) {
	s.t.Helper()
	if err := s.db.QueryRow(ctx, "SELECT COUNT(*) FROM "+table).Scan(&n); err != nil {
		s.t.Fatal(err)
	}
	return n
}

// newKey makes a P-256 passkey. The library drops leading zeros of the public
// key's coordinates, which real authenticators do not; such keys are passed over.
func newKey() virtualwebauthn.Credential {
	for {
		key := virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)
		if len(key.Key.AttestationData()) == 77 {
			return key
		}
	}
}
