package detection

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// descriptions are the keys of a target description block (ClamAV's .ldb).
var descriptions = map[string]*regexp.Regexp{
	"Engine":           regexp.MustCompile(`^[0-9]{1,3}-[0-9]{1,3}$`),
	"Target":           regexp.MustCompile(`^([0-7]|9|1[0-2])$`),
	"FileSize":         regexp.MustCompile(`^[0-9]{1,10}-[0-9]{1,10}$`),
	"EntryPoint":       regexp.MustCompile(`^[0-9]{1,10}-[0-9]{1,10}$`),
	"NumberOfSections": regexp.MustCompile(`^[0-9]{1,4}-[0-9]{1,4}$`),
	"Container":        regexp.MustCompile(`^CL_TYPE_[A-Z0-9_]{1,40}$`),
	"Intermediates":    regexp.MustCompile(`^CL_TYPE_[A-Z0-9_]{1,40}(>CL_TYPE_[A-Z0-9_]{1,40}){0,15}$`),
	"IconGroup1":       regexp.MustCompile(`^[A-Za-z0-9_*]{1,64}$`),
	"IconGroup2":       regexp.MustCompile(`^[A-Za-z0-9_*]{1,64}$`),
}

// logicalLine checks NAME;DESCRIPTION;EXPRESSION;SUB0;SUB1;… (ClamAV's .ldb).
func (r *reader) logicalLine(at place, line string) (key, name string, ok bool) {
	f := fieldsOf(line, ';')
	if len(f) < 4 {
		r.say(at, fmt.Sprintf("a logical line has 4 or more fields (name;description;expression;subsignatures); this one has %d", len(f)), "write name;Target:0;0;hex")
		return "", "", false
	}
	subs := f[3:]
	if len(subs) > Caps.Subsignatures {
		r.say(subs[Caps.Subsignatures].at(at), fmt.Sprintf("there are more than %d subsignatures", Caps.Subsignatures), "split the signature")
		return "", "", false
	}
	ok = r.nameAt(at, f[0].text)
	ok = r.description(f[1].at(at), f[1].text) && ok
	e := expression{s: f[2].text, subs: len(subs), used: make([]bool, len(subs))}
	if err := e.whole(); err != nil {
		place := f[2].at(at)
		place.column += e.i
		r.say(place, err.Error(), "join the numbers of subsignatures by & and |, with brackets")
		ok = false
	} else {
		for i, used := range e.used {
			if !used {
				r.say(subs[i].at(at), fmt.Sprintf("subsignature %d is not used in the expression", i), "use it, or remove it")
				ok = false
			}
		}
	}
	for _, sub := range subs {
		if column, err := checkSubsignature(sub.text, len(subs)); err != nil {
			place := sub.at(at)
			place.column += column
			r.say(place, err.Error(), "see docs/spec/base.md, \"Logical signatures\"")
			ok = false
		}
	}
	return f[0].text, f[0].text, ok
}

// description checks Key:Value,Key:Value with a Target.
func (r *reader) description(at place, text string) bool {
	seen := map[string]bool{}
	for _, part := range fieldsOf(text, ',') {
		key, value, _ := strings.Cut(part.text, ":")
		form, known := descriptions[key]
		switch {
		case !known:
			r.say(part.at(at), fmt.Sprintf("%q is not a key of a target description", clip(key, 40)), "use Engine, Target, FileSize, EntryPoint, NumberOfSections, Container or Intermediates")
			return false
		case seen[key]:
			r.say(part.at(at), key+" stands twice", "keep one of them")
			return false
		case !form.MatchString(value):
			r.say(part.at(at), fmt.Sprintf("%q is not a value of %s", clip(value, 40), key), "write, for example, Engine:81-255,Target:0")
			return false
		}
		seen[key] = true
	}
	if !seen["Target"] {
		r.say(at, "Target is missing", "write Target:0 for any file")
		return false
	}
	if len(seen) > 1 && !seen["Engine"] {
		r.say(at, "Engine is missing: ClamAV wants it beside every key but Target", "write Engine:81-255,Target:0,…")
		return false
	}
	return true
}

// expression reads a logical expression: numbers of subsignatures joined by & and
// |, brackets, and counts: 0>2, (1|2)=3,2. i is where it stands.
type expression struct {
	s    string
	i    int
	subs int
	used []bool
}

