package programme

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// decoded is one YAML file as decoded: where each value stands, by its path in
// the file ("products[1].id"), so that rules can point at it.
type decoded struct {
	*reader
	file  string
	where map[string]place
}

// decode decodes a YAML file into what v points to, by the yaml tags. It does
// not use the library's own decoder, which stops at the first mistake; a test
// compares the two. The result is nil when the file is not even YAML.
func (r *reader) decode(f File, v any) *decoded {
	d := &decoded{r, f.Path, map[string]place{"": {f.Path, 1, 1}}}
	if !d.airy(string(f.Content)) || !d.bounded(string(f.Content)) {
		return nil
	}
	tree, err := parser.ParseBytes(f.Content, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		d.syntax(err)
		return nil
	}
	if len(tree.Docs) != 1 || tree.Docs[0].Body == nil {
		r.say(d.where[""], "the file must hold one YAML document", "write the keys at the start of the lines, and no line '---'")
		return nil
	}
	before := len(r.problems) + r.more
	d.value(tree.Docs[0].Body, reflect.ValueOf(v).Elem(), "", "", 0)
	if len(r.problems)+r.more > before && reflect.ValueOf(v).Elem().IsZero() {
		return nil
	}
	return d
}

// airy refuses many empty lines in a row, over which the library's scanner takes
// the cube of their number.
func (d *decoded) airy(src string) bool {
	empty, n := 0, 0
	for line := range strings.SplitSeq(src, "\n") {
		n++
		if empty++; strings.TrimSpace(line) != "" {
			empty = 0
		}
		if empty > Limits.Empty {
			d.say(place{d.file, n, 1}, fmt.Sprintf("more than %d lines in a row are empty", Limits.Empty), "remove some")
			return false
		}
	}
	return true
}

// bounded looks at the tokens before anything is parsed: the parser calls itself
// for each level of nesting. It also refuses the parts of YAML that a programme
// has no use for, and that let one line stand for many (anchors, aliases) or for
// something else than it looks (tags, directives).
func (d *decoded) bounded(src string) bool {
	tokens := lexer.Tokenize(src)
	if len(tokens) > Limits.Tokens {
		d.say(d.where[""], fmt.Sprintf("the file has more than %d YAML tokens", Limits.Tokens), "shorten it")
		return false
	}
	before := len(d.problems) + d.more
	flow, line, onLine, entries := 0, 0, 0, 0
	for _, t := range tokens {
		at := place{d.file, t.Position.Line, t.Position.Column}
		if at.line != line {
			line, onLine, entries = at.line, 0, 0
			if at.column > Limits.Column && flow == 0 && t.Type != token.CommentType {
				d.say(at, "the line is indented too far", "nest less")
				return false
			}
		}
		onLine++
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		case token.SequenceEntryType:
			entries++
		case token.AnchorType, token.AliasType, token.MergeKeyType:
			d.say(at, "anchors, aliases and merge keys are not allowed", "write the value out; put text that begins with & or * in quotes")
		case token.TagType:
			d.say(at, "tags are not allowed", "remove it; put text that begins with ! in quotes")
		case token.DirectiveType:
			d.say(at, "directives are not allowed", "remove the line; put text that begins with % in quotes")
		case token.MappingKeyType:
			d.say(at, "keys that begin with '?' are not allowed", "write key: value")
		}
		if flow > Limits.Deep || entries > Limits.Deep || onLine > Limits.OneLine {
			d.say(at, "too much is nested on one line", "write one value per line")
			return false
		}
	}
	return len(d.problems)+d.more == before
}

// syntax reports what the parser says, at the place that it says.
func (d *decoded) syntax(err error) {
	at, what := d.where[""], err.Error()
	if e, ok := errors.AsType[yaml.Error](err); ok {
		what = e.GetMessage()
		if t := e.GetToken(); t != nil {
			at = place{d.file, t.Position.Line, t.Position.Column}
		}
	}
	d.say(at, "this is not YAML: "+what, "check the indentation (spaces, not tabs), the quotes and the brackets here")
}

