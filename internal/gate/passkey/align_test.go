package passkey_test

import (
	"slices"
	"testing"

	"clerestory.dev/clerestory/internal/gate/passkey"
)

func TestPeopleFollowTheProgramme(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		d, in := s.newcomer(bob)
		_, guest := s.newcomer(passkey.Person{ID: "guest", Name: "Guest", Roles: bob.Roles})
		align := func(named ...passkey.Person) {
			t.Helper()
			if err := s.Align(ctx, named); err != nil {
				t.Fatal(err)
			}
		}
		align(passkey.Person{ID: "bob", Roles: []string{"auditor"}}, passkey.Person{ID: "not-here-yet"})
		if p, err := s.Session(ctx, in.Token); err != nil || !slices.Equal(p.Roles, []string{"auditor"}) {
			t.Fatalf("a role that was taken away still works: %v, %v", p.Roles, err)
		}
		before := len(s.guard.notes)
		align(passkey.Person{ID: "bob", Roles: []string{"auditor"}})
		if len(s.guard.notes) != before {
			t.Error("nothing changed, and yet it was recorded")
		}
		align()
		s.signedIn("whom the programme names no more", in.Token, false)
		_, err := s.signIn(d)
		s.denied("whom the programme names no more", err)
		s.signedIn("somebody it never named", guest.Token, true)
		if err := s.Align(ctx, []passkey.Person{{ID: "bob", Roles: []string{"king"}}}); err == nil {
			t.Error("a role that does not exist was given")
		}
	})
}
