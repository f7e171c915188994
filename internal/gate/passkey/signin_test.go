package passkey_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/gate/passkey"
)

func TestAnInvitedPersonEnrolsAndSignsInAgain(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		d, first := s.newcomer(bob)
		again, err := s.signIn(d)
		if err != nil {
			t.Fatalf("%v\n%s", err, s.log.String())
		}
		for _, in := range []passkey.SignedIn{first, again} {
			p, err := s.Session(ctx, in.Token)
			if err != nil || p.ID != "bob" || p.Name != "Bob" || !slices.Equal(p.Roles, bob.Roles) {
				t.Fatalf("session: %+v, %v", p, err)
			}
		}
		s.guard.has(t, "ada person:invite person:bob allowed")
		s.guard.has(t, "bob passkey:enrol person:bob allowed")
		s.guard.has(t, "bob session:sign-in person:bob allowed")
		var agents string
		if err := s.db.QueryRow(ctx, "SELECT MIN(agent) || ' ' || MAX(agent) FROM session").Scan(&agents); err != nil || agents != "Chrome Firefox" {
			t.Fatalf("kept of the browsers: %q, %v", agents, err)
		}
	})
}

// Synced passkeys (iCloud, Google) never count: zero stays zero.
func TestAPasskeyThatDoesNotCountSignsInManyTimes(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		d, _ := s.newcomer(bob)
		for range 3 {
			begun, _ := s.BeginSignIn(ctx)
			o, _ := virtualwebauthn.ParseAssertionOptions(string(begun.Options))
			if _, err := s.FinishSignIn(ctx, begun.Ceremony, []byte(virtualwebauthn.CreateAssertionResponse(d.rp, d.auth, d.key, *o)), ""); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestAReplayedChallengeIsRefused(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		d, _ := s.newcomer(bob)
		begun, _ := s.BeginSignIn(ctx)
		answer := d.get(t, begun.Options)
		if _, err := s.FinishSignIn(ctx, begun.Ceremony, answer, ""); err != nil {
			t.Fatal(err)
		}
		_, err := s.FinishSignIn(ctx, begun.Ceremony, answer, "")
		s.denied("the same answer again", err)

		other, _ := s.BeginSignIn(ctx)
		_, err = s.FinishSignIn(ctx, other.Ceremony, answer, "")
		s.denied("an answer to another challenge", err)
		_, err = s.FinishSignIn(ctx, other.Ceremony, d.get(t, other.Options), "")
		s.denied("a second try on one challenge", err)
	})
}

func TestAnExpiredChallengeIsRefused(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		d, _ := s.newcomer(bob)
		begun, _ := s.BeginSignIn(ctx)
		s.clock = s.clock.Add(5 * time.Minute)
		_, err := s.FinishSignIn(ctx, begun.Ceremony, d.get(t, begun.Options), "")
		s.denied("an answer after five minutes", err)

		in, _ := s.Invite(ctx, admin, passkey.Person{ID: "carol", Name: "Carol"})
		enrol, _ := s.BeginEnrol(ctx, in.Token)
		s.clock = s.clock.Add(5 * time.Minute)
		_, err = s.FinishEnrol(ctx, enrol.Ceremony, newDevice().create(t, enrol.Options), "")
		s.denied("an enrolment after five minutes", err)
		if _, err := s.enrol(in.Token, newDevice()); err != nil {
			t.Errorf("the invitation itself is still good: %v", err)
		}
	})
}

