package detection

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// modules are those that a rule may import: they look at the file and nothing
// else. The others would make one base find different things on two machines.
var modules = map[string]string{
	"pe": "", "elf": "", "macho": "", "dotnet": "", "dex": "", "math": "", "hash": "", "string": "",
	"time":    "it looks at the clock: a rule could begin to match, or stop, after its tests",
	"magic":   "it reads a database of the machine that scans",
	"cuckoo":  "it needs a report beside the file",
	"console": "it prints",
}

// splitter reads the rules of one file: its parts are found, not understood. The
// engine decides what they mean.
type splitter struct {
	*lexer
	b  *Base
	at token
	ok bool // nothing was wrong so far
}

// rules reads a file of YARA rules.
func (r *reader) rules(b *Base, f Source) {
	s := &splitter{lexer: &lexer{r: r, file: f.Path, s: f.Content, line: 1}, b: b, ok: true}
	s.step()
	for s.ok && s.at.kind != end {
		s.statement()
	}
}

func (s *splitter) step() {
	s.at = s.next()
	if s.at.kind == pathology {
		s.ok = false
	}
	// Inclusion happens in libyara's lexer, wherever the word stands.
	if s.is("include") {
		s.refuse("include is not allowed: it could read any file of the machine", "put the rules into this folder; all its *.yar files belong to the base")
	}
}

func (s *splitter) is(text string) bool {
	return (s.at.kind == word || s.at.kind == mark) && s.at.text == text
}

func (s *splitter) place() place { return place{s.file, int(s.at.line), int(s.at.col)} }

func (s *splitter) refuse(what, mend string) {
	if s.ok { // what follows from the first mistake would only be noise
		s.r.say(s.place(), what, mend)
	}
	s.ok = false
}

// expect takes one token, or refuses.
func (s *splitter) expect(text, why string) bool {
	if !s.ok {
		return false
	}
	if !s.is(text) {
		s.refuse(fmt.Sprintf("expected %s %s, found %s", text, why, s.found()), "write "+text)
		return false
	}
	s.step()
	return s.ok
}

func (s *splitter) found() string {
	if s.at.kind == end {
		return "the end of the file"
	}
	return fmt.Sprintf("%q", clip(s.at.text, 40))
}

// identifier takes a name.
func (s *splitter) identifier(of string) string {
	name := s.at.text
	if s.at.kind != word || isDigit(name[0]) || keywords[name] || len(name) > Caps.Name {
		s.refuse(fmt.Sprintf("expected %s, found %s", of, s.found()), fmt.Sprintf("write letters, digits and _, at most %d, and no word of the language", Caps.Name))
		return ""
	}
	s.step()
	return name
}

// statement reads an import or a rule.
func (s *splitter) statement() {
	if s.is("import") {
		s.step()
		s.imported()
		return
	}
	r := &Rule{File: s.file, Line: int(s.at.line), Column: int(s.at.col)}
	begin := s.i - len(s.at.text)
	var modifiers []string
	for s.ok && (s.is("private") || s.is("global")) {
		modifiers = append(modifiers, s.at.text)
		s.step()
	}
	slices.Sort(modifiers)
	r.Modifiers = strings.Join(slices.Compact(modifiers), " ")
	if !s.expect("rule", "at the begin of a rule") {
		return
	}
	if r.Name = s.identifier("the rule's name"); s.ok && s.is(":") {
		s.step()
		for s.ok && !s.is("{") {
			r.Tags = append(r.Tags, s.identifier("a tag"))
		}
	}
	if s.expect("{", "after the rule's name") && s.body(r) {
		r.source, r.End = s.s[begin:s.i], int(s.line)
		s.step() // after the closing bracket
		s.add(r)
	}
}

func (s *splitter) imported() {
	name := strings.Trim(s.at.text, `"`)
	why, known := modules[name]
	switch {
	case s.at.kind != text:
		s.refuse("expected the name of a module in quotes, found "+s.found(), `write, for example, import "pe"`)
	case !known || why != "":
		if why == "" {
			why = "it is not known here"
		}
		s.refuse(fmt.Sprintf("the module %q is not allowed: %s", clip(name, 40), why), "use "+strings.Join(allowedModules(), ", "))
	default:
		s.b.Imports = append(s.b.Imports, name)
		s.step()
	}
}

func allowedModules() []string {
	all := slices.Sorted(maps.Keys(modules))
	return slices.DeleteFunc(all, func(m string) bool { return modules[m] != "" })
}

// body reads the sections up to the closing bracket, which is left at hand.
func (s *splitter) body(r *Rule) bool {
	if s.is("meta") && s.section() {
		for s.ok && !s.is("strings") && !s.is("condition") {
			r.Meta = append(r.Meta, s.metaEntry())
		}
	}
	if s.is("strings") && s.section() {
		ids := map[string]bool{}
		for s.ok && !s.is("condition") {
			r.Strings = append(r.Strings, s.stringEntry(ids))
		}
	}
	if !s.ok {
		return false
	}
	if !s.is("condition") {
		s.refuse("expected meta, strings or condition, found "+s.found(), "write the parts in this order: meta:, strings:, condition:")
		return false
	}
	if s.section() {
		s.condition(r)
	}
	return s.ok
}

