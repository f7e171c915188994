// Package statement is what can be said: the in-toto Statement v1 with one
// predicate type per kind of claim, and the DSSE envelope that carries it.
//
// It promises that bytes are never re-marshalled: an [Envelope] keeps the exact
// payload that was signed, a [Statement] keeps its predicate as it came, and
// members that this version does not know stay in it and can be shown. Parsing
// is strict where two readers could disagree: duplicate members, members that
// differ from a known one only in case, null, integers beyond 2^53 and text that
// is not Unicode are refused.
//
// It does not decide who may say what, nor whether a statement is in the log;
// package verify does. It imports nothing but the standard library.
//
// Start at [Parse] to read one, at [New] and [Sign] to make one.
package statement

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Type is the in-toto Statement v1 type URI (in-toto attestation spec, v1/statement.md).
const Type = "https://in-toto.io/Statement/v1"

// Limits are the caps on what comes from outside, in one place.
var Limits = struct {
	Envelope   int // bytes of one envelope; C2SP tlog-tiles allows 65535 per entry
	Depth      int // nesting of JSON values
	Subjects   int // subjects of one statement
	Signatures int // signatures of one envelope
	Text       int // bytes of one free text field
}{Envelope: 65535, Depth: 24, Subjects: 512, Signatures: 32, Text: 4096}

// Subject is what a statement is about (in-toto ResourceDescriptor, the part
// that statements use): a name and at least one digest in lower-case hex.
type Subject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

// Statement is an in-toto Statement v1. Predicate holds the bytes as they came.
type Statement struct {
	Type          string          `json:"_type"`
	Subject       []Subject       `json:"subject"`
	PredicateType string          `json:"predicateType"`
	Predicate     json.RawMessage `json:"predicate"`
}

// Predicate is the body of one kind of statement.
type Predicate interface {
	// PredicateType is the URI that names the kind.
	PredicateType() string
	// Validate says what is wrong with the body, given the subjects, or nil.
	Validate(subject []Subject) error
}

// Kind describes one known kind of statement.
type Kind struct {
	Name          string // short name, as filters and pages use it: "release"
	PredicateType string // URI
	Title         string // what it claims, in a few words
	new           func() Predicate
}

// Kinds lists every kind that this version knows, in the order pages show them.
var Kinds = []Kind{
	{"release", ReleaseType, "A release was approved and published", func() Predicate { return new(Release) }},
	{"build", BuildType, "A builder made these bytes from that source", func() Predicate { return new(Build) }},
	{"test", TestResultType, "A tester ran this on these bytes", func() Predicate { return new(TestResult) }},
	{"review", ReviewType, "A release was looked at after it was published", func() Predicate { return new(Review) }},
	{"source", SourceType, "A source tree was published", func() Predicate { return new(Source) }},
	{"key", KeyType, "A key was given a role, retired or revoked", func() Predicate { return new(Key) }},
	{"advisory", AdvisoryType, "A security advisory was published", func() Predicate { return new(Advisory) }},
	{"vex", VEXType, "Which versions a vulnerability affects, for tools", func() Predicate { return new(VEX) }},
	{"disclosure", DisclosureType, "How reports of weaknesses were dealt with", func() Predicate { return new(Disclosure) }},
	{"programme", ProgrammeType, "The transparency programme changed", func() Predicate { return new(Programme) }},
	{"revocation", RevocationType, "A statement was taken back", func() Predicate { return new(Revocation) }},
}

// KindOf returns the short name of a predicate type; for an unknown one, the
// URI itself, so that it can still be filtered for and shown.
func KindOf(predicateType string) string {
	for _, k := range Kinds {
		if k.PredicateType == predicateType {
			return k.Name
		}
	}
	return predicateType
}

// Kind is the short name of the statement's kind.
func (s *Statement) Kind() string { return KindOf(s.PredicateType) }

// New makes the exact payload bytes of a statement about subject. The result is
// what gets signed; it is never marshalled again.
func New(subject []Subject, p Predicate) ([]byte, error) {
	body, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("encoding the predicate: %w", err)
	}
	payload, err := json.Marshal(Statement{Type: Type, Subject: subject, PredicateType: p.PredicateType(), Predicate: body})
	if err != nil {
		return nil, fmt.Errorf("encoding the statement: %w", err)
	}
	if _, err := Parse(payload); err != nil {
		return nil, err
	}
	return payload, nil
}

