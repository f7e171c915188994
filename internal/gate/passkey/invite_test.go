package passkey_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/gate/passkey"
)

func TestAnInvitationIsGoodOnceAndNotForLong(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		in, err := s.Invite(ctx, admin, bob)
		if err != nil || !in.Expires.Equal(s.clock.Add(72*time.Hour)) {
			t.Fatalf("%+v, %v", in, err)
		}
		if _, err := s.enrol(in.Token, newDevice()); err != nil {
			t.Fatal(err)
		}
		_, err = s.BeginEnrol(ctx, in.Token)
		s.denied("a used invitation", err)

		carol := passkey.Person{ID: "carol", Name: "Carol", Roles: []string{"auditor"}}
		in, _ = s.Invite(ctx, admin, carol)
		begun, _ := s.BeginEnrol(ctx, in.Token)
		s.clock = in.Expires
		_, err = s.enrol(in.Token, newDevice())
		s.denied("an expired invitation", err)
		_, err = s.FinishEnrol(ctx, begun.Ceremony, newDevice().create(t, begun.Options), "")
		s.denied("an enrolment that was begun in time", err)

		first, _ := s.Invite(ctx, admin, carol)
		second, err := s.Invite(ctx, admin, carol)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.enrol(first.Token, newDevice())
		s.denied("an invitation that a later one replaced", err)
		for _, token := range []string{"", "x", strings.Repeat("A", 43), second.Token + "=", " " + second.Token} {
			_, err = s.enrol(token, newDevice())
			s.denied("token "+token, err)
		}
		if _, err := s.enrol(second.Token, newDevice()); err != nil {
			t.Error(err)
		}
	})
}

func TestTwoWhoUseOneInvitationAtOnceGetOnePasskey(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		in, _ := s.Invite(ctx, admin, bob)
		var begun [8]passkey.Begun
		var answers [8][]byte
		for i := range begun {
			begun[i], _ = s.BeginEnrol(ctx, in.Token)
			answers[i] = newDevice().create(t, begun[i].Options)
		}
		var wg sync.WaitGroup
		for i := range begun {
			wg.Go(func() { s.FinishEnrol(ctx, begun[i].Ceremony, answers[i], "") })
		}
		wg.Wait()
		if n, sessions := s.count("credential"), s.count("session"); n != 1 || sessions != 1 {
			t.Errorf("%d passkeys and %d sessions", n, sessions)
		}
	})
}

func TestTokensOfOneKindAreNotTakenForAnother(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		in, _ := s.Invite(ctx, admin, bob)
		s.signedIn("an invitation as a session", in.Token, false)
		begun, _ := s.BeginEnrol(ctx, in.Token)
		_, err := s.BeginEnrol(ctx, begun.Ceremony)
		s.denied("a ceremony as an invitation", err)
		d := newDevice()
		signIn, _ := s.BeginSignIn(ctx)
		_, err = s.FinishEnrol(ctx, signIn.Ceremony, d.create(t, begun.Options), "")
		s.denied("a sign-in finished as an enrolment", err)
		_, err = s.FinishSignIn(ctx, begun.Ceremony, d.get(t, signIn.Options), "")
		s.denied("an enrolment finished as a sign-in", err)
		// Even a row that found its way into another table opens nothing there.
		if err := s.db.Write(ctx, func(tx *store.Tx) error {
			_, err := tx.ExecContext(ctx, "INSERT INTO session (hash, person, agent, made_at, seen_at, expires_at, revoked_at) SELECT hash, person, '', made_at, made_at, expires_at, 0 FROM invitation")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		s.signedIn("an invitation's row as a session's", in.Token, false)
		for _, table := range []string{"invitation", "ceremony", "session"} {
			var n int
			if err := s.db.QueryRow(ctx, "SELECT COUNT(*) FROM "+table+" WHERE hash IN ($1, $2)", in.Token, begun.Ceremony).Scan(&n); err != nil || n != 0 {
				t.Errorf("%s keeps a token as it is: %d, %v", table, n, err)
			}
		}
	})
}

func TestARecoveryReplacesPasskeysOnlyWhenItIsFinished(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		old, session := s.newcomer(bob)
		in, err := s.Recover(ctx, admin, "bob")
		if err != nil {
			t.Fatal(err)
		}
		s.guard.has(t, "ada person:recover person:bob allowed")
		s.signedIn("while the recovery is open", session.Token, true)
		if _, err := s.signIn(old); err != nil {
			t.Errorf("the old passkey while the recovery is open: %v", err)
		}
		found := newDevice()
		fresh, err := s.enrol(in.Token, found)
		if err != nil {
			t.Fatal(err)
		}
		s.guard.has(t, "bob passkey:replace person:bob allowed")
		s.signedIn("the old session", session.Token, false)
		s.signedIn("the new session", fresh.Token, true)
		_, err = s.signIn(old)
		s.denied("the lost passkey", err)
		if _, err := s.signIn(found); err != nil {
			t.Error(err)
		}
		if _, err := s.Recover(ctx, admin, "nobody"); !errors.Is(err, fault.NotFound) {
			t.Errorf("recovering nobody: %v", err)
		}
	})
}

func TestAnAdminDoesNotRecoverOrDisableHimself(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.newcomer(admin)
		_, err := s.Recover(ctx, admin, "ada")
		s.denied("recovering himself", err)
		s.guard.has(t, "ada person:recover person:ada refused")
		s.denied("disabling himself", s.Disable(ctx, admin, "ada"))
		if s.count("invitation WHERE used_at = 0") != 0 {
			t.Error("there is an open invitation")
		}
		other := passkey.Person{ID: "eve", Name: "Eve", Roles: []string{"admin"}}
		if _, err := s.Recover(ctx, other, "ada"); err != nil {
			t.Errorf("another admin: %v", err)
		}
	})
}

