package passkey_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store/storetest"
	"clerestory.dev/clerestory/internal/gate/passkey"
)

func TestASessionEndsAfterTwelveHoursHoweverBusy(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		_, in := s.newcomer(bob)
		for s.clock.Before(in.Expires.Add(-10 * time.Minute)) {
			s.clock = s.clock.Add(10 * time.Minute)
			s.signedIn(s.clock.String(), in.Token, s.clock.Before(in.Expires))
		}
		s.clock = in.Expires.Add(-time.Millisecond)
		s.signedIn("just before", in.Token, true)
		s.clock = in.Expires
		s.signedIn("at its end", in.Token, false)
	})
}

func TestAnIdleSessionEnds(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		_, in := s.newcomer(bob)
		s.clock = s.clock.Add(30*time.Minute - time.Millisecond)
		s.signedIn("just before", in.Token, true)
		s.clock = s.clock.Add(29 * time.Minute)
		s.signedIn("a request keeps it", in.Token, true)
		s.clock = s.clock.Add(30 * time.Minute)
		s.signedIn("half an hour without one", in.Token, false)
	})
}

func TestRevokingEndsSessionsAtOnce(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		d, one := s.newcomer(bob)
		two, err := s.signIn(d)
		if err != nil {
			t.Fatal(err)
		}
		_, others := s.newcomer(passkey.Person{ID: "carol", Name: "Carol"})
		if open, err := s.Sessions(ctx, admin, "bob"); err != nil || len(open) != 2 || !open[0].Expires.Equal(two.Expires) || !open[0].Seen.Equal(s.clock) {
			t.Errorf("%+v, %v", open, err)
		}
		if err := s.SignOut(ctx, one.Token); err != nil {
			t.Fatal(err)
		}
		s.guard.has(t, "bob session:sign-out person:bob allowed")
		s.signedIn("signed out", one.Token, false)
		s.signedIn("the other browser", two.Token, true)
		if err := s.RevokeSessions(ctx, admin, "bob"); err != nil {
			t.Fatal(err)
		}
		s.guard.has(t, "ada session:revoke person:bob allowed")
		s.signedIn("revoked", two.Token, false)
		if open, err := s.Sessions(ctx, admin, "bob"); err != nil || len(open) != 0 {
			t.Errorf("%+v, %v", open, err)
		}
		s.signedIn("somebody else", others.Token, true)
		if err := s.SignOut(ctx, "rubbish"); err != nil {
			t.Errorf("signing out nobody: %v", err)
		}
		if err := s.RevokeSessions(ctx, admin, "nobody"); !errors.Is(err, fault.NotFound) {
			t.Errorf("revoking nobody: %v", err)
		}
	})
}

func TestDemoIdentitiesExistOnlyWhenAskedForByName(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		db := storetest.Open(t, dsn)
		demo := open(t, db, passkey.Person{ID: "demo-approver", Name: "Demo", Roles: []string{"approver"}})
		if !strings.Contains(demo.log.String(), "UNSAFE") {
			t.Error("the log does not warn")
		}
		in, err := demo.DemoSignIn(ctx, "demo-approver", "")
		if err != nil {
			t.Fatal(err)
		}
		demo.signedIn("demo", in.Token, true)
		demo.guard.has(t, "demo-approver session:demo-sign-in person:demo-approver allowed")
		demo.newcomer(bob)
		if _, err := demo.DemoSignIn(ctx, "bob", ""); !errors.Is(err, fault.NotFound) {
			t.Errorf("a real person: %v", err)
		}
		for name, err := range map[string]error{
			"invite":  second(demo.Invite(ctx, admin, passkey.Person{ID: "demo-approver", Name: "D"})),
			"recover": second(demo.Recover(ctx, admin, "demo-approver")),
		} {
			if !errors.Is(err, fault.Conflict) {
				t.Errorf("%s a demo identity: %v", name, err)
			}
		}

		cfg := demo.cfg
		cfg.UnsafeDemoIdentities = []passkey.Person{bob}
		if _, err := passkey.New(ctx, db, cfg); !errors.Is(err, fault.Conflict) {
			t.Errorf("a real person as a demo identity: %v", err)
		}
		plain := open(t, db)
		if _, err := plain.DemoSignIn(ctx, "demo-approver", ""); !errors.Is(err, fault.NotFound) || len(plain.DemoPeople()) != 0 {
			t.Errorf("without the option: %v", err)
		}
		plain.signedIn("a demo session after the option was taken away", in.Token, false)
	})
}

func second[T any](_ T, err error) error { return err }

func TestAConfigurationThatBrowsersWouldRefuseIsRefused(t *testing.T) {
	s := open(t, storetest.Open(t, t.TempDir()+"/db"))
	for name, spoil := range map[string]func(*passkey.Config){
		"plain http":     func(c *passkey.Config) { c.Origins = []string{"http://trust.example.com"} },
		"a path":         func(c *passkey.Config) { c.Origins = []string{"https://trust.example.com/"} },
		"no origin":      func(c *passkey.Config) { c.Origins = nil },
		"no host":        func(c *passkey.Config) { c.RPID = "" },
		"host with port": func(c *passkey.Config) { c.RPID = "trust.example.com:8443" },
		"no guard":       func(c *passkey.Config) { c.Guard = nil },
		"no clock":       func(c *passkey.Config) { c.Now = nil },
	} {
		cfg := s.cfg
		spoil(&cfg)
		if _, err := passkey.New(ctx, s.db, cfg); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	local := s.cfg
	local.RPID, local.Origins = "localhost", []string{"http://localhost:8080"}
	if _, err := passkey.New(ctx, s.db, local); err != nil {
		t.Errorf("localhost: %v", err)
	}
}

func FuzzToken(f *testing.F) {
	f.Add(passkey.Token{1, 2, 3}.String())
	f.Add(strings.Repeat("A", 42) + "B") // bits beyond the last byte
	f.Add(strings.Repeat("A", 42) + "\n")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := passkey.ParseToken(text)
		if err == nil && token.String() != text {
			t.Fatalf("%q is a second text of %q", text, token)
		}
		if err != nil && (!errors.Is(err, fault.Denied) || !bytes.Equal(token[:], make([]byte, 32))) {
			t.Fatalf("%q: %v, %v", text, token, err)
		}
	})
}
