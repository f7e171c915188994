package keyring

import (
	"context"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// Speaker says key statements: it holds the root of trust in force and enough
// unlocked root keys.
type Speaker struct {
	Trust *verify.Trust
	Roots []*Key
	Now   func() time.Time
}

// Grant gives key its role for products, from the statement's entry on.
func (s *Speaker) Grant(ctx context.Context, tx *store.Tx, key Public, products []string) (int64, error) {
	return s.sign(ctx, tx, Granting(key, products))
}

// Retire takes the role from key; what it signed before stands.
func (s *Speaker) Retire(ctx context.Context, tx *store.Tx, key Public, products []string, reason string) (int64, error) {
	return s.sign(ctx, tx, about(statement.KeyRetire, key, products, reason))
}

// Revoke makes everything that key signed at entry since or later unbelievable.
func (s *Speaker) Revoke(ctx context.Context, tx *store.Tx, key Public, products []string, since int64, reason string) (int64, error) {
	return s.sign(ctx, tx, Revoking(key, products, since, reason))
}

// Granting is what Grant says.
func Granting(key Public, products []string) statement.Key {
	return about(statement.KeyGrant, key, products, "")
}

// Revoking is what Revoke says.
func Revoking(key Public, products []string, since int64, reason string) statement.Key {
	k := about(statement.KeyRevoke, key, products, reason)
	k.Since = since
	return k
}

func about(action string, key Public, products []string, reason string) statement.Key {
	return statement.Key{Action: action, KeyID: key.KeyID, Public: key.Public, Role: key.Role, Holder: key.Holder, Products: products, Reason: reason}
}

// Payload is the exact statement that root keys sign.
func Payload(k statement.Key, now time.Time) ([]byte, error) {
	k.At = now.UTC().Format(time.RFC3339)
	payload, err := statement.New([]statement.Subject{statement.KeySubject(k.Public)}, &k)
	if err != nil {
		return nil, fault.Invalid.New("stating that a key's role changes: %w", err)
	}
	return payload, nil
}

func (s *Speaker) sign(ctx context.Context, tx *store.Tx, k statement.Key) (int64, error) {
	payload, err := Payload(k, s.Now())
	if err != nil {
		return 0, err
	}
	var signers []statement.Signer
	for _, r := range s.Roots {
		signers = append(signers, r)
	}
	e, err := statement.Sign(payload, signers...)
	if err != nil {
		return 0, err
	}
	return s.Say(ctx, tx, e)
}

// Say says a key statement that root keys have signed, here or elsewhere.
func (s *Speaker) Say(ctx context.Context, tx *store.Tx, e *statement.Envelope) (int64, error) {
	n, err := tx.Say(ctx, e, s.Now())
	if err != nil {
		return 0, err
	}
	raw, err := e.Format()
	if err != nil {
		return 0, err
	}
	entry, err := verify.ParseEntry(n, raw)
	if err != nil {
		return 0, err
	}
	if entry.Statement.PredicateType != statement.KeyType {
		return 0, fault.Invalid.New("stating that a key's role changes: this is a %s statement", entry.Statement.Kind())
	}
	// The stranger's check is our check: too few or wrong root keys fail here,
	// before anything is committed.
	if _, err := s.Trust.NewAuthority([]verify.Entry{entry}); err != nil {
		return 0, fault.Denied.New("stating that a key's role changes: %w", err)
	}
	return n, nil
}

// State is what the log says of a key in one role.
type State struct {
	Key    statement.Key // the latest statement about it
	Entry  int64
	Active bool
}

// States reads what was said of every key, the latest statement for each key
// and role, in the order of their first statements.
func States(ctx context.Context, db *store.DB) ([]State, error) {
	var states []State
	err := Each(ctx, db, "key", func(e verify.Entry) error {
		k, err := statement.As(e.Statement, &statement.Key{})
		if err != nil {
			return fault.Tampered.New("reading key statement %d: %w", e.Index, err)
		}
		states = update(states, State{*k, e.Index, k.Action == statement.KeyGrant})
		return nil
	})
	return states, err
}

func update(states []State, s State) []State {
	for i, old := range states {
		if old.Key.KeyID == s.Key.KeyID && old.Key.Role == s.Key.Role {
			states[i] = s
			return states
		}
	}
	return append(states, s)
}

// AuthorityNow is [Authority] under the newest of all versions of the root.
func AuthorityNow(ctx context.Context, db *store.DB, roots func() ([][]byte, error)) (*verify.Authority, error) {
	all, err := roots()
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fault.Unavailable.New("there is no trusted root yet")
	}
	t, err := verify.ParseTrust(all[len(all)-1])
	if err != nil {
		return nil, err
	}
	return Authority(ctx, db, t)
}

// Authority reads all key and revocation statements: who may say what, now.
func Authority(ctx context.Context, db *store.DB, trust *verify.Trust) (*verify.Authority, error) {
	var all []verify.Entry
	for _, kind := range []string{"key", "revocation"} {
		if err := Each(ctx, db, kind, func(e verify.Entry) error {
			all = append(all, e)
			return nil
		}); err != nil {
			return nil, err
		}
	}
	a, err := trust.NewAuthority(all)
	if err != nil {
		return nil, fault.Tampered.New("reading who may say what: %w", err)
	}
	return a, nil
}

// Each calls do for every statement of a kind, in the log's order.
func Each(ctx context.Context, db *store.DB, kind string, do func(verify.Entry) error) error {
	after := int64(-1)
	for {
		said, err := db.Find(ctx, store.Filter{Kind: kind, After: &after, Limit: 500})
		if err != nil {
			return err
		}
		if len(said) == 0 {
			return nil
		}
		for i := len(said) - 1; i >= 0; i-- { // Find gives the newest first
			e, err := verify.ParseEntry(said[i].N, said[i].Envelope)
			if err != nil {
				return fault.Tampered.New("reading the statement %d: %w", said[i].N, err)
			}
			if err := do(e); err != nil {
				return err
			}
			after = max(after, e.Index)
		}
	}
}