// value decodes node into v. path says where in the file's structure, is what
// the value means.
func (d *decoded) value(node ast.Node, v reflect.Value, path, is string, depth int) {
	if _, ok := d.where[path]; !ok {
		d.where[path] = d.start(node)
	}
	if depth > Limits.Deep {
		d.say(d.where[path], "nested too deeply", "nest less")
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.object(node, v, path, is, depth)
	case reflect.Slice:
		d.list(node, v, path, is, depth)
	case reflect.Int:
		_, ok := node.(*ast.IntegerNode)
		i, err := strconv.ParseInt(token0(node), 10, 32)
		if !ok || err != nil {
			d.expected(node, path, "a whole number", is)
			return
		}
		v.SetInt(i)
	default:
		d.text(node, v, path, is)
	}
}

func (d *decoded) text(node ast.Node, v reflect.Value, path, is string) {
	var s string
	switch n := node.(type) {
	case *ast.StringNode:
		s = n.Value
	case *ast.LiteralNode:
		s = n.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		d.say(d.start(node), fmt.Sprintf("%s must be text, but YAML reads %s as something else", name(path), token0(node)), fmt.Sprintf("put it in quotes: %q", token0(node)))
		return
	default:
		d.expected(node, path, "text", is)
		return
	}
	if i := strings.IndexFunc(s, func(c rune) bool { return hostile(c) || c == '\ufffd' }); i >= 0 {
		// written as an escape: the file's own text was checked before
		d.say(d.start(node), fmt.Sprintf("%s holds an escaped invisible or broken character", name(path)), "remove the escape")
		return
	}
	v.SetString(s)
}

func (d *decoded) list(node ast.Node, v reflect.Value, path, is string, depth int) {
	n, ok := node.(*ast.SequenceNode)
	if !ok {
		d.expected(node, path, "a list", is)
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Values), len(n.Values)))
	for i, item := range n.Values {
		d.value(item, v.Index(i), fmt.Sprintf("%s[%d]", path, i), is, depth+1)
	}
}

func (d *decoded) object(node ast.Node, v reflect.Value, path, is string, depth int) {
	pairs, ok := pairs(node)
	if !ok {
		d.expected(node, path, "keys with values", is)
		return
	}
	fields := fieldsOf(v.Type())
	seen := map[string]int{}
	for _, pair := range pairs {
		at := d.start(pair.Key)
		key, ok := pair.Key.(*ast.StringNode)
		if !ok {
			d.say(at, "this is not a key", "use one of: "+strings.Join(fields.names, ", "))
			continue
		}
		f, known := fields.by[key.Value]
		switch {
		case !known:
			d.say(at, fmt.Sprintf("unknown key %q%s", clip(key.Value, 60), in(path)), fields.advice(key.Value))
			continue
		case seen[key.Value] > 0:
			d.say(at, fmt.Sprintf("the key %q stands twice, first on line %d", key.Value, seen[key.Value]), "keep one of them")
			continue
		}
		seen[key.Value] = at.line
		d.where[join(path, key.Value)] = at
		if valueAt := d.start(pair.Value); valueAt.line == at.line {
			d.where[join(path, key.Value)] = valueAt
		}
		d.value(pair.Value, v.Field(f.index), join(path, key.Value), f.is, depth+1)
	}
	for _, name := range fields.names {
		if f := fields.by[name]; f.must && seen[name] == 0 {
			d.say(d.where[path], fmt.Sprintf("the key %q is missing%s", name, in(path)), fmt.Sprintf("add it: %s", f.is))
		}
	}
}

// expected says that a value is of the wrong shape.
func (d *decoded) expected(node ast.Node, path, shape, is string) {
	what := fmt.Sprintf("%s must be %s", name(path), shape)
	if _, empty := node.(*ast.NullNode); empty {
		what = fmt.Sprintf("%s is empty", name(path))
	}
	mend := "write " + shape
	if is != "" {
		mend += ": " + is
	}
	d.say(d.where[path], what, mend)
}

// start is where a value begins. The library places a block of keys at its first
// colon.
func (d *decoded) start(node ast.Node) place {
	if ps, ok := pairs(node); ok && len(ps) > 0 && token0(node) != "{" {
		node = ps[0].Key
	}
	t := node.GetToken()
	if t == nil {
		return d.where[""]
	}
	return place{d.file, t.Position.Line, t.Position.Column}
}

func pairs(node ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := node.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

func token0(node ast.Node) string {
	if t := node.GetToken(); t != nil {
		return t.Value
	}
	return ""
}
