// Package policy decides who may do what: Cedar policies (cedarpolicy.com) from
// the programme folder, in text that a visitor can read.
//
// It promises: what no policy permits is refused; a policy that can not be
// evaluated for a request refuses that request; every decision names the
// policies that made it. It refuses to load a policy without an @id annotation,
// one that names an action or a role that the house does not know (a typo in a
// forbid would otherwise open a door), and a folder without policies.
//
// It knows no people, no sessions and no time: who asks, with which roles, is in
// the [Request].
//
// Start at [Load] and [Set.Authorize]; [Default] is the set that ships.
package policy

import (
	"slices"

	"github.com/cedar-policy/cedar-go"
)

// Caps are the bounds of a policy folder.
var Caps = struct {
	Files     int // *.cedar files in the folder
	FileBytes int // bytes of one file
	Policies  int // policies in all files together
	Depth     int // brackets within brackets
	Text      int // bytes of a @reason; an @id has 64
}{Files: 64, FileBytes: 64 << 10, Policies: 512, Depth: 64, Text: 400}

// Action is something that a policy can permit or forbid.
type Action struct {
	Name  string // as policies write it: Action::"release:approve"
	Title string // for people
}

// Actions is the vocabulary of actions, in the order pages show them.
var Actions = []Action{
	{"statement:read", "read a statement"},
	{"release:read-draft", "read a release that is not published"},
	{"release:propose", "propose a release"},
	{"release:approve", "approve a release"},
	{"release:publish", "publish an approved release"},
	{"report:read", "read the list of reports of weaknesses, and download one, encrypted"},
	{"report:step", "record a step on a report of a weakness"},
	{"person:invite", "invite a person"},
	{"person:recover", "let a person enrol a new passkey instead of a lost one"},
	{"person:list", "list the people"},
	{"session:revoke", "end a person's sessions"},
	{"audit:read", "read the audit trail"},
	{"policy:read", "read the policies and their decisions"},
}

// Public is the role that everybody has, signed in or not.
const Public = "public"

// Roles is the vocabulary of roles: Role::"approver" in a policy.
var Roles = []string{"admin", "approver", "release-engineer", "auditor", "duty-officer", "security", Public}

func knownAction(name string) bool {
	return slices.ContainsFunc(Actions, func(a Action) bool { return a.Name == name })
}

// Set is a loaded set of policies. It never changes, so it may be shared.
type Set struct {
	rules []Rule
	cedar *cedar.PolicySet
}

// Rule is one policy as people read it.
type Rule struct {
	ID     string
	Effect string // "permit" or "forbid"
	Reason string // the @reason annotation, or empty
	File   string
	Line   int
	Text   string // as the file has it, comments aside
}

// Rules lists the policies in the order of their files.
func (s *Set) Rules() []Rule { return slices.Clone(s.rules) }

func (s *Set) rule(id cedar.PolicyID) Rule {
	for _, r := range s.rules {
		if r.ID == string(id) {
			return r
		}
	}
	return Rule{ID: string(id)}
}
