package policy

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"clerestory.dev/clerestory/internal/base/fault"
)

//go:embed default/*.cedar
var defaults embed.FS

// Default is the policy folder that ships: a programme starts from a copy of it.
func Default() fs.FS {
	sub, err := fs.Sub(defaults, "default")
	if err != nil {
		panic(err) // the folder is compiled in
	}
	return sub
}

// Load reads the *.cedar files of a folder, in the order of their names.
// What is wrong is Invalid, as file:line:column: what.
func Load(folder fs.FS) (*Set, error) {
	files, err := fs.Glob(folder, "*.cedar")
	if err != nil {
		return nil, fmt.Errorf("listing the policies: %w", err)
	}
	switch {
	case len(files) == 0:
		return nil, fault.Invalid.New("loading the policies: there is no *.cedar file, so nobody could do anything; start from the default policies")
	case len(files) > Caps.Files:
		return nil, fault.Invalid.New("loading the policies: %d files; at most %d are allowed", len(files), Caps.Files)
	}
	slices.Sort(files)
	set := &Set{cedar: cedar.NewPolicySet()}
	for _, name := range files {
		text, err := readCapped(folder, name)
		if err != nil {
			return nil, err
		}
		if err := set.add(name, text); err != nil {
			return nil, err
		}
	}
	if len(set.rules) == 0 {
		return nil, fault.Invalid.New("loading the policies: the files hold no policy, so nobody could do anything")
	}
	return set, nil
}

func readCapped(folder fs.FS, name string) ([]byte, error) {
	f, err := folder.Open(name)
	if err != nil {
		return nil, fault.Unavailable.New("reading the policies in %s: %w", name, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, int64(Caps.FileBytes)+1))
	if err != nil {
		return nil, fault.Unavailable.New("reading the policies in %s: %w", name, err)
	}
	if len(text) > Caps.FileBytes {
		return nil, fault.Invalid.New("%s:1:1: the file has more than %d bytes", name, Caps.FileBytes)
	}
	return text, nil
}

func (s *Set) add(file string, text []byte) error {
	if at := firstBadUTF8(text); at >= 0 {
		return wrong(file, text, at, "this is not UTF-8")
	}
	if at := tooDeep(text); at >= 0 {
		return wrong(file, text, at, "brackets are nested more than %d deep", Caps.Depth)
	}
	policies, err := cedar.NewPolicyListFromBytes(file, text)
	if err != nil {
		return parseError(file, text, err)
	}
	for i, p := range policies {
		start, end := p.Position().Offset, len(text)
		if i+1 < len(policies) {
			end = policies[i+1].Position().Offset
		}
		if len(s.rules) == Caps.Policies {
			return wrong(file, text, start, "there are more than %d policies", Caps.Policies)
		}
		rule, err := newRule(file, p, string(text[start:end]))
		if err != nil {
			return wrong(file, text, start, "%w", err)
		}
		if first := s.rule(cedar.PolicyID(rule.ID)); first.File != "" {
			return wrong(file, text, start, "@id(%q) is taken: %s:%d has it", rule.ID, first.File, first.Line)
		}
		s.rules = append(s.rules, rule)
		s.cedar.Add(cedar.PolicyID(rule.ID), p)
	}
	return nil
}

var idPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

func newRule(file string, p *cedar.Policy, text string) (Rule, error) {
	id, found := p.Annotations()["id"]
	if !found {
		return Rule{}, errors.New(`the policy has no @id("…"); the audit trail names policies by it`)
	}
	if !idPattern.MatchString(string(id)) {
		return Rule{}, fmt.Errorf("@id(%q) must be 1 to 64 of a-z, 0-9, '.', '_', '-'", id)
	}
	r := Rule{ID: string(id), Effect: "permit", Reason: string(p.Annotations()["reason"]), File: file, Line: p.Position().Line}
	if len(r.Reason) > Caps.Text {
		return Rule{}, fmt.Errorf("@reason has more than %d bytes", Caps.Text)
	}
	if p.Effect() == cedar.Forbid {
		r.Effect = "forbid"
	}
	// The slice reaches to the next policy, so comments before that one go.
	r.Text = strings.TrimSpace(text)
	if end := strings.LastIndexByte(r.Text, ';'); end >= 0 {
		r.Text = r.Text[:end+1]
	}
	return r, checkScope(p)
}

// checkScope refuses names that do not exist. It reads the syntax tree: Cedar's
// JSON of a long condition takes seconds.
func checkScope(p *cedar.Policy) error {
	tree := (*ast.Policy)(p.AST())
	for _, e := range named(tree.Action) {
		if e.Type != "Action" || !knownAction(string(e.ID)) {
			return fmt.Errorf("there is no action %s", e)
		}
	}
	for _, e := range named(tree.Principal) {
		if e.Type == "Role" && !slices.Contains(Roles, string(e.ID)) {
			return fmt.Errorf("there is no role %q; the roles are %s", e.ID, strings.Join(Roles, ", "))
		}
	}
	return nil
}

func named(s ast.IsScopeNode) []cedar.EntityUID {
	switch s := s.(type) {
	case ast.ScopeTypeEq:
		return []cedar.EntityUID{s.Entity}
	case ast.ScopeTypeIn:
		return []cedar.EntityUID{s.Entity}
	case ast.ScopeTypeInSet:
		return s.Entities
	case ast.ScopeTypeIsIn:
		return []cedar.EntityUID{s.Entity}
	}
	return nil // all, or only a type
}

var cedarPosition = regexp.MustCompile(`(?:parse error at )?<input>:(\d+):(\d+)(?: (?:"(?:[^"\\]|\\.)*"))?: `)

// parseError puts the file's name into Cedar's error. Cedar gives no position
// for a number that is too large; the number itself is then looked for.
func parseError(file string, text []byte, err error) error {
	if number, ok := errors.AsType[*strconv.NumError](err); ok {
		return wrong(file, text, max(strings.Index(string(text), number.Num), 0), "the number %.40s does not fit", number.Num)
	}
	msg := strings.TrimPrefix(err.Error(), "parser error: ")
	at := cedarPosition.FindStringSubmatchIndex(msg)
	if at == nil {
		return fault.Invalid.New("%s:1:1: %.200s", file, msg)
	}
	return fault.Invalid.New("%s:%s:%s: %.200s", file, msg[at[2]:at[3]], msg[at[4]:at[5]], msg[at[1]:])
}

func wrong(file string, text []byte, offset int, format string, args ...any) error {
	before := string(text[:min(offset, len(text))])
	line := 1 + strings.Count(before, "\n")
	column := 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
	return fault.Invalid.New("%s:%d:%d: %w", file, line, column, fmt.Errorf(format, args...))
}

// tooDeep finds the bracket that opens one level too many; Cedar's parser takes
// seconds for thousands of them. Brackets in texts and comments count too.
func tooDeep(text []byte) int {
	depth := 0
	for i, c := range text {
		switch c {
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			depth--
		}
		if depth > Caps.Depth {
			return i
		}
	}
	return -1
}

func firstBadUTF8(text []byte) int {
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}
