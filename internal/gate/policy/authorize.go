package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
)

// Request asks whether somebody may do something.
type Request struct {
	// Principal is the person's id; empty is a visitor who has not signed in.
	Principal string
	Roles     []string // Public need not be among them: everybody has it
	Action    string   // one of Actions
	// Resource is kind:id, for example "person:alice" or "release:app/1.2". A
	// policy sees it as Person::"alice"; one without a kind as Resource::"…".
	Resource string
	// ResourceAttrs and Context hold string, bool, int, int64 or []string.
	ResourceAttrs map[string]any
	Context       map[string]any
}

// Decision is the answer.
type Decision struct {
	Allowed  bool
	Policies []string // ids of the policies that determined it, sorted
	Reason   string   // one sentence for people
}

// Authorize decides. It is deterministic and may be called concurrently.
func (s *Set) Authorize(r Request) Decision {
	if !knownAction(r.Action) {
		return Decision{Reason: fmt.Sprintf("there is no action %q", r.Action)}
	}
	principal, resource := principalOf(r.Principal), resourceOf(r.Resource)
	attrs, err := record(r.ResourceAttrs)
	if err != nil {
		return Decision{Reason: fmt.Sprintf("the resource's attributes can not be judged: %v", err)}
	}
	context, err := record(r.Context)
	if err != nil {
		return Decision{Reason: fmt.Sprintf("the request's context can not be judged: %v", err)}
	}
	roles := []cedar.EntityUID{cedar.NewEntityUID("Role", Public)}
	for _, role := range r.Roles {
		if r.Principal == "" {
			break // a visitor has no other role, whatever the caller says
		}
		roles = append(roles, cedar.NewEntityUID("Role", cedar.String(role)))
	}
	entities := cedar.EntityMap{}
	entities[resource] = cedar.Entity{UID: resource, Attributes: attrs}
	// The principal comes last: where somebody acts on himself, his roles count.
	entities[principal] = cedar.Entity{UID: principal, Parents: cedar.NewEntityUIDSet(roles...), Attributes: entities[principal].Attributes}
	_, diagnostic := cedar.Authorize(s.cedar, entities, cedar.Request{
		Principal: principal, Action: cedar.NewEntityUID("Action", cedar.String(r.Action)), Resource: resource, Context: context,
	})
	return s.decide(diagnostic)
}

// decide is stricter than Cedar, which skips a policy that fails: a forbid that
// can not be evaluated must not turn into a permission.
func (s *Set) decide(d cedar.Diagnostic) Decision {
	var ids []string
	if len(d.Errors) > 0 {
		for _, e := range d.Errors {
			ids = append(ids, string(e.PolicyID))
		}
		slices.Sort(ids)
		return Decision{Policies: ids, Reason: "a policy could not be evaluated: " + strings.Join(ids, ", ")}
	}
	if len(d.Reasons) == 0 {
		return Decision{Reason: "no policy permits it"}
	}
	for _, reason := range d.Reasons {
		ids = append(ids, string(reason.PolicyID))
	}
	slices.Sort(ids)
	// Cedar lists either only the permits or only the forbids.
	first := s.rule(cedar.PolicyID(ids[0]))
	decision := Decision{Allowed: first.Effect == "permit", Policies: ids, Reason: first.Reason}
	if decision.Reason == "" {
		decision.Reason = fmt.Sprintf("policy %s says %s", first.ID, first.Effect)
	}
	return decision
}

func principalOf(id string) cedar.EntityUID {
	if id == "" {
		return cedar.NewEntityUID("Visitor", "visitor")
	}
	return cedar.NewEntityUID("Person", cedar.String(id))
}

func resourceOf(name string) cedar.EntityUID {
	kind, id, found := strings.Cut(name, ":")
	if !found || kind == "" || strings.Trim(kind, "abcdefghijklmnopqrstuvwxyz") != "" {
		return cedar.NewEntityUID("Resource", cedar.String(name))
	}
	return cedar.NewEntityUID(cedar.EntityType(strings.ToUpper(kind[:1])+kind[1:]), cedar.String(id))
}

func record(values map[string]any) (cedar.Record, error) {
	m := cedar.RecordMap{}
	for name, value := range values {
		switch v := value.(type) {
		case string:
			m[cedar.String(name)] = cedar.String(v)
		case bool:
			m[cedar.String(name)] = cedar.Boolean(v)
		case int:
			m[cedar.String(name)] = cedar.Long(v)
		case int64:
			m[cedar.String(name)] = cedar.Long(v)
		case []string:
			var set []cedar.Value
			for _, s := range v {
				set = append(set, cedar.String(s))
			}
			m[cedar.String(name)] = cedar.NewSet(set...)
		default:
			return cedar.Record{}, fmt.Errorf("%s is a %T", name, value)
		}
	}
	return cedar.NewRecord(m), nil
}