// Parse reads a payload and validates what it says. An unknown kind is checked
// as far as the in-toto Statement goes, and its predicate is kept as it is.
func Parse(payload []byte) (*Statement, error) {
	if len(payload) > Limits.Envelope {
		return nil, fmt.Errorf("the statement has %d bytes; at most %d are allowed", len(payload), Limits.Envelope)
	}
	var s Statement
	if err := Decode(payload, &s); err != nil {
		return nil, fmt.Errorf("reading the statement: %w", err)
	}
	if s.Type != Type {
		return nil, fmt.Errorf("_type is %q; expected %q", clip(s.Type), Type)
	}
	// Without the colon it could pass for the short name of a known kind.
	if !strings.Contains(s.PredicateType, ":") || len(s.PredicateType) > 256 {
		return nil, errors.New("predicateType must be a URI of at most 256 bytes")
	}
	if err := checkText("predicateType", s.PredicateType, 1); err != nil {
		return nil, err
	}
	if err := validateSubjects(s.Subject); err != nil {
		return nil, err
	}
	if len(s.Predicate) == 0 || s.Predicate[0] != '{' {
		return nil, errors.New("predicate must be an object")
	}
	for _, k := range Kinds {
		if k.PredicateType != s.PredicateType {
			continue
		}
		p := k.new()
		if err := s.decode(p); err != nil {
			return nil, err
		}
		if err := p.Validate(s.Subject); err != nil {
			return nil, fmt.Errorf("%s statement: %w", k.Name, err)
		}
	}
	return &s, nil
}

// As decodes the predicate of a parsed statement into the Go type of its kind.
// It fails when the statement is of another kind.
func As[T Predicate](s *Statement, p T) (T, error) {
	if p.PredicateType() != s.PredicateType {
		return p, fmt.Errorf("this is a %s statement, not a %s statement", s.Kind(), KindOf(p.PredicateType()))
	}
	return p, s.decode(p)
}

func (s *Statement) decode(p Predicate) error {
	if err := Decode(s.Predicate, p); err != nil {
		return fmt.Errorf("reading the predicate of a %s statement: %w", s.Kind(), err)
	}
	return nil
}

func validateSubjects(subject []Subject) error {
	if len(subject) == 0 || len(subject) > Limits.Subjects {
		return fmt.Errorf("a statement has 1 to %d subjects; this one has %d", Limits.Subjects, len(subject))
	}
	for i, sub := range subject {
		if err := checkText("name", sub.Name, 1); err != nil {
			return fmt.Errorf("subject[%d]: %w", i, err)
		}
		if len(sub.Digest) == 0 || len(sub.Digest) > 8 {
			return fmt.Errorf("subject[%d]: needs 1 to 8 digests", i)
		}
		for alg, d := range sub.Digest {
			if err := checkDigest(alg, d); err != nil {
				return fmt.Errorf("subject[%d]: %w", i, err)
			}
		}
	}
	return nil
}

// digestBytes is the length of each digest whose length is fixed. Git object
// names are SHA-1 or SHA-256, told apart by length.
var digestBytes = map[string][]int{
	"sha256": {32}, "sha512": {64}, "gitCommit": {20, 32}, "gitTree": {20, 32},
}

func checkDigest(alg, d string) error {
	raw, err := hex.DecodeString(d)
	if err != nil || d != strings.ToLower(d) || len(raw) == 0 || len(raw) > 64 {
		return fmt.Errorf("digest %q must be lower-case hex", clip(alg))
	}
	if want, ok := digestBytes[alg]; ok && !slices.Contains(want, len(raw)) {
		return fmt.Errorf("digest %q has %d bytes, which is not its length", alg, len(raw))
	}
	return nil
}

// checkText refuses text that is too short or long, or that could fool a reader
// on a terminal or page: control characters and bidirectional overrides.
func checkText(field, s string, least int) error {
	if len(s) < least || len(s) > Limits.Text {
		return fmt.Errorf("%s must have %d to %d bytes; it has %d", field, least, Limits.Text, len(s))
	}
	if !utf8.ValidString(s) {
		return fmt.Errorf("%s is not valid UTF-8", field)
	}
	for _, r := range s {
		if r < 0x20 && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return fmt.Errorf("%s holds the control character U+%04X", field, r)
		}
	}
	return nil
}

// checkTime refuses what time.Parse takes beside the one form of statements:
// one-digit hours, a comma before the fraction, other zones, more than
// nanoseconds. By hand, because a regexp costs 100 KB in the browser.
func checkTime(field, s string) error {
	const form = "0000-00-00T00:00:00"
	fits := len(s) > len(form) && s[len(s)-1] == 'Z'
	for i := 0; fits && i < len(form); i++ {
		fits = s[i] == form[i] || form[i] == '0' && isDigit(s[i])
	}
	if fits && len(s) > len(form)+1 { // a fraction of 1 to 9 digits
		fraction := s[len(form) : len(s)-1]
		fits = fraction[0] == '.' && len(fraction) >= 2 && len(fraction) <= 10
		for i := 1; fits && i < len(fraction); i++ {
			fits = isDigit(fraction[i])
		}
	}
	if _, err := time.Parse(time.RFC3339, s); err != nil || !fits {
		return fmt.Errorf("%s must be a time like 2026-01-31T12:00:00Z, in UTC", field)
	}
	return nil
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
