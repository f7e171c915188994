package statement

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxInteger is the largest integer that every JSON reader keeps exactly.
const MaxInteger = 1<<53 - 1

// Decode decodes one JSON value so that every careful reader would see the same
// (docs/spec/statement.md, "Strict JSON"): encoding/json alone takes the last of
// two equal members, matches names without regard to case, takes null for an
// absent member and repairs broken surrogates, which others would not.
func Decode(b []byte, v any) error {
	if !utf8.Valid(b) {
		return errors.New("not valid UTF-8")
	}
	if err := checkSurrogates(b); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	if err := walk(dec, reflect.TypeOf(v), 0); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("there is text after the JSON value")
	}
	return json.Unmarshal(b, v)
}

// walk reads one value that will be decoded into a t; nil stands for a type that
// is not known here, of which only the form is checked.
func walk(dec *json.Decoder, t reflect.Type, depth int) error {
	if depth > Limits.Depth {
		return fmt.Errorf("nested deeper than %d", Limits.Depth)
	}
	t = target(t)
	tok, err := dec.Token()
	if err != nil {
		return jsonError(err)
	}
	switch v := tok.(type) {
	case nil:
		if t != nil {
			return errors.New("null stands where a value must be; leave the member out")
		}
	case string:
		return checkBytes(t, v)
	case json.Number:
		return checkNumber(t, v.String())
	case json.Delim:
		if v == '{' {
			err = walkObject(dec, t, depth)
		} else {
			err = walkArray(dec, t, depth)
		}
		if err != nil {
			return err
		}
		_, err = dec.Token()
	}
	return jsonError(err)
}

func walkObject(dec *json.Decoder, t reflect.Type, depth int) error {
	members := membersOf(t)
	seen := map[string]bool{}
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return jsonError(err)
		}
		name := tok.(string) // a member's name: the decoder guarantees a string
		if seen[name] {
			return fmt.Errorf("member %q stands twice", clip(name))
		}
		seen[name] = true
		m, known := members[fold(name)]
		if known && m.name != name {
			return fmt.Errorf("member %q must be written %q", clip(name), m.name)
		}
		if !known && t != nil && t.Kind() == reflect.Map {
			m.of = t.Elem()
		}
		if err := walk(dec, m.of, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func walkArray(dec *json.Decoder, t reflect.Type, depth int) error {
	var of reflect.Type
	if t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) {
		of = t.Elem()
	}
	for dec.More() {
		if err := walk(dec, of, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// target is the type that a value decides about: without pointers, and nil for
// what is kept as it came.
func target(t reflect.Type) reflect.Type {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || t.Kind() == reflect.Interface || t == reflect.TypeFor[json.RawMessage]() {
		return nil
	}
	return t
}

type member struct {
	name string
	of   reflect.Type
}

// membersOf lists the members of a struct by their folded names.
func membersOf(t reflect.Type) map[string]member {
	if t == nil || t.Kind() != reflect.Struct || reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return nil
	}
	m := map[string]member{}
	for f := range t.Fields() {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
			m[fold(name)] = member{name, f.Type}
		}
	}
	return m
}

// fold maps names to one that encoding/json could take for each other. Members
// have ASCII names, and two letters outside ASCII fold to ASCII ones.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r == '\u017f':
			return 's'
		case r == '\u212a':
			return 'k'
		}
		return r
	}, name)
}

// checkNumber refuses integers that another reader would round, and fractions or
// exponents where an integer belongs. Numbers of unknown members are left alone.
func checkNumber(t reflect.Type, s string) error {
	if t == nil {
		return nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n > MaxInteger || n < -MaxInteger || strconv.FormatInt(n, 10) != s {
		return fmt.Errorf("%s is not an integer between -(2^53-1) and 2^53-1", clip(s))
	}
	return nil
}

// checkBytes asks for the one base64 encoding where bytes belong: the decoder
// skips line ends and stray bits.
func checkBytes(t reflect.Type, s string) error {
	if t == nil || t.Kind() != reflect.Slice || t.Elem().Kind() != reflect.Uint8 {
		return nil
	}
	if raw, err := Base64.DecodeString(s); err != nil || Base64.EncodeToString(raw) != s {
		return errors.New("bytes must be in padded standard base64")
	}
	return nil
}

// checkSurrogates refuses \u escapes that are half of a surrogate pair: one
// reader replaces them, another keeps them.
func checkSurrogates(b []byte) error {
	for i := 0; i+1 < len(b); i++ {
		if b[i] != '\\' {
			continue
		}
		r, ok := escaped(b[i:])
		switch {
		case !ok: // an escape of two bytes, or one that the decoder refuses
			i++
		case r < 0xd800 || r > 0xdfff:
			i += 5
		default:
			low, ok := escaped(b[i+6:])
			if r > 0xdbff || !ok || low < 0xdc00 || low > 0xdfff {
				return errors.New("a \\u escape is half of a surrogate pair")
			}
			i += 11
		}
	}
	return nil
}

func escaped(b []byte) (uint64, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	r, err := strconv.ParseUint(string(b[2:6]), 16, 32)
	return r, err == nil
}

func jsonError(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errors.New("the JSON text ends too early")
	}
	return err
}
