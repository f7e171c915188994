package passkey

import (
	"context"
	"errors"
	"slices"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
)

// writeDemoIdentities makes the demo people. One who is somebody real, who was
// invited or has a passkey, is refused: a demo must not take over an account.
func (s *Service) writeDemoIdentities(ctx context.Context) error {
	if len(s.cfg.UnsafeDemoIdentities) == 0 {
		return nil
	}
	s.cfg.Log.WarnContext(ctx, "UNSAFE: anybody may sign in as a demo identity, without a passkey", "identities", len(s.cfg.UnsafeDemoIdentities))
	s.cfg.UnsafeDemoIdentities = slices.Clone(s.cfg.UnsafeDemoIdentities)
	now := s.cfg.Now()
	return s.write(ctx, "writing the demo identities", func(tx *store.Tx) error {
		for i, p := range s.cfg.UnsafeDemoIdentities {
			p, err := s.checkPerson(p)
			if err != nil {
				return err
			}
			s.cfg.UnsafeDemoIdentities[i] = p
			old, err := findPerson(ctx, tx, p.ID)
			if err == nil && !old.demo {
				return fault.Conflict.New("%s is a real person and can not be a demo identity", p.ID)
			}
			if err != nil && !errors.Is(err, fault.NotFound) {
				return err
			}
			if err := s.putPerson(ctx, tx, p, true, now); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Service) isDemo(id string) bool {
	return slices.ContainsFunc(s.cfg.UnsafeDemoIdentities, func(p Person) bool { return p.ID == id })
}

// DemoPeople lists the demo identities; there are none unless the service was
// built with Config.UnsafeDemoIdentities.
func (s *Service) DemoPeople() []Person { return slices.Clone(s.cfg.UnsafeDemoIdentities) }

// DemoSignIn signs anybody in as a demo identity. Without
// Config.UnsafeDemoIdentities it is NotFound, like for anybody who is not one.
func (s *Service) DemoSignIn(ctx context.Context, id, userAgent string) (SignedIn, error) {
	if !s.isDemo(id) {
		return SignedIn{}, fault.NotFound.New("there is no demo identity of this name")
	}
	now := s.cfg.Now()
	var in SignedIn
	err := s.write(ctx, "signing in as a demo identity", func(tx *store.Tx) error {
		if err := s.cfg.Guard.Note(ctx, tx, id, "session:demo-sign-in", "person:"+id, true); err != nil {
			return err
		}
		p, err := findPerson(ctx, tx, id)
		if err != nil {
			return err
		}
		if p.Disabled {
			return errDisabled
		}
		in, err = s.openSession(ctx, tx, p.Person, userAgent, now)
		return err
	})
	if err != nil {
		return SignedIn{}, err
	}
	return in, nil
}
