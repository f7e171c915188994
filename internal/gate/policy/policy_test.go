package policy_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/gate/policy"
)

func load(t testing.TB, text string) (*policy.Set, error) {
	t.Helper()
	return policy.Load(fstest.MapFS{"a.cedar": {Data: []byte(text)}})
}

func defaults(t testing.TB) *policy.Set {
	t.Helper()
	set, err := policy.Load(policy.Default())
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// The whole default programme in one table: an action that is not in a role's
// column is refused to it.
func TestEveryActionIsRefusedToEveryRoleThatIsNotNamed(t *testing.T) {
	set := defaults(t)
	allowed := map[string][]string{
		"statement:read":     {"approver", "release-engineer", "auditor", "duty-officer"}, // unpublished ones
		"release:read-draft": {"approver", "release-engineer", "auditor", "duty-officer"},
		"release:propose":    {"release-engineer"},
		"release:approve":    {"approver", "duty-officer"},
		"release:publish":    {"release-engineer"},
		"report:read":        {"security"},
		"report:step":        {"security"},
		"person:invite":      {"admin"},
		"person:recover":     {"admin"},
		"person:list":        {"admin", "auditor"},
		"session:revoke":     {"admin"},
		"audit:read":         {"auditor"},
		"policy:read":        {"auditor"},
	}
	if len(allowed) != len(policy.Actions) {
		t.Fatalf("the table has %d actions, the house %d", len(allowed), len(policy.Actions))
	}
	for _, action := range policy.Actions {
		for _, role := range append(slices.Clone(policy.Roles), "no-such-role") {
			for principal, can := range map[string]bool{"alice": slices.Contains(allowed[action.Name], role), "": false} {
				d := set.Authorize(policy.Request{Principal: principal, Roles: []string{role}, Action: action.Name, Resource: "thing:one"})
				if d.Allowed != can || d.Reason == "" || can && len(d.Policies) == 0 {
					t.Errorf("%q as %s, %s: %+v, want %v", principal, role, action.Name, d, can)
				}
			}
		}
		d := set.Authorize(policy.Request{Principal: "alice", Action: action.Name, Resource: "thing:one"})
		if d.Allowed {
			t.Errorf("%s is allowed to a person without a role", action.Name)
		}
	}
}

func TestWhatIsPublishedIsForEverybody(t *testing.T) {
	set := defaults(t)
	ask := func(published any) bool {
		return set.Authorize(policy.Request{Action: "statement:read", Resource: "statement:7", ResourceAttrs: map[string]any{"published": published}}).Allowed
	}
	if !ask(true) || ask(false) || ask("true") || ask(3.5) {
		t.Fatal("only published: true opens a statement to a visitor")
	}
}

func TestAnAdminWhoIsAlsoAnApproverDoesNotApprove(t *testing.T) {
	d := defaults(t).Authorize(policy.Request{Principal: "mallory", Roles: []string{"approver", "admin"}, Action: "release:approve", Resource: "release:a"})
	if d.Allowed || !slices.Equal(d.Policies, []string{"admin-never-approves"}) {
		t.Fatalf("got %+v", d)
	}
}

func TestNobodyRecoversHimselfAndEverybodyEndsHisOwnSessions(t *testing.T) {
	set := defaults(t)
	ask := func(principal, action, resource string, roles ...string) bool {
		return set.Authorize(policy.Request{Principal: principal, Roles: roles, Action: action, Resource: resource}).Allowed
	}
	if ask("alice", "person:recover", "person:alice", "admin") || !ask("alice", "person:recover", "person:bob", "admin") {
		t.Error("an admin recovers others, never himself")
	}
	if !ask("bob", "session:revoke", "person:bob") || ask("bob", "session:revoke", "person:alice") || ask("", "session:revoke", "visitor:visitor") {
		t.Error("a person ends his own sessions only")
	}
}

func TestAPolicyThatCanNotBeEvaluatedRefuses(t *testing.T) {
	set, err := load(t, `
@id("all") permit (principal, action, resource);
@id("not-secret") forbid (principal, action, resource) when { resource.secret };`)
	if err != nil {
		t.Fatal(err)
	}
	// Cedar itself would skip the forbid and permit.
	d := set.Authorize(policy.Request{Principal: "a", Action: "audit:read", Resource: "audit:all"})
	if d.Allowed || !slices.Equal(d.Policies, []string{"not-secret"}) {
		t.Fatalf("got %+v", d)
	}
	d = set.Authorize(policy.Request{Principal: "a", Action: "audit:read", Resource: "audit:all", ResourceAttrs: map[string]any{"secret": false}})
	if !d.Allowed || !slices.Equal(d.Policies, []string{"all"}) {
		t.Fatalf("got %+v", d)
	}
	if d := set.Authorize(policy.Request{Principal: "a", Action: "audit:burn", Resource: "audit:all", ResourceAttrs: map[string]any{"secret": false}}); d.Allowed {
		t.Fatal("an action that the house does not know was allowed")
	}
}

func TestAMistakeIsNamedWithItsPlace(t *testing.T) {
	for text, want := range map[string]string{
		"permit(principal,\n  action":                                "a.cedar:2:9: ",
		"@id(\"a\")\npermit(principal,action,resource) when { \"abc": "a.cedar:2:42: ",
		"// fine\n\xff": "a.cedar:2:1: this is not UTF-8",
		"@id(\"a\") permit(principal,action,resource)\nwhen { 99999999999999999999 == 1 };":            "a.cedar:2:8: the number",
		"permit(principal,action,resource);":                                                           "a.cedar:1:1: the policy has no @id",
		"@id(\"A b\") permit(principal,action,resource);":                                              "a.cedar:1:1: @id(\"A b\") must be",
		"@id(\"a\") permit(principal,action,resource);\n@id(\"a\") permit(principal,action,resource);": "a.cedar:2:1: @id(\"a\") is taken: a.cedar:1",
		"@id(\"a\") forbid(principal,action == Action::\"release:aprove\",resource);":                  "there is no action Action::\"release:aprove\"",
		"@id(\"a\") forbid(principal in Role::\"amdin\",action,resource);":                             "there is no role \"amdin\"",
		"// nothing": "no policy",
		"@id(\"a\") @reason(\"" + strings.Repeat("x", 401) + "\") permit(principal,action,resource);": "more than 400 bytes",
		strings.Repeat(" ", policy.Caps.FileBytes+1):                                                  "more than 65536 bytes",
	} {
		_, err := load(t, text)
		if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: got %v, want %s", text, err, want)
		}
	}
	if _, err := policy.Load(fstest.MapFS{}); !errors.Is(err, fault.Invalid) {
		t.Errorf("an empty folder: %v", err)
	}
}

