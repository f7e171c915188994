package programme

import (
	"fmt"
	"reflect"
	"strings"
)

// shape is the keys that a struct type has in YAML, in the order of the fields.
type shape struct {
	names []string
	by    map[string]field
}

type field struct {
	index int
	must  bool
	is    string
}

func fieldsOf(t reflect.Type) shape {
	s := shape{by: map[string]field{}}
	for i := range t.NumField() {
		f := t.Field(i)
		name, option, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name == "" || name == "-" {
			continue
		}
		s.names = append(s.names, name)
		s.by[name] = field{i, option != "omitempty", f.Tag.Get("is")}
	}
	return s
}

// advice says what to do about a key that is not known: the nearest known one,
// or all of them.
func (s shape) advice(key string) string {
	best, least := "", 3
	for _, name := range s.names {
		if n := distance(strings.ToLower(clip(key, 60)), strings.ToLower(name)); n < least {
			best, least = name, n
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return "remove it, or use one of: " + strings.Join(s.names, ", ")
}

// distance counts the letters to change, add or remove between a and b
// (Levenshtein); both are short.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// in and name put a path into a sentence.
func in(path string) string {
	if path == "" {
		return ""
	}
	return " in " + path
}

func name(path string) string {
	if path == "" {
		return "the file"
	}
	return path
}

// at is the place of the value at path, or of the nearest that holds it.
func (d *decoded) at(path string) place {
	for {
		if p, ok := d.where[path]; ok {
			return p
		}
		i := strings.LastIndexAny(path, ".[")
		if i < 0 {
			return d.where[""]
		}
		path = path[:i]
	}
}