// The policies' own matrix is in package policy; this is that nothing here
// happens without asking.
func TestEveryPrivilegedCallIsRefusedToEverybodyElse(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		_, session := s.newcomer(bob)
		tables := []string{"person", "invitation", "credential", "session WHERE revoked_at = 0", "person WHERE disabled = 1"}
		var before []int
		for _, table := range tables {
			before = append(before, s.count(table))
		}
		for _, actor := range []passkey.Person{{}, bob, {ID: "aud", Name: "Aud", Roles: []string{"auditor"}}, {ID: "x", Name: "X"}} {
			for name, call := range map[string]func() error{
				"person:invite":  func() error { _, err := s.Invite(ctx, actor, passkey.Person{ID: "new", Name: "New"}); return err },
				"person:recover": func() error { _, err := s.Recover(ctx, actor, "bob"); return err },
				"person:list":    func() error { _, err := s.People(ctx, actor, "", 10); return err },
				"session:revoke": func() error { return s.RevokeSessions(ctx, actor, "bob") },
				"sessions":       func() error { _, err := s.Sessions(ctx, actor, "bob"); return err },
				"disable":        func() error { return s.Disable(ctx, actor, "bob") },
				"enable":         func() error { return s.Enable(ctx, actor, "bob") },
			} {
				s.denied(actor.ID+" "+name, call())
			}
		}
		for i, table := range tables {
			if n := s.count(table); n != before[i] {
				t.Errorf("%s: %d rows, before %d", table, n, before[i])
			}
		}
		s.signedIn("bob", session.Token, true)
		s.guard.has(t, "bob person:recover person:bob refused")
	})
}

func TestBadPeopleAreNotInvited(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		for _, p := range []passkey.Person{
			{}, {ID: "Bob", Name: "B"}, {ID: passkey.Console, Name: "B"}, {ID: "b"}, {ID: "b", Name: "a\nb"},
			{ID: "b", Name: strings.Repeat("x", 201)}, {ID: "b", Name: "B", Roles: []string{"root"}},
		} {
			if _, err := s.Invite(ctx, admin, p); !errors.Is(err, fault.Invalid) {
				t.Errorf("%+v: %v", p, err)
			}
		}
		s.newcomer(bob)
		if _, err := s.Invite(ctx, admin, passkey.Person{ID: "bob", Name: "Bob", Roles: []string{"admin"}}); !errors.Is(err, fault.Conflict) {
			t.Errorf("inviting one who has a passkey: %v", err)
		}
	})
}

func TestTheOperatorInvitesTheFirstAdminAndRecoversTheLast(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		in, err := s.InviteFromConsole(ctx, admin)
		if err != nil {
			t.Fatal(err)
		}
		lost := newDevice()
		if _, err := s.enrol(in.Token, lost); err != nil {
			t.Fatal(err)
		}
		s.guard.has(t, "@console person:invite person:ada allowed")
		if in, err = s.InviteFromConsole(ctx, admin); err != nil {
			t.Fatal(err)
		}
		if _, err := s.enrol(in.Token, newDevice()); err != nil {
			t.Fatal(err)
		}
		s.guard.has(t, "@console person:recover person:ada allowed")
		_, err = s.signIn(lost)
		s.denied("the lost passkey", err)
	})
}

func TestPeopleAreListedInPages(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.newcomer(bob)
		for _, id := range []string{"carol", "dave"} {
			if _, err := s.Invite(ctx, admin, passkey.Person{ID: id, Name: id, Roles: []string{"auditor", "admin", "auditor"}}); err != nil {
				t.Fatal(err)
			}
		}
		page, err := s.People(ctx, admin, "", 2)
		if err != nil || len(page) != 2 || page[0].ID != "bob" || page[0].Passkeys != 1 || page[1].Passkeys != 0 || strings.Join(page[1].Roles, ",") != "admin,auditor" {
			t.Fatalf("%+v, %v", page, err)
		}
		if page, err = s.People(ctx, admin, page[1].ID, 2); err != nil || len(page) != 1 || page[0].ID != "dave" {
			t.Fatalf("%+v, %v", page, err)
		}
	})
}

func TestADeedThatCanNotBeRecordedDoesNotHappen(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		d, in := s.newcomer(bob)
		recover, err := s.Recover(ctx, admin, "bob")
		if err != nil {
			t.Fatal(err)
		}
		begun, _ := s.BeginEnrol(ctx, recover.Token)
		s.guard.broken = errors.New("the disk is full")
		calls := map[string]error{
			"invite":   second(s.Invite(ctx, admin, passkey.Person{ID: "new", Name: "New"})),
			"recover":  second(s.Recover(ctx, admin, "bob")),
			"disable":  s.Disable(ctx, admin, "bob"),
			"revoke":   s.RevokeSessions(ctx, admin, "bob"),
			"sign out": s.SignOut(ctx, in.Token),
			"sign in":  second(s.signIn(d)),
			"enrol":    second(s.FinishEnrol(ctx, begun.Ceremony, newDevice().create(t, begun.Options), "")),
			"list":     second(s.People(ctx, admin, "", 1)),
		}
		for name, err := range calls {
			if !errors.Is(err, s.guard.broken) {
				t.Errorf("%s: %v", name, err)
			}
		}
		s.guard.broken = nil
		s.signedIn("bob", in.Token, true)
		if _, err := s.signIn(d); err != nil {
			t.Errorf("the old passkey: %v", err)
		}
		if n := s.count("person"); n != 1 {
			t.Errorf("%d people", n)
		}
		if _, err := s.enrol(recover.Token, newDevice()); err != nil {
			t.Errorf("the invitation is still good: %v", err)
		}
	})
}