func (e *expression) whole() error {
	if err := e.joined(0); err != nil {
		return err
	}
	if e.i < len(e.s) {
		return fmt.Errorf("%q can not stand here", e.s[e.i:e.i+1])
	}
	return nil
}

func (e *expression) joined(depth int) error {
	if depth > Caps.Deep {
		return errors.New("brackets are nested too deeply")
	}
	for {
		if err := e.operand(depth); err != nil {
			return err
		}
		if e.i == len(e.s) || e.s[e.i] != '&' && e.s[e.i] != '|' {
			return nil
		}
		e.i++
	}
}

var comparison = regexp.MustCompile(`^[=><][0-9]{1,6}(,[0-9]{1,6})?`)

func (e *expression) operand(depth int) error {
	switch {
	case e.i == len(e.s):
		return errors.New("a number of a subsignature is missing")
	case e.s[e.i] == '(':
		e.i++
		if err := e.joined(depth + 1); err != nil {
			return err
		}
		if e.i == len(e.s) || e.s[e.i] != ')' {
			return errors.New("a bracket is not closed")
		}
		e.i++
	default:
		start := e.i
		for e.i < len(e.s) && e.s[e.i] >= '0' && e.s[e.i] <= '9' {
			e.i++
		}
		n := number(e.s[start:e.i], 0, int64(e.subs)-1)
		if n < 0 {
			e.i = start
			return fmt.Errorf("expected the number of a subsignature, 0 to %d", e.subs-1)
		}
		e.used[n] = true
	}
	if e.i < len(e.s) && strings.IndexByte("=><", e.s[e.i]) >= 0 {
		m := comparison.FindString(e.s[e.i:])
		if m == "" {
			return errors.New("a number must follow the comparison")
		}
		e.i += len(m)
	}
	return nil
}

// subOffset is what may stand before a subsignature, and what may follow it.
var (
	subOffset    = regexp.MustCompile(`^([^:/]*):`)
	subModifiers = regexp.MustCompile(`::[iwfa]{1,4}$`)
	pcreFlags    = regexp.MustCompile(`^[gimsxareUL]{0,10}$`)
)

// checkSubsignature checks [offset:]hex[::modifiers] or [offset:]trigger/regex/flags,
// and gives the offset of the mistake.
func checkSubsignature(s string, subs int) (int, error) {
	if strings.HasPrefix(s, "fuzzy_img#") || strings.HasPrefix(s, "${") || strings.ContainsRune(s, '#') && !strings.ContainsRune(s, '/') {
		return 0, errors.New("image hashes, macros and byte comparisons are not taken: their meaning depends on other files, or can not be checked")
	}
	body := s
	if m := subModifiers.FindString(body); m != "" && !strings.ContainsRune(body, '/') {
		body = body[:len(body)-len(m)]
	}
	start := 0
	if m := subOffset.FindString(body); m != "" {
		if !offsets.MatchString(m[:len(m)-1]) {
			return 0, errors.New("this is not an offset")
		}
		start, body = len(m), body[len(m):]
	}
	if !strings.ContainsRune(body, '/') {
		column, err := checkHex(body)
		return start + column, err
	}
	trigger, rest, _ := strings.Cut(body, "/")
	end := strings.LastIndexByte(rest, '/')
	if end <= 0 {
		return start, errors.New("a regular expression stands between two slashes: trigger/regex/flags")
	}
	e := expression{s: trigger, subs: subs, used: make([]bool, subs)}
	if err := e.whole(); err != nil {
		return start + e.i, fmt.Errorf("the trigger: %w", err)
	}
	if !pcreFlags.MatchString(rest[end+1:]) {
		return start + len(trigger) + 1 + end + 1, errors.New("the flags of a regular expression are letters of gimsxareUL")
	}
	return start + len(trigger) + 1, brackets(rest[:end])
}

// brackets catches what is no regular expression in any dialect. What only PCRE
// knows (look-around, back references) passes: ClamAV decides.
func brackets(s string) error {
	_, err := syntax.Parse(s, syntax.Perl)
	if e, ok := errors.AsType[*syntax.Error](err); ok {
		switch e.Code {
		case syntax.ErrMissingParen, syntax.ErrUnexpectedParen, syntax.ErrMissingBracket, syntax.ErrTrailingBackslash, syntax.ErrMissingRepeatArgument:
			return fmt.Errorf("the regular expression is broken: %s", e.Code)
		}
	}
	return nil
}