// section takes a section's name and colon.
func (s *splitter) section() bool {
	name := s.at.text
	s.step()
	return s.expect(":", "after "+name)
}

// metaEntry reads name = value.
func (s *splitter) metaEntry() string {
	entry := s.identifier("a name of the rule's meta data") + " = "
	if !s.expect("=", "after the name") {
		return ""
	}
	if s.is("-") {
		entry += "-"
		s.step()
	}
	if s.at.kind != word && s.at.kind != text {
		s.refuse("expected a text, a number, true or false, found "+s.found(), "put text in quotes")
		return ""
	}
	entry += s.at.text
	s.step()
	return entry
}

// stringEntry reads $id = value modifiers.
func (s *splitter) stringEntry(ids map[string]bool) string {
	id := s.at.text
	switch {
	case s.at.kind != handle || id[0] != '$' || strings.HasSuffix(id, "*"):
		s.refuse("expected $name, found "+s.found(), `write $name = "text"`)
		return ""
	case id != "$" && ids[id]:
		s.refuse(fmt.Sprintf("the string %s stands twice in this rule", clip(id, 40)), "rename one")
		return ""
	}
	ids[id] = true
	s.step()
	s.hex = true
	if !s.expect("=", "after "+clip(id, 40)) {
		return ""
	}
	s.hex = false
	if s.at.kind != text && s.at.kind != regex && s.at.kind != hexText {
		s.refuse("expected a text, a regular expression or a hex string, found "+s.found(), `write "text", /regex/ or { 4D 5A }`)
		return ""
	}
	parts := []string{id, "=", s.at.text}
	s.step()
	for s.ok && s.at.kind != end && s.at.kind != handle && !s.is("condition") {
		if s.is("}") || s.is("{") {
			s.refuse("expected condition, found "+s.found(), "a rule must have a condition")
			break
		}
		if parts = append(parts, s.at.text); len(parts) > 64 {
			s.refuse("the string has too many modifiers", "remove some")
		}
		s.step()
	}
	return strings.Join(parts, " ")
}

// condition reads up to the closing bracket, which is left at hand.
func (s *splitter) condition(r *Rule) {
	var b strings.Builder
	depth, count := 0, 0
	var last, before string // the two tokens before this one
	for s.ok && !s.is("}") {
		switch {
		case s.at.kind == end || s.is("{"):
			s.refuse("the rule is not closed: found "+s.found(), "add }")
			return
		case s.is("("), s.is("["):
			depth++
		case s.is(")"), s.is("]"):
			depth--
		}
		// A set of rules: 2 of (Suspicious*, Packed)
		if n := len(r.needs); (s.is(")") || s.is(",")) && last == "*" && n > 0 && r.needs[n-1] == before {
			r.needs[n-1] += "*"
		}
		if depth > 64 || depth < 0 {
			s.refuse("the brackets do not match, or are nested too deeply", "nest less")
			return
		}
		if count++; count > Caps.Tokens {
			s.refuse("the condition is too long", "split the rule")
			return
		}
		if s.at.kind == word && !isDigit(s.at.text[0]) && !keywords[s.at.text] && last != "." {
			r.needs = append(r.needs, s.at.text)
		}
		if b.Len() > 0 && !tight(last, s.at.text) {
			b.WriteByte(' ')
		}
		b.WriteString(s.at.text)
		before, last = last, s.at.text
		s.step()
	}
	if r.Condition = b.String(); s.ok && count == 0 {
		s.refuse("the condition is empty", "write true for a rule that always matches")
	}
}

// tight tells whether no space belongs between two tokens of a condition. It only
// ever joins what libyara's lexer takes apart again.
func tight(one, two string) bool {
	switch {
	case one == "." || one == "(" || one == "[", two == "." || two == ")" || two == "]" || two == "," || two == "[":
		return true
	case two == "(": // pe.exports("x"), uint16(0), but: and (…)
		return isWord(one[0]) && !isDigit(one[0]) && (!keywords[one] || strings.HasPrefix(one, "uint") || strings.HasPrefix(one, "int"))
	}
	return false
}

// add keeps a rule.
func (s *splitter) add(r *Rule) {
	if !s.ok && s.at.kind != pathology {
		return
	}
	if len(s.b.Rules) == Caps.Rules {
		s.r.say(place{r.File, r.Line, r.Column}, fmt.Sprintf("the base has more than %d rules", Caps.Rules), "split the base")
		s.ok = false
		return
	}
	s.b.Rules = append(s.b.Rules, r)
}

// keywords are the words of the language; none names a rule.
var keywords = wordSet(`all and any ascii at base64 base64wide condition contains defined endswith entrypoint false filesize for
fullword global icontains iendswith iequals import in include int16 int16be int32 int32be int8 int8be istartswith matches meta
nocase none not of or private rule startswith strings them true uint16 uint16be uint32 uint32be uint8 uint8be wide xor`)

func wordSet(s string) map[string]bool {
	set := map[string]bool{}
	for w := range strings.FieldsSeq(s) {
		set[w] = true
	}
	return set
}
