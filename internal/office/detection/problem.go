package detection

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Problem is one thing that is wrong with a base. Its text holds no control
// character, whatever the base holds.
type Problem struct {
	File   string `json:"file"`
	Line   int    `json:"line"` // from 1
	Column int    `json:"column"`
	What   string `json:"what"`
	Mend   string `json:"mend,omitempty"`
}

// Error implements error: file:line:column: what is wrong; how to mend it.
func (p Problem) Error() string {
	text := fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.What)
	if p.Mend != "" {
		text += "; " + p.Mend
	}
	return text
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

// reader collects problems while a base is read.
type reader struct {
	problems Problems
	more     int // beyond the cap
}

func (r *reader) say(at place, what, mend string) {
	if len(r.problems) == Caps.Problems {
		r.more++
		return
	}
	r.problems = append(r.problems, Problem{plain(at.file), max(at.line, 1), max(at.column, 1), plain(what), plain(mend)})
}

// full tells whether reading on would only add to a long list.
func (r *reader) full() bool { return len(r.problems) == Caps.Problems }

func (r *reader) sorted() Problems {
	slices.SortStableFunc(r.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	r.problems = slices.Compact(r.problems)
	if r.full() {
		last := &r.problems[len(r.problems)-1]
		last.Mend += " (there may be more problems: mend these first)"
	}
	return r.problems
}

// hostile tells whether a character could show a reader something else than the
// text says: control characters, marks that turn the writing direction, line
// separators that only some programs see, invisible tags.
func hostile(c rune) bool {
	return c < 0x20 && c != '\n' && c != '\t' || c >= 0x7f && c < 0xa0 ||
		c == 0x200e || c == 0x200f || c == 0x061c || c == 0xfeff || c == 0x2028 || c == 0x2029 ||
		c >= 0x202a && c <= 0x202e || c >= 0x2066 && c <= 0x2069 || c >= 0xe0000 && c <= 0xe007f
}

// plain makes text safe to print: what came from the base may be anything.
func plain(s string) string {
	var b strings.Builder
	for i, c := range s {
		switch {
		case b.Len() > 600:
			return b.String() + "…"
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
	return b.String()
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

// checkText reports what no file of a base may hold. Files are ASCII or UTF-8.
func (r *reader) checkText(file, text string) bool {
	if ascii(text) {
		return true
	}
	before := len(r.problems) + r.more
	line, column := 1, 1
	for i, c := range text {
		at := place{file, line, column}
		switch {
		case c == utf8.RuneError && !strings.HasPrefix(text[i:], "\ufffd"):
			r.say(at, "this is not UTF-8", "save the file as UTF-8; write other bytes as escapes")
			return false
		case c == '\r':
			r.say(at, "the line ends with a carriage return", "save the file with line feeds only (in .gitattributes: * eol=lf)")
			return false
		case hostile(c):
			r.say(at, fmt.Sprintf("the invisible character U+%04X could hide what the text says", c), "delete it, or write it as an escape")
		}
		if r.full() {
			return false
		}
		column++
		if c == '\n' {
			line, column = line+1, 1
		}
	}
	return len(r.problems)+r.more == before
}

// ascii tells whether all of text is printable ASCII, tabs and line feeds: nearly
// every file is, and 100,000 lines need no second look.
func ascii(text string) bool {
	for i := range len(text) {
		if c := text[i]; c >= 0x7f || c < 0x20 && c != '\n' && c != '\t' {
			return false
		}
	}
	return true
}
