package passkey_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/gate/passkey"
)

const (
	approve = "release:approve"
	lantern = "release:lantern/1.4.0"
)

// touch asks for a touch and answers it, as a form would carry it.
func (s *site) touch(d *device, p passkey.Person, action, object string) string {
	s.t.Helper()
	begun, err := s.BeginTouch(ctx, p, action, object)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.answer(begun, d)
}

func (s *site) answer(begun passkey.Begun, d *device) string {
	s.t.Helper()
	b, err := json.Marshal(map[string]any{"ceremony": begun.Ceremony, "credential": json.RawMessage(d.get(s.t, begun.Options))})
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

func TestATouchIsGoodOnceForOneActionOnOneObject(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		d, _ := s.newcomer(bob)
		answer := s.touch(d, bob, approve, lantern)
		if err := s.Touch(ctx, bob, approve, lantern, answer); err != nil {
			t.Fatalf("%v\n%s", err, s.log.String())
		}
		s.guard.has(t, "bob session:touch "+approve+" "+lantern+" allowed")
		s.denied("the same touch again", s.Touch(ctx, bob, approve, lantern, answer))
		s.denied("a touch for another object", s.Touch(ctx, bob, approve, "release:lantern/1.5.0", s.touch(d, bob, approve, lantern)))
		s.denied("a touch for another action", s.Touch(ctx, bob, "release:publish", lantern, s.touch(d, bob, approve, lantern)))
		s.guard.has(t, "bob session:touch release:publish "+lantern+" refused")
		s.denied("no touch", s.Touch(ctx, bob, approve, lantern, ""))
		s.denied("a visitor", s.Touch(ctx, passkey.Person{}, approve, lantern, answer))
	})
}

func TestATouchEndsAfterAMinute(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		d, _ := s.newcomer(bob)
		answer := s.touch(d, bob, approve, lantern)
		s.clock = s.clock.Add(time.Minute)
		s.denied("a touch a minute ago", s.Touch(ctx, bob, approve, lantern, answer))
	})
}

// Somebody who holds a stolen session has no passkey of its person.
func TestAnotherPersonsPasskeyIsNoTouch(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		d, _ := s.newcomer(bob)
		carol := passkey.Person{ID: "carol", Name: "Carol", Roles: []string{"approver"}}
		other, _ := s.newcomer(carol)
		begun, err := s.BeginTouch(ctx, bob, approve, lantern)
		if err != nil {
			t.Fatal(err)
		}
		s.denied("carol's passkey for bob", s.Touch(ctx, bob, approve, lantern, s.answer(begun, other)))
		s.guard.has(t, "bob session:touch "+approve+" "+lantern+" refused")
		s.denied("bob's touch in carol's session", s.Touch(ctx, carol, approve, lantern, s.touch(d, bob, approve, lantern)))

		signIn, err := s.BeginSignIn(ctx)
		if err != nil {
			t.Fatal(err)
		}
		s.denied("an answer to a sign-in", s.Touch(ctx, bob, approve, lantern, s.answer(signIn, d)))
		touch, err := s.BeginTouch(ctx, bob, approve, lantern)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.FinishSignIn(ctx, touch.Ceremony, d.get(t, touch.Options), "")
		s.denied("a touch as a sign-in", err)
	})
}

func TestAClonedOrUnverifiedPasskeyIsNoTouch(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		d, _ := s.newcomer(bob)
		spoiled := *d
		spoiled.auth.Options.UserNotVerified = true
		s.denied("without PIN or finger", s.Touch(ctx, bob, approve, lantern, s.touch(&spoiled, bob, approve, lantern)))
		clone := *d
		if err := s.Touch(ctx, bob, approve, lantern, s.touch(d, bob, approve, lantern)); err != nil {
			t.Fatal(err)
		}
		s.denied("a counter that went back", s.Touch(ctx, bob, approve, lantern, s.touch(&clone, bob, approve, lantern)))
	})
}

func TestNonsenseInPlaceOfATouchIsRefusedInWords(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		d, _ := s.newcomer(bob)
		if err := s.Touch(ctx, bob, approve, lantern, "yes"); !errors.Is(err, fault.Invalid) {
			t.Errorf("not JSON: %v", err)
		}
		s.denied("an empty object", s.Touch(ctx, bob, approve, lantern, "{}"))
		begun, err := s.BeginTouch(ctx, bob, approve, lantern)
		if err != nil {
			t.Fatal(err)
		}
		s.denied("no credential", s.Touch(ctx, bob, approve, lantern, `{"ceremony":"`+begun.Ceremony+`","credential":{}}`))
		s.denied("the answer after it", s.Touch(ctx, bob, approve, lantern, s.answer(begun, d)))
		for _, object := range []string{"", "two\nlines"} {
			if _, err := s.BeginTouch(ctx, bob, approve, object); !errors.Is(err, fault.Invalid) {
				t.Errorf("the object %q: %v", object, err)
			}
		}
	})
}

func TestADemoPersonIsNotAskedAndThatIsRecorded(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		demo := open(t, s.db, bob)
		if demo.AsksTouch(bob) {
			t.Error("a demo person would be asked for a passkey that he can not have")
		}
		if err := demo.Touch(ctx, bob, approve, lantern, ""); err != nil {
			t.Fatal(err)
		}
		demo.guard.has(t, "bob session:demo-touch "+approve+" "+lantern+" allowed")
		_, err := demo.BeginTouch(ctx, bob, approve, lantern)
		demo.denied("a touch without a passkey", err)
		s.denied("the demo person where there is no demonstration", s.Touch(ctx, bob, approve, lantern, ""))
	})
}
