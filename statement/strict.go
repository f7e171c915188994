package statement

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"
)

// Decode decodes one JSON value so that every careful reader would see
// the same: encoding/json alone takes the last of two equal members and matches
// names without regard to case, which another implementation would not.
func Decode(b []byte, v any) error {
	if !utf8.Valid(b) {
		return errors.New("not valid UTF-8")
	}
	known := map[string]string{}
	knownMembers(reflect.TypeOf(v), known, 0)
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	if err := walk(dec, known, 0); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("there is text after the JSON value")
	}
	return json.Unmarshal(b, v)
}

func walk(dec *json.Decoder, known map[string]string, depth int) error {
	if depth > Limits.Depth {
		return fmt.Errorf("nested deeper than %d", Limits.Depth)
	}
	tok, err := dec.Token()
	if err != nil {
		return jsonError(err)
	}
	switch tok {
	case json.Delim('{'):
		seen := map[string]bool{}
		for dec.More() {
			name, err := dec.Token()
			if err != nil {
				return jsonError(err)
			}
			key := name.(string) // a member's name: the decoder guarantees a string
			fold := strings.ToLower(key)
			if seen[fold] {
				return fmt.Errorf("member %q stands twice", clip(key))
			}
			seen[fold] = true
			if want, ok := known[fold]; ok && want != key {
				return fmt.Errorf("member %q must be written %q", clip(key), want)
			}
			if err := walk(dec, known, depth+1); err != nil {
				return err
			}
		}
		_, err = dec.Token()
	case json.Delim('['):
		for dec.More() {
			if err := walk(dec, known, depth+1); err != nil {
				return err
			}
		}
		_, err = dec.Token()
	}
	return jsonError(err)
}

func jsonError(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errors.New("the JSON text ends too early")
	}
	return err
}

// knownMembers collects the member names of t and of what it holds, by their
// lower-case form.
func knownMembers(t reflect.Type, into map[string]string, depth int) {
	if depth > 8 {
		return
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Array:
		knownMembers(t.Elem(), into, depth+1)
	case reflect.Struct:
		for f := range t.Fields() {
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
				into[strings.ToLower(name)] = name
			}
			knownMembers(f.Type, into, depth+1)
		}
	}
}
