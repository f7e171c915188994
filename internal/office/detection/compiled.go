package detection

import (
	"maps"
	"slices"
	"strings"

	"clerestory.dev/clerestory/internal/base/engine"
	"clerestory.dev/clerestory/statement"
)

// Engine gives the base to the engines, in its released form.
func (b *Base) Engine() *engine.Rules { return b.engine((*Rule).Text) }

func (b *Base) engine(text func(*Rule) string) *engine.Rules {
	e := &engine.Rules{Imports: b.Imports}
	for _, r := range b.Rules {
		e.YARA = append(e.YARA, engine.Rule{Name: r.Name, Text: text(r), Needs: r.needs, Global: strings.Contains(r.Modifiers, "global"), File: r.File, Line: r.Line})
	}
	for format, list := range map[string]*[]engine.Entry{Hashes: &e.Hashes, Pattern: &e.Patterns, Logical: &e.Logical} {
		for _, entry := range b.Entries[format] {
			*list = append(*list, engine.Entry{Name: entry.Name, Line: entry.Line, File: entry.File, At: entry.At})
		}
	}
	return e
}

// laid is the rule with its tokens on the lines where they stand in the file, so
// that what the engine says of a line leads there. It has no comments: nothing
// that libyara and we could read differently.
func (r *Rule) laid() string {
	l := &lexer{r: &reader{}, s: r.source, line: 1}
	var b strings.Builder
	line := int32(1)
	var last, before token
	for {
		l.hex = last.text == "=" && before.kind == handle
		t := l.next()
		if t.kind == end || t.kind == pathology { // it was read before
			return b.String()
		}
		if t.line > line {
			b.WriteString(strings.Repeat("\n", int(t.line-line)))
			line = t.line
		} else if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(t.text)
		before, last = last, t
	}
}

// enginesUsed names engines in a statement.
func enginesUsed(versions map[string]string) []statement.Resource {
	var all []statement.Resource
	for _, name := range slices.Sorted(maps.Keys(versions)) {
		all = append(all, statement.Resource{Name: name + " " + versions[name]})
	}
	return all
}