func TestAPhishingSiteGetsNobodyIn(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		d, _ := s.newcomer(bob)
		for name, spoil := range map[string]func(*device){
			"another origin":            func(d *device) { d.rp.Origin = "https://trust.example.com.evil.example" },
			"plain http":                func(d *device) { d.rp.Origin = "http://trust.example.com" },
			"another relying party":     func(d *device) { d.rp.ID = "evil.example" },
			"no PIN and no finger":      func(d *device) { d.auth.Options.UserNotVerified = true },
			"nobody touched it":         func(d *device) { d.auth.Options.UserNotPresent = true },
			"another person's handle":   func(d *device) { d.auth.Options.UserHandle = []byte("somebody else, 32 bytes of handle") },
			"no handle":                 func(d *device) { d.auth.Options.UserHandle = nil },
			"another key, known id":     func(d *device) { d.key.Key = newKey().Key },
			"a passkey nobody knows":    func(d *device) { d.key = newKey() },
			"it turned into a sync key": func(d *device) { d.auth.Options.BackupEligible = true },
		} {
			spoiled := *d
			spoil(&spoiled)
			_, err := s.signIn(&spoiled)
			s.denied(name, err)
			d.key.Counter = max(d.key.Counter, spoiled.key.Counter)
		}
		in, _ := s.Invite(ctx, admin, passkey.Person{ID: "carol", Name: "Carol"})
		for name, spoil := range map[string]func(*device){
			"another origin":       func(d *device) { d.rp.Origin = "https://evil.example" },
			"no PIN and no finger": func(d *device) { d.auth.Options.UserNotVerified = true },
			"bob's credential id":  func(c *device) { c.key.ID = d.key.ID },
		} {
			spoiled := newDevice()
			spoil(spoiled)
			_, err := s.enrol(in.Token, spoiled)
			s.denied("enrolling with "+name, err)
		}
		if n := s.count("credential"); n != 1 {
			t.Errorf("%d passkeys", n)
		}
		if _, err := s.signIn(d); err != nil {
			t.Errorf("bob himself: %v", err)
		}
	})
}

func TestRubbishIsNotAnAnswer(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.newcomer(bob)
		for _, rubbish := range []string{"", "null", "{}", `{"id":"AA","rawId":"AA","type":"public-key","response":{}}`, strings.Repeat("[", 9999)} {
			begun, _ := s.BeginSignIn(ctx)
			_, err := s.FinishSignIn(ctx, begun.Ceremony, []byte(rubbish), "")
			s.denied(rubbish, err)
		}
		begun, _ := s.BeginSignIn(ctx)
		if _, err := s.FinishSignIn(ctx, begun.Ceremony, make([]byte, passkey.Caps.Response+1), ""); !errors.Is(err, fault.Invalid) {
			t.Errorf("too long: %v", err)
		}
		_, err := s.FinishSignIn(ctx, "no-token", nil, "")
		s.denied("no ceremony", err)
	})
}

func TestAClonedPasskeyIsRefusedAndRecorded(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		d, _ := s.newcomer(bob)
		for range 3 {
			if _, err := s.signIn(d); err != nil {
				t.Fatal(err)
			}
		}
		sessions := s.count("session")
		clone := *d
		clone.key.Counter = 1 // the copy was taken earlier, and counts to 2
		_, err := s.signIn(&clone)
		s.denied("an older counter", err)
		clone.key.Counter = d.key.Counter - 1
		_, err = s.signIn(&clone)
		s.denied("the same counter", err)
		s.guard.has(t, "bob session:sign-in cloned-passkey:bob refused")
		if n := s.count("session"); n != sessions {
			t.Errorf("%d sessions, before %d", n, sessions)
		}
	})
}

func TestADisabledPersonIsOutAtOnce(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		d, in := s.newcomer(bob)
		if err := s.Disable(ctx, admin, "bob"); err != nil {
			t.Fatal(err)
		}
		s.signedIn("disabled", in.Token, false)
		_, err := s.signIn(d)
		s.denied("disabled", err)
		s.guard.has(t, "bob session:sign-in person:bob refused")
		if err := s.Enable(ctx, admin, "bob"); err != nil {
			t.Fatal(err)
		}
		s.signedIn("an old session of one enabled again", in.Token, false)
		if _, err := s.signIn(d); err != nil {
			t.Errorf("enabled again: %v", err)
		}
	})
}

func TestCeremoniesThatNobodyFinishesAreBoundedAndGo(t *testing.T) {
	limit := passkey.Caps.Ceremonies
	passkey.Caps.Ceremonies = 3
	defer func() { passkey.Caps.Ceremonies = limit }()
	each(t, func(t *testing.T, s *site) {
		for range 3 {
			if _, err := s.BeginSignIn(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.BeginSignIn(ctx); !errors.Is(err, fault.Unavailable) {
			t.Errorf("got %v", err)
		}
		s.clock = s.clock.Add(5 * time.Minute)
		if _, err := s.BeginSignIn(ctx); err != nil || s.count("ceremony") != 1 {
			t.Errorf("after they expired: %v, %d rows", err, s.count("ceremony"))
		}
	})
}
