package frame

import (
	"strings"
	"time"
)

// Field is one input of a form: what it asks, what was entered, and what is
// wrong with that. Nothing that somebody entered is thrown away.
type Field struct {
	Name, Label, Hint string
	Value             string
	Problem           string
	Options           []Option // a choice instead of text
	Wide              bool
	Kind              string // the input's type; "" is text
	Auto              string // autocomplete
}

// Option is one choice of a field.
type Option struct{ Value, Text string }

// MaxInput caps the bytes of one form field.
const MaxInput = 8192

// Read takes the field's value from a query or form.
func (f *Field) Read(get func(string) string) string {
	f.Value = strings.TrimSpace(get(f.Name))
	if len(f.Value) > MaxInput {
		f.Value = f.Value[:MaxInput]
		f.Problem = "This is too long."
	}
	return f.Value
}

// Time reads the value as a day or a time; the zero time when it is empty.
func (f *Field) Time() time.Time {
	if f.Value == "" || f.Problem != "" {
		return time.Time{}
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, f.Value); err == nil && t.Year() >= 1970 && t.Year() < 10000 {
			return t.UTC()
		}
	}
	f.Problem = "Write a day like 2026-11-01, or a time like 2026-11-01T12:00:00Z."
	return time.Time{}
}

// Problems are the fields that have one.
func Problems(fields ...*Field) []*Field {
	var bad []*Field
	for _, f := range fields {
		if f.Problem != "" {
			bad = append(bad, f)
		}
	}
	return bad
}
