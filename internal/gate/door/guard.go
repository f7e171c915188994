package door

import (
	"context"
	"sync/atomic"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/gate/audit"
	"clerestory.dev/clerestory/internal/gate/passkey"
	"clerestory.dev/clerestory/internal/gate/policy"
)

// Guard asks the policies and records what they said. Rooms declare the methods
// that they need of it as an interface of their own.
//
// A refusal to a person is recorded; one to a visitor is not: he has no id, and
// anybody could fill the trail. Reading what is published is no privilege and is
// not recorded when it is permitted.
type Guard struct {
	policies atomic.Pointer[policy.Set]
	trail    *audit.Trail
}

// NewGuard joins policies and an audit trail.
func NewGuard(policies *policy.Set, trail *audit.Trail) *Guard {
	g := &Guard{trail: trail}
	g.policies.Store(policies)
	return g
}

// Replace puts other policies in force, from the next question on.
func (g *Guard) Replace(policies *policy.Set) { g.policies.Store(policies) }

// Decide asks the policies and records nothing: to show what somebody could do.
func (g *Guard) Decide(actor passkey.Person, action, object string, attrs map[string]any) policy.Decision {
	if actor.Disabled {
		return policy.Decision{Reason: "this account is disabled"}
	}
	return g.policies.Load().Authorize(policy.Request{Principal: actor.ID, Roles: actor.Roles, Action: action, Resource: object, ResourceAttrs: attrs})
}

// Permit decides on a deed that has a transaction. A refusal is Denied and is
// recorded at once, so Permit is called before the transaction; a permission
// comes with record, which is run first in it (and before store.Tx.Say).
func (g *Guard) Permit(ctx context.Context, actor passkey.Person, action, object string, attrs map[string]any) (record func(context.Context, *store.Tx) error, err error) {
	e, err := g.ask(ctx, actor, action, object, attrs)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, tx *store.Tx) error { return g.trail.Record(ctx, tx, e) }, nil
}

// Allow decides on a deed without a transaction, for example reading a draft,
// and records it. When the record can not be written the deed is off.
func (g *Guard) Allow(ctx context.Context, actor passkey.Person, action, object string, attrs map[string]any) error {
	e, err := g.ask(ctx, actor, action, object, attrs)
	if err != nil {
		return err
	}
	if published, _ := attrs["published"].(bool); published && action == "statement:read" {
		return nil
	}
	return g.trail.RecordAlone(ctx, e)
}

// ask decides, records a refusal, and returns what a permission is recorded as.
func (g *Guard) ask(ctx context.Context, actor passkey.Person, action, object string, attrs map[string]any) (audit.Event, error) {
	d := g.Decide(actor, action, object, attrs)
	e := audit.Event{Actor: actor.ID, Action: action, Object: object, Allowed: d.Allowed, Policies: d.Policies}
	if d.Allowed {
		return e, nil
	}
	if !actor.IsVisitor() {
		if err := g.trail.RecordAlone(ctx, e); err != nil {
			return e, err
		}
	}
	return e, fault.Denied.New("%s is not allowed: %s", action, d.Reason)
}

// Note records what no policy decides; tx may be nil.
func (g *Guard) Note(ctx context.Context, tx *store.Tx, actor, action, object string, allowed bool) error {
	e := audit.Event{Actor: actor, Action: action, Object: object, Allowed: allowed}
	if tx == nil {
		return g.trail.RecordAlone(ctx, e)
	}
	return g.trail.Record(ctx, tx, e)
}
