package signing

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// Sight is what the payload of a request says: a sentence, and every member of
// it as a line. All of it comes from the bytes that are signed, and all of it is
// safe to print.
type Sight struct {
	Title  string
	Lines  []Line
	SHA256 string // of the payload, hex: what people compare
}

// Line is one thing that the payload says.
type Line struct {
	Name string
	Text string
}

// Describe decodes a request's payload. What can not be decoded by the rules of
// its kind is an error: nobody should sign what they can not read.
func Describe(r *Request) (*Sight, error) {
	s := &Sight{SHA256: statement.HashOf(r.Payload)}
	var err error
	if r.Purpose == DSSE {
		err = s.statement(r.Payload)
	} else {
		err = s.metadata(r.Payload)
	}
	if err != nil {
		return nil, fmt.Errorf("the payload: %w", err)
	}
	return s, nil
}

func (s *Sight) add(name, text string) {
	s.Lines = append(s.Lines, Line{Printable(name, 512), Printable(text, statement.Limits.Text)})
}

func (s *Sight) statement(payload []byte) error {
	st, err := statement.Parse(payload)
	if err != nil {
		return err
	}
	if st.Kind() == st.PredicateType {
		return fmt.Errorf("it is of the kind %s, which this version does not know", Printable(st.PredicateType, 256))
	}
	title, err := titleOf(st)
	if err != nil {
		return err
	}
	s.Title = Printable(title, 1000)
	for _, sub := range st.Subject {
		for _, alg := range slices.Sorted(maps.Keys(sub.Digest)) {
			s.add("about "+quoted(sub.Name), alg+" "+sub.Digest[alg])
		}
	}
	return s.flatten(st.Predicate)
}

// titleOf says in a sentence what signing the statement does.
func titleOf(st *statement.Statement) (string, error) {
	switch st.PredicateType {
	case statement.ReleaseType:
		r, err := statement.As(st, &statement.Release{})
		return fmt.Sprintf("Release %s %s to the channel %s: %d files, commit %s", r.Product, r.Version, r.Channel, r.Manifest.Files, r.Commit), err
	case statement.RevocationType:
		r, err := statement.As(st, &statement.Revocation{})
		return fmt.Sprintf("Take back the %s of %s at log entry %d: %s", r.Kind, r.Product, r.Entry, r.Reason), err
	case statement.KeyType:
		k, err := statement.As(st, &statement.Key{})
		act := map[string]string{statement.KeyGrant: "Give", statement.KeyRetire: "End", statement.KeyRevoke: "Revoke"}[k.Action]
		return fmt.Sprintf("%s the role %s of %s's key %s for %s", act, k.Role, k.Holder, k.KeyID, strings.Join(k.Products, ", ")), err
	}
	for _, k := range statement.Kinds {
		if k.PredicateType == st.PredicateType {
			return "State: " + k.Title, nil
		}
	}
	return "", errors.New("it is of an unknown kind")
}

// metadata decodes the signed part of TUF metadata. Targets metadata does not
// say for which role it is; its paths do.
func (s *Sight) metadata(payload []byte) error {
	readable := Readable(payload)
	var m struct {
		Type    string         `json:"_type"`
		Version int64          `json:"version"`
		Expires string         `json:"expires"`
		Targets map[string]any `json:"targets"`
		Roles   map[string]any `json:"roles"`
	}
	if err := statement.Decode(readable, &m); err != nil {
		return err
	}
	again, err := verify.SignedText(readable)
	if err != nil || !bytes.Equal(again, payload) {
		return errors.New("it is not in canonical JSON")
	}
	about := map[string]string{
		"root":      fmt.Sprintf("the root of trust, with %d roles", len(m.Roles)),
		"targets":   fmt.Sprintf("a list of %d files that may be installed", len(m.Targets)),
		"snapshot":  "the versions of all lists",
		"timestamp": "the newest snapshot",
	}[m.Type]
	if about == "" || m.Version < 1 || m.Expires == "" {
		return fmt.Errorf("it is not TUF metadata: _type is %s", Printable(m.Type, 80))
	}
	s.Title = fmt.Sprintf("TUF %s version %d, until %s: %s", m.Type, m.Version, Printable(m.Expires, 40), about)
	return s.flatten(readable)
}

// Readable makes JSON of canonical JSON, which keeps control characters in
// strings as they are: a PEM block of a key has line ends. There is no space
// outside strings.
func Readable(canonical []byte) []byte {
	out := make([]byte, 0, len(canonical)+64)
	for _, c := range canonical {
		if c < 0x20 {
			out = fmt.Appendf(out, `\u%04x`, c)
		} else {
			out = append(out, c)
		}
	}
	return out
}

// Printable makes text of outside safe for a terminal and cuts it to limit bytes:
// what is not a letter, sign or space that can be seen is written as its code.
func Printable(text string, limit int) string {
	var b strings.Builder
	for i, r := range text {
		if b.Len() >= limit {
			return b.String() + fmt.Sprintf("… (%d bytes more)", len(text)-i)
		}
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], "\ufffd"):
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case r == '\n':
			b.WriteString(`\n`)
		case unicode.IsPrint(r) && r != '\\':
			b.WriteRune(r)
		case r == '\\':
			b.WriteString(`\\`)
		default:
			fmt.Fprintf(&b, `\u{%x}`, r)
		}
	}
	return b.String()
}
