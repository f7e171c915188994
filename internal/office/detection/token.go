package detection

import (
	"fmt"
	"strings"
)

// kind is what a token of YARA is, as far as a rule's parts need it.
type kind uint8

const (
	end       kind = iota
	word           // identifier, keyword or number
	handle         // $a, $a*, #a, @a, !a
	text           // "…"
	regex          // /…/is
	hexText        // { 4D 5A ?? }
	mark           // anything else, one operator
	pathology      // not a token: the lexer has reported it
)

// token is one token, without the comments before it.
type token struct {
	kind kind
	text string // as it stands; of a hex string its one canonical form
	line int32
	col  int32
}

// lexer splits YARA source as libyara's own lexer does (lexer.l of 4.2): what it
// takes for a string or comment must be the same, or an include could hide there.
type lexer struct {
	r     *reader
	file  string
	s     string
	i     int
	line  int32
	start int  // byte at which the line begins
	hex   bool // the next '{' begins a hex string
}

func (l *lexer) here() place { return place{l.file, int(l.line), l.i - l.start + 1} }

// double are the operators of two characters.
var double = map[string]bool{"<=": true, ">=": true, "==": true, "!=": true, "<<": true, ">>": true, "..": true}

// next gives the next token.
func (l *lexer) next() token {
	if !l.skip() {
		return token{kind: pathology}
	}
	t := token{line: l.line, col: int32(l.i - l.start + 1)}
	if l.i == len(l.s) {
		return t
	}
	begin := l.i
	switch c := l.s[l.i]; {
	case isWord(c):
		t.kind = word
		for l.i < len(l.s) && isWord(l.s[l.i]) {
			l.i++
		}
		// 1.5 is one number, but 1..5 is a range.
		if isDigit(c) && l.i+1 < len(l.s) && l.s[l.i] == '.' && isDigit(l.s[l.i+1]) {
			for l.i++; l.i < len(l.s) && isDigit(l.s[l.i]); {
				l.i++
			}
		}
	case c == '"':
		t.kind = text
		if !l.quoted('"', "string") {
			return token{kind: pathology}
		}
	case c == '/':
		t.kind = regex
		if !l.quoted('/', "regular expression") {
			return token{kind: pathology}
		}
		for _, flag := range "is" {
			if l.i < len(l.s) && l.s[l.i] == byte(flag) {
				l.i++
			}
		}
	case c == '{' && l.hex:
		return l.hexString(t)
	case c == '$' || (c == '#' || c == '@' || c == '!') && l.i+1 < len(l.s) && isWord(l.s[l.i+1]):
		t.kind = handle
		for l.i++; l.i < len(l.s) && isWord(l.s[l.i]); {
			l.i++
		}
		if c == '$' && l.i < len(l.s) && l.s[l.i] == '*' {
			l.i++
		}
	case c < 0x7f:
		t.kind = mark
		l.i++
		if l.i < len(l.s) && double[l.s[begin:l.i+1]] {
			l.i++
		}
	default:
		l.r.say(l.here(), "a character that is not ASCII stands outside of a string or comment", "remove it")
		return token{kind: pathology}
	}
	if l.i-begin > Caps.Token {
		l.r.say(place{l.file, int(t.line), int(t.col)}, fmt.Sprintf("this has more than %d bytes", Caps.Token), "shorten it")
		return token{kind: pathology}
	}
	t.text = l.s[begin:l.i]
	return t
}

// skip passes over white space and comments.
func (l *lexer) skip() bool {
	for l.i < len(l.s) {
		switch c := l.s[l.i]; {
		case c == '\n':
			l.i++
			l.line++
			l.start = l.i
		case c == ' ' || c == '\t' || c == '\r':
			l.i++
		case strings.HasPrefix(l.s[l.i:], "//"):
			for l.i < len(l.s) && l.s[l.i] != '\n' {
				l.i++
			}
		case strings.HasPrefix(l.s[l.i:], "/*"):
			n := strings.Index(l.s[l.i+2:], "*/")
			if n < 0 {
				l.r.say(l.here(), "the comment is not closed", "add */")
				return false
			}
			l.lines(l.i + 2 + n + 2)
		default:
			return true
		}
	}
	return true
}

// lines moves on to byte n, counting lines.
func (l *lexer) lines(n int) {
	for ; l.i < n; l.i++ {
		if l.s[l.i] == '\n' {
			l.line++
			l.start = l.i + 1
		}
	}
}

// quoted passes over a string or regular expression; both end on their line. In a
// regular expression a slash ends it in brackets too, as in libyara.
func (l *lexer) quoted(quote byte, what string) bool {
	begin := l.here()
	for l.i++; l.i < len(l.s) && l.s[l.i] != '\n'; l.i++ {
		switch l.s[l.i] {
		case quote:
			l.i++
			return true
		case '\\':
			if l.i++; l.i == len(l.s) || l.s[l.i] == '\n' {
				l.i--
			} else if quote == '"' && !l.escape() {
				return false
			}
		}
	}
	l.r.say(begin, fmt.Sprintf("the %s is not closed on its line", what), fmt.Sprintf("add %c", quote))
	return false
}

// escape checks the escape whose second character is at hand.
func (l *lexer) escape() bool {
	c := l.s[l.i]
	if c == 'x' && l.i+2 < len(l.s) && isHexDigit(l.s[l.i+1]) && isHexDigit(l.s[l.i+2]) || strings.IndexByte(`tnr"\`, c) >= 0 {
		return true
	}
	l.r.say(l.here(), fmt.Sprintf("\\%s is not an escape", clip(string(c), 4)), `use \t, \n, \r, \", \\ or \xHH`)
	return false
}

// hexString reads { 4D 5A ?? [2-4] (AA|BB) } into one form: lower case, a space
// between the parts, no comments.
func (l *lexer) hexString(t token) token {
	t.kind = hexText
	begin := l.here()
	var b strings.Builder
	b.WriteString("{ ")
	half := false
	jump := false // in [n-m] digits are decimal, and do not stand in pairs
	for l.i++; ; {
		if !l.skip() {
			return token{kind: pathology}
		}
		if l.i == len(l.s) || b.Len() > Caps.Token {
			l.r.say(begin, "the hex string is not closed, or too long", "add }")
			return token{kind: pathology}
		}
		c := l.s[l.i]
		l.i++
		switch {
		case c == '}':
			b.WriteByte('}')
			t.text = b.String()
			return t
		case isHexDigit(c) || c == '?':
			b.WriteByte(lower(c))
			if half = !half && !jump; !half && !jump {
				b.WriteByte(' ')
			}
		case strings.IndexByte("-|~[]()", c) >= 0:
			jump = c == '[' || jump && c != ']'
			b.WriteByte(c)
			if !jump && c != '~' {
				b.WriteByte(' ')
			}
		default:
			l.i--
			l.r.say(l.here(), fmt.Sprintf("%q can not stand in a hex string", clip(string(rune(c)), 4)), "use hex digits, ?, [n-m], ( | ) and ~")
			return token{kind: pathology}
		}
	}
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isWord(c byte) bool {
	return isDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'F' {
		return c + 'a' - 'A'
	}
	return c
}
