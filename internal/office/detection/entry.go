package detection

import (
	"fmt"
	"strconv"
	"strings"
)

// entries reads a file of one entry a line. Empty lines and lines that begin with
// # are for people. lineOf checks a line and finds its key and name; it reports
// what is wrong with it.
func (r *reader) entries(b *Base, f Source, format string, lineOf func(at place, line string) (key, name string, ok bool)) {
	list := b.Entries[format]
	n := 0
	for line := range strings.SplitSeq(f.Content, "\n") {
		n++
		at := place{f.Path, n, 1}
		if line == "" || line[0] == '#' {
			continue
		}
		if r.full() {
			break
		}
		switch {
		case len(line) > Caps.Line:
			r.say(at, fmt.Sprintf("the line has more than %d bytes", Caps.Line), "split the entry")
			continue
		case len(list) == Caps.Entries:
			r.say(at, fmt.Sprintf("the base has more than %d entries of this kind", Caps.Entries), "split the base")
			return
		case strings.TrimSpace(line) != line:
			r.say(at, "there is white space at the begin or end of the line", "remove it")
			continue
		}
		if key, name, ok := lineOf(at, line); ok {
			list = append(list, Entry{key, name, line, f.Path, n})
		}
	}
	b.Entries[format] = list
}

// doubles reports entries with the same key: which of the two would count, or be
// changed later, nobody could tell. list is sorted.
func (r *reader) doubles(list []Entry, format string) {
	for i := 1; i < len(list); i++ {
		one, two := list[i-1], list[i]
		if one.Key != two.Key {
			continue
		}
		if two.File < one.File || two.File == one.File && two.At < one.At {
			one, two = two, one
		}
		what, mend := "the name %s stands twice, first at %s:%d", "a name stands for one pattern: rename one, with a number at its end"
		if format == Hashes {
			what, mend = "the entry for %s stands twice, first at %s:%d", "keep one of them"
		}
		r.say(place{two.File, two.At, 1}, fmt.Sprintf(what, clip(one.Key, 80), one.File, one.At), mend)
	}
}

// hashLine checks HASH:SIZE:NAME[:MINFL[:MAXFL]] (ClamAV's .hsb).
func (r *reader) hashLine(at place, line string) (key, name string, ok bool) {
	f := fieldsOf(line, ':')
	if len(f) < 3 || len(f) > 5 {
		r.say(at, fmt.Sprintf("a hash line has 3 to 5 fields (hash:size:name); this one has %d", len(f)), "write hash:size:name")
		return "", "", false
	}
	hash, size := f[0].text, f[1].text
	if bad := badHex(hash); bad >= 0 {
		at.column += bad
		r.say(at, "a hash is lower-case hex", "write it with 0-9 and a-f")
		return "", "", false
	}
	if len(hash) != 64 && len(hash) != 40 {
		mend := "write the SHA-256 (64 digits) or SHA-1 (40)"
		if len(hash) == 32 {
			mend = "MD5 is no proof of anything any more: " + mend
		}
		r.say(at, fmt.Sprintf("a hash has 64 digits (SHA-256) or 40 (SHA-1); this one has %d", len(hash)), mend)
		return "", "", false
	}
	ok = r.nameAt(f[2].at(at), f[2].text)
	if size == "*" {
		if len(f) < 4 || number(f[3].text, 73, 255) < 0 {
			r.say(f[1].at(at), "a hash for files of any size needs ClamAV's level 73", "write the size, or hash:*:name:73")
			ok = false
		}
	} else if number(size, 1, 1<<32-2) < 0 {
		r.say(f[1].at(at), "the size must be a number of bytes from 1 to 4294967294, or *", "write it without leading zeros")
		ok = false
	}
	return hash, f[2].text, r.levels(at, f[3:]) && ok
}

// levels checks the functionality levels that may stand at a line's end.
func (r *reader) levels(at place, f []field) bool {
	least := int64(0)
	for _, level := range f {
		n := number(level.text, 1, 255)
		if n < least {
			r.say(level.at(at), "a functionality level is a number from 1 to 255, the smaller one first", "write it so, or leave it out")
			return false
		}
		least = n
	}
	return true
}

// nameAt checks the name of a detection.
func (r *reader) nameAt(at place, name string) bool {
	if len(name) == 0 || len(name) > Caps.Name {
		r.say(at, fmt.Sprintf("a name has 1 to %d characters", Caps.Name), "write one, such as Win.Trojan.Agent-1")
		return false
	}
	for i := range len(name) {
		c := name[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || !strings.ContainsRune("._-+/", rune(c))) {
			at.column += i
			r.say(at, "this character can not stand in a name", "use letters, digits, '.', '_', '-', '+' and '/', and begin with a letter or digit")
			return false
		}
	}
	return true
}

// field is a part of a line, and where it begins.
type field struct {
	text   string
	offset int
}

func (f field) at(line place) place {
	line.column += f.offset
	return line
}

func fieldsOf(line string, sep byte) []field {
	var all []field
	start := 0
	for i := range len(line) {
		if line[i] == sep {
			all = append(all, field{line[start:i], start})
			start = i + 1
		}
	}
	return append(all, field{line[start:], start})
}

// badHex is where s is not lower-case hex, or -1.
func badHex(s string) int {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return i
		}
	}
	return -1
}

// number reads a canonical decimal between least and most, or gives -1.
func number(s string, least, most int64) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < least || n > most || strconv.FormatInt(n, 10) != s {
		return -1
	}
	return n
}