func TestTheFolderIsBounded(t *testing.T) {
	files := fstest.MapFS{}
	for i := range policy.Caps.Files + 1 {
		files[fmt.Sprintf("%d.cedar", i)] = &fstest.MapFile{Data: []byte(fmt.Sprintf(`@id("p%d") permit(principal,action,resource);`, i))}
	}
	if _, err := policy.Load(files); !errors.Is(err, fault.Invalid) {
		t.Errorf("too many files: %v", err)
	}
	var many strings.Builder
	for i := range policy.Caps.Policies + 1 {
		fmt.Fprintf(&many, "@id(\"p%d\") permit(principal,action,resource);\n", i)
	}
	if _, err := load(t, many.String()); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "a.cedar:513:1") {
		t.Errorf("too many policies: %v", err)
	}
}

func TestDeepNestingHarmsNobody(t *testing.T) {
	const head = `@id("a") permit(principal,action,resource) when { `
	for _, text := range []string{
		head + strings.Repeat("(", 60000),
		head + strings.Repeat("(", 30000) + "true" + strings.Repeat(")", 30000) + " };",
		head + "1" + strings.Repeat("+1", 30000) + " == 2 };",
		head + strings.Repeat("if true then ", 4000),
		head + strings.Repeat("[", 60000),
	} {
		start := time.Now()
		set, err := load(t, text)
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("%.80q took %v", text, took)
		}
		if err == nil {
			set.Authorize(policy.Request{Principal: "a", Action: "audit:read", Resource: "x"})
		}
	}
}

func TestRulesAreShownAsWritten(t *testing.T) {
	rules := defaults(t).Rules()
	for _, r := range rules {
		if r.ID == "" || r.Reason == "" || r.Line == 0 || !strings.HasPrefix(r.Text, "@id(") || !strings.HasSuffix(r.Text, ";") {
			t.Errorf("rule %+v", r)
		}
		if set, err := load(t, r.Text); err != nil || len(set.Rules()) != 1 {
			t.Errorf("the text of %s is not one policy: %v", r.ID, err)
		}
	}
	if len(rules) != 10 {
		t.Errorf("%d rules", len(rules))
	}
}

func FuzzLoad(f *testing.F) {
	for _, r := range defaults(f).Rules() {
		f.Add(r.Text)
	}
	f.Add("@id(\"a\") permit(principal,action")
	f.Fuzz(func(t *testing.T, text string) {
		set, err := load(t, text)
		if err != nil {
			if !errors.Is(err, fault.Invalid) {
				t.Fatalf("%v is not the author's mistake", err)
			}
			return
		}
		d := set.Authorize(policy.Request{Principal: "a", Roles: []string{"admin"}, Action: "audit:read", Resource: "audit:all"})
		if d.Allowed && len(d.Policies) == 0 {
			t.Fatalf("allowed by nothing: %q", text)
		}
		for _, r := range set.Rules() {
			if _, err := load(t, r.Text); err != nil {
				t.Fatalf("rule %s as shown does not load: %v", r.ID, err)
			}
		}
	})
}
