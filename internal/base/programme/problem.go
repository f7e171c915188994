package programme

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Problem is one thing that is wrong with a programme folder. Its text holds no
// control character, whatever the folder holds.
type Problem struct {
	File         string
	Line, Column int // from 1; columns count characters
	What         string
	Mend         string
}

// Error implements error: file:line:column: what is wrong; how to mend it.
func (p Problem) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s; %s", p.File, p.Line, p.Column, p.What, p.Mend)
}

// Problems is everything that is wrong, sorted by place.
type Problems []Problem

// Error implements error: one problem per line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// place is where something stands in the folder.
type place struct {
	file         string
	line, column int
}

// reader collects problems while a folder is read.
type reader struct {
	problems Problems
	more     int // problems beyond the cap
}

func (r *reader) say(at place, what, mend string) {
	if len(r.problems) == Limits.Problems {
		r.more++
		return
	}
	r.problems = append(r.problems, Problem{plain(at.file), max(at.line, 1), max(at.column, 1), plain(what), plain(mend)})
}

// faulty tells whether something was found wrong with a file already.
func (r *reader) faulty(file string) bool {
	return slices.ContainsFunc(r.problems, func(p Problem) bool { return p.File == plain(file) })
}

func (r *reader) sorted() Problems {
	slices.SortStableFunc(r.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	r.problems = slices.Compact(r.problems)
	if r.more > 0 && len(r.problems) > 0 {
		last := &r.problems[len(r.problems)-1]
		last.Mend += fmt.Sprintf(" (and %d more problems: mend these first)", r.more)
	}
	return r.problems
}

// hostile tells whether a character could show a reader something else than the
// text says: control characters, marks that turn the writing direction, line
// separators that only some programs see, and invisible tag characters.
func hostile(c rune) bool {
	return c < 0x20 && c != '\n' && c != '\t' || c >= 0x7f && c < 0xa0 ||
		c == 0x200e || c == 0x200f || c == 0x061c || c == 0xfeff || c == 0x2028 || c == 0x2029 ||
		c >= 0x202a && c <= 0x202e || c >= 0x2066 && c <= 0x2069 || c >= 0xe0000 && c <= 0xe007f
}

// checkText reports the hostile characters of a file.
func (r *reader) checkText(f File) {
	line, column := 1, 1
	for rest := f.Content; len(rest) > 0; {
		c, size := utf8.DecodeRune(rest)
		rest = rest[size:]
		switch at := (place{f.Path, line, column}); {
		case c == utf8.RuneError && size == 1:
			r.say(at, "this is not UTF-8", "save the file as UTF-8")
			return // the rest would be noise
		case c == '\r':
			r.say(at, "the line ends with a carriage return", "save the file with line feeds only (in git: *.yaml eol=lf)")
			return
		case hostile(c):
			r.say(at, fmt.Sprintf("the invisible character U+%04X could hide what the text says", c), "delete it")
		}
		column++
		if c == '\n' {
			line, column = line+1, 1
		}
	}
}

// plain makes text safe to print: what came from the folder may be anything.
func plain(s string) string {
	var b strings.Builder
	for i, c := range s {
		switch {
		case c == utf8.RuneError && !strings.HasPrefix(s[i:], "\ufffd"):
			b.WriteString("\\?")
		case c == '\n' || c == '\t':
			b.WriteByte(' ')
		case hostile(c):
			fmt.Fprintf(&b, "\\u%04x", c)
		default:
			b.WriteRune(c)
		}
	}
	return clip(b.String(), 600)
}

// clip shortens s to about n bytes, never within a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
