package detection

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// offsets are where a pattern may be looked for (ClamAV's offset field).
var offsets = regexp.MustCompile(`^(\*|(0|[1-9][0-9]{0,9}|EOF-[1-9][0-9]{0,9}|EP[+-][0-9]{1,10}|S[0-9]{1,3}\+[0-9]{1,10}|SL\+[0-9]{1,10}|SE[0-9]{1,3})(,[0-9]{1,10})?|VI)$`)

// patternLine checks NAME:TARGET:OFFSET:HEX[:MINFL[:MAXFL]] (ClamAV's .ndb).
func (r *reader) patternLine(at place, line string) (key, name string, ok bool) {
	f := fieldsOf(line, ':')
	if len(f) < 4 || len(f) > 6 {
		r.say(at, fmt.Sprintf("a pattern line has 4 to 6 fields (name:target:offset:hex); this one has %d", len(f)), "write name:target:offset:hex")
		return "", "", false
	}
	ok = r.nameAt(at, f[0].text)
	if number(f[1].text, 0, 12) < 0 || f[1].text == "8" {
		r.say(f[1].at(at), "the target must be a number from 0 to 12, and not 8", "0 is any file, 1 Windows programs, 6 ELF, 7 text")
		ok = false
	}
	if !offsets.MatchString(f[2].text) {
		r.say(f[2].at(at), "this is not an offset", "write * for anywhere, a number, EOF-n, EP+n, EP-n, Sx+n, SL+n, SEx or VI, and perhaps a shift: 10,20")
		ok = false
	}
	if column, err := checkHex(f[3].text); err != nil {
		place := f[3].at(at)
		place.column += column
		r.say(place, err.Error(), "see docs/spec/base.md, \"Patterns\"")
		ok = false
	}
	return f[0].text, f[0].text, r.levels(at, f[4:]) && ok
}

// checkHex checks a hex pattern with wildcards: hex pairs, ?? and nibbles (a?, ?a),
// the gaps *, {n}, {-n}, {n-}, {n-m} and [n-m], alternatives (aa|bb) and !(aa|bb),
// and the boundaries (B), (L), (W). Between gaps there must be two fixed bytes in a
// row, because that is what ClamAV searches for. It gives the offset of the mistake.
func checkHex(s string) (int, error) {
	run, anchored := 0, false // fixed bytes in a row; whether this part had two
	if s == "" {
		return 0, errors.New("the pattern is empty")
	}
	needAnchor := func() error {
		if !anchored {
			return errors.New("before this there must be two fixed bytes in a row")
		}
		return nil
	}
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case isHexDigit(c) || c == '?':
			if i+1 == len(s) || !isHexDigit(s[i+1]) && s[i+1] != '?' {
				return i, errors.New("half a byte: hex digits stand in pairs")
			}
			if run++; c == '?' || s[i+1] == '?' {
				run = 0
			}
			anchored = anchored || run >= 2
			i += 2
		case c == '*' || c == '{' || c == '[':
			n, err := gapAt(s[i:])
			if err == nil {
				err = needAnchor()
			}
			if err != nil {
				return i, err
			}
			if run = 0; c != '[' {
				anchored = false
			}
			i += n
		case c == '(' || c == '!':
			n, err := alternatives(s[i:])
			if err != nil {
				return i, err
			}
			run = 0
			i += n
		default:
			return i, fmt.Errorf("%q can not stand in a hex pattern", clip(s[i:i+1], 4))
		}
	}
	if !anchored {
		return len(s) - 1, errors.New("a pattern, and each part of it between gaps, needs two fixed bytes in a row")
	}
	return 0, nil
}

func isHexDigit(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

var gaps = regexp.MustCompile(`^(\*|\{([0-9]{1,6})\}|\{-([0-9]{1,6})\}|\{([0-9]{1,6})-\}|\{([0-9]{1,6})-([0-9]{1,6})\}|\[([0-9]{1,2})-([0-9]{1,2})\])`)

// gapAt reads a gap at the begin of s, and gives its length.
func gapAt(s string) (int, error) {
	m := gaps.FindStringSubmatch(s)
	if m == nil {
		return 0, errors.New("this is not a gap: write *, {n}, {-n}, {n-}, {n-m} or [n-m]")
	}
	for _, pair := range [][2]string{{m[5], m[6]}, {m[7], m[8]}} {
		if number(pair[0], 0, 1<<20) > number(pair[1], 0, 1<<20) && pair[1] != "" {
			return 0, errors.New("the gap's first number is larger than its second")
		}
	}
	if m[8] != "" && number(m[8], 0, 32) < 0 {
		return 0, errors.New("a gap in square brackets has at most 32 bytes")
	}
	return len(m[0]), nil
}

// alternatives reads (aa|bb|cc), its negation, or a boundary, and gives its length.
func alternatives(s string) (int, error) {
	body, negated := strings.CutPrefix(s, "!")
	end := strings.IndexByte(body, ')')
	if !strings.HasPrefix(body, "(") || end < 0 {
		return 0, errors.New("a round bracket is not closed")
	}
	whole := len(s) - len(body) + end + 1
	inner := body[1:end]
	if inner == "B" || inner == "L" || inner == "W" {
		return whole, nil
	}
	size := -1
	for alt := range strings.SplitSeq(inner, "|") {
		if len(alt) == 0 || len(alt)%2 != 0 {
			return 0, errors.New("an alternative is empty, or half a byte is missing")
		}
		for i := range len(alt) {
			if !isHexDigit(alt[i]) && alt[i] != '?' {
				return 0, errors.New("alternatives hold hex digits and ? only; brackets can not be nested")
			}
		}
		if negated && size >= 0 && size != len(alt) {
			return 0, errors.New("alternatives that are negated must be of one length")
		}
		size = len(alt)
	}
	return whole, nil
}
