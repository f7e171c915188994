// Package detection is the room where a detection base is made: a folder in git
// with YARA rules and ClamAV hashes and patterns becomes a released form, is
// compared with the one before, and is tried on corpora before anybody approves.
//
// It promises: everything that is wrong with a base is told at once, each with
// file, line and column; the same folder always gives the same released bytes,
// whatever the order, comments and spaces in it; two bases are compared rule by
// rule, so that a change can not hide in a reformatted file; what was not
// checked, because an engine is not installed, is said and never passed over.
//
// It refuses what could reach outside the folder (links, YARA's include, modules
// that look at the clock or the machine), names that lie on a screen, and more
// of anything than [Caps] allows. Engines run on hostile rules and files, so
// they only ever run in the sandbox. It renders nothing.
//
// Start at [Find]; then [Check], [Base.Pack], [Compare], [Replay] and
// [Service.SayTests]. docs/spec/base.md is the format.
package detection

import (
	"slices"
	"strings"
)

// Caps are the limits on a base, in one place.
var Caps = struct {
	File, Folder   int64 // bytes
	Files, Folders int
	Deep           int // folders within folders, and brackets within brackets
	Rules          int // YARA rules
	Entries        int // hashes and patterns
	Line           int // bytes of a line of hashes or patterns
	Token          int // bytes of a string, regex or comment in a rule
	Tokens         int // of one rule
	Name           int // bytes of a name
	Main           int // bytes of base.yaml: the YAML library takes the square of it
	Text           int // bytes of a description
	Subsignatures  int // of a logical signature; ClamAV has room for 64
	Tests          int
	Sample         int // bytes of a test's own content
	Corpora        int
	Problems       int // told at once
}{
	File: 128 << 20, Folder: 512 << 20, Files: 4000, Folders: 400, Deep: 16,
	Rules: 200_000, Entries: 4_000_000, Line: 16 << 10, Token: 1 << 20, Tokens: 1 << 20,
	Name: 128, Main: 32 << 10, Text: 4096, Subsignatures: 64, Tests: 200, Sample: 16 << 10, Corpora: 12, Problems: 100,
}

// The formats of a base, by the ending of a file's name.
const (
	YARA    = "yar" // rules
	Hashes  = "hsb" // hash:size:name
	Pattern = "ndb" // name:target:offset:hex
	Logical = "ldb" // name;description;expression;subsignatures
)

// released names the one file of each format in the released form.
var released = []struct{ format, name string }{
	{YARA, "rules.yar"}, {Hashes, "hashes.hsb"}, {Pattern, "patterns.ndb"}, {Logical, "logical.ldb"},
}

// Base is a detection base as read: every rule and entry, in released order.
type Base struct {
	About About
	// Imports are the YARA modules that the rules use, sorted.
	Imports []string
	Rules   []*Rule
	Entries map[string][]Entry // by format, sorted by key
	Files   []Source
	// Commit and Tree say where the folder stands in git, when all of it is
	// committed there.
	Commit, Tree string
	home         *repository // where that is
}

// Source is one file that a base was read from.
type Source struct {
	Path    string
	Content string
}

// Rule is one YARA rule: its parts as tokens joined by single spaces, so that
// two rules that differ only in layout and comments are the same.
type Rule struct {
	Name      string
	Modifiers string // "private", "global", both, or nothing
	Tags      []string
	Meta      []string // one text per entry
	Strings   []string // one text per string
	Condition string
	File      string
	Line, End int // from 1, the last line included
	Column    int
	source    string   // as it stands in the file
	needs     []string // names of rules that the condition uses; "x*" for all that begin with x
}

// Entry is one line of a hash or pattern file.
type Entry struct {
	Key  string // what tells it from others: the hash, or the pattern's name
	Name string // what the detection is called
	Line string // the whole line: the released form
	File string
	At   int // line in File, from 1
}

// Counts says how much is in a base.
type Counts struct {
	Rules    int `json:"rules"`
	Hashes   int `json:"hashes"`
	Patterns int `json:"patterns"`
	Logical  int `json:"logical"`
}

// Counts counts a base.
func (b *Base) Counts() Counts {
	return Counts{len(b.Rules), len(b.Entries[Hashes]), len(b.Entries[Pattern]), len(b.Entries[Logical])}
}

func sortEntries(list []Entry) {
	slices.SortFunc(list, func(a, b Entry) int {
		if c := strings.Compare(a.Key, b.Key); c != 0 {
			return c
		}
		return strings.Compare(a.Line, b.Line)
	})
}
