package detection

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	yamllexer "github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	yamltoken "github.com/goccy/go-yaml/token"

	"clerestory.dev/clerestory/statement"
)

// About is base.yaml: what the base is, who owns it, on which corpora a change is
// tried, and its own tests.
type About struct {
	ID          string   `json:"id"`    // product id
	Name        string   `json:"name"`  // as people read it
	Owner       string   `json:"owner"` // the programme's id of who answers for it
	Description string   `json:"description"`
	Clean       []string `json:"clean,omitempty"` // corpora in which nothing may match
	Known       []string `json:"known,omitempty"` // corpora whose detections must stay
	Tests       []Test   `json:"-"`
}

// Test is a sample with what must be detected in it; nothing means that nothing
// may be.
type Test struct {
	Name    string
	Content []byte
	Detects []string // names of rules or entries
	Line    int      // in base.yaml
}

// yamlKeys says what each key of base.yaml is, in order.
var yamlKeys = []struct{ name, is string }{
	{"id", "a short id, such as acme-base; it is the product's id"},
	{"name", "the name as people read it"},
	{"owner", "the id of the person or team that answers for the base"},
	{"description", "what it detects, in a sentence or two"},
	{"clean", "names of corpora in which nothing may match"},
	{"known", "names of corpora whose detections must stay"},
	{"tests", "samples: name, text or base64, detects"},
}

// sheet reads base.yaml.
type sheet struct {
	*reader
	seen map[string]*ast.MappingValueNode
}

func (r *reader) about(b *Base, content string) {
	s := &sheet{r, map[string]*ast.MappingValueNode{}}
	pairs := s.parse(content)
	if pairs == nil {
		return
	}
	var names []string
	for _, k := range yamlKeys {
		names = append(names, k.name)
	}
	s.collect(pairs, s.seen, names, "")
	for _, k := range yamlKeys[:4] {
		if s.seen[k.name] == nil {
			s.say(place{Main, 1, 1}, fmt.Sprintf("the key %q is missing", k.name), "add it: "+k.is)
		}
	}
	a := &b.About
	a.ID, a.Name = s.short("id"), s.text("name", Caps.Name)
	a.Owner, a.Description = s.short("owner"), s.text("description", Caps.Text)
	a.Clean, a.Known = s.corpora("clean"), s.corpora("known")
	for _, name := range a.Clean {
		if slices.Contains(a.Known, name) {
			s.say(s.at(s.seen["known"].Value), fmt.Sprintf("the corpus %s can not be clean and known", name), "name it in one of the lists")
		}
	}
	s.tests(a)
}

// parse gives the keys of the file, when it is YAML of the kind that is taken.
func (s *sheet) parse(content string) []*ast.MappingValueNode {
	if len(content) > Caps.Main {
		s.say(place{Main, 1, 1}, fmt.Sprintf("the file has more than %d KiB", Caps.Main>>10), "shorten it")
		return nil
	}
	if !s.checkText(Main, content) || !s.airy(content) || !s.bounded(content) {
		return nil
	}
	tree, err := parser.ParseBytes([]byte(content), 0, parser.AllowDuplicateMapKey())
	if err != nil {
		at, what := place{Main, 1, 1}, err.Error()
		if e, ok := errors.AsType[yaml.Error](err); ok {
			what = e.GetMessage()
			if t := e.GetToken(); t != nil {
				at = place{Main, t.Position.Line, t.Position.Column}
			}
		}
		s.say(at, "this is not YAML: "+what, "check the indentation (spaces, not tabs), the quotes and the brackets here")
		return nil
	}
	if len(tree.Docs) == 1 && tree.Docs[0].Body != nil {
		if pairs := pairsOf(tree.Docs[0].Body); pairs != nil {
			return pairs
		}
	}
	s.say(place{Main, 1, 1}, "the file must hold one YAML document of keys and values", "write key: value at the start of the lines")
	return nil
}

// airy refuses many empty lines in a row, over which the library's scanner takes
// the cube of their number.
func (s *sheet) airy(content string) bool {
	empty, n := 0, 0
	for line := range strings.SplitSeq(content, "\n") {
		n++
		if empty++; strings.TrimSpace(line) != "" {
			empty = 0
		}
		if empty > 20 {
			s.say(place{Main, n, 1}, "more than 20 lines in a row are empty", "remove some")
			return false
		}
	}
	return true
}

// bounded looks at the tokens first: the parser calls itself for each level of
// nesting. It also refuses the parts of YAML that let text be something else than
// it looks.
func (s *sheet) bounded(content string) bool {
	flow, deepest := 0, 0
	tokens := yamllexer.Tokenize(content)
	for _, t := range tokens {
		switch t.Type {
		case yamltoken.SequenceStartType, yamltoken.MappingStartType:
			flow++
		case yamltoken.SequenceEndType, yamltoken.MappingEndType:
			flow--
		case yamltoken.AnchorType, yamltoken.AliasType, yamltoken.MergeKeyType, yamltoken.TagType, yamltoken.DirectiveType, yamltoken.MappingKeyType:
			s.say(place{Main, t.Position.Line, t.Position.Column}, "anchors, aliases, tags and directives are not allowed", "write the value out; put text that begins with & * ! % ? in quotes")
			return false
		case yamltoken.CommentType:
			continue
		}
		if deepest = max(deepest, flow); deepest > 3 || flow == 0 && t.Position.Column > 60 && t.Type == yamltoken.SequenceEntryType || len(tokens) > 20_000 {
			s.say(place{Main, t.Position.Line, t.Position.Column}, "the file is nested too deeply, or too long", "write one value per line")
			return false
		}
	}
	return true
}

func pairsOf(node ast.Node) []*ast.MappingValueNode {
	switch n := node.(type) {
	case *ast.MappingNode:
		return n.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}
	}
	return nil
}

func (s *sheet) at(node ast.Node) place {
	if p := pairsOf(node); len(p) > 0 {
		node = p[0].Key
	}
	if t := node.GetToken(); t != nil {
		return place{Main, t.Position.Line, t.Position.Column}
	}
	return place{Main, 1, 1}
}

// collect finds the known keys among pairs, and reports the others.
func (s *sheet) collect(pairs []*ast.MappingValueNode, into map[string]*ast.MappingValueNode, known []string, where string) {
	for _, pair := range pairs {
		key, ok := pair.Key.(*ast.StringNode)
		switch {
		case !ok || !slices.Contains(known, key.Value):
			name := ""
			if ok {
				name = key.Value
			}
			s.say(s.at(pair.Key), fmt.Sprintf("unknown key %q%s", clip(name, 60), where), "remove it, or use one of: "+strings.Join(known, ", "))
		case into[key.Value] != nil:
			s.say(s.at(pair.Key), fmt.Sprintf("the key %q stands twice", key.Value), "keep one of them")
		default:
			into[key.Value] = pair
		}
	}
}

// str is a node's text; what YAML takes for a number or a date is not text.
func (s *sheet) str(node ast.Node, what string, most int) string {
	value := ""
	switch n := node.(type) {
	case *ast.StringNode:
		value = n.Value
	case *ast.LiteralNode:
		value = n.Value.Value
	default:
		s.say(s.at(node), what+" must be text", "write text, in quotes if YAML takes it for something else")
		return ""
	}
	if len(value) > most || strings.TrimSpace(value) == "" || strings.ContainsFunc(value, hostile) {
		s.say(s.at(node), fmt.Sprintf("%s must have 1 to %d bytes of text without control characters", what, most), "change it")
		return ""
	}
	return value
}

func (s *sheet) text(key string, most int) string {
	if s.seen[key] == nil {
		return ""
	}
	return s.str(s.seen[key].Value, key, most)
}

func (s *sheet) short(key string) string {
	id := s.text(key, Caps.Name)
	if id != "" {
		if err := statement.CheckID(key, id); err != nil {
			s.say(s.at(s.seen[key].Value), err.Error(), "change it")
		}
	}
	return id
}

func (s *sheet) list(node ast.Node, what string, most int) []ast.Node {
	n, ok := node.(*ast.SequenceNode)
	if !ok || len(n.Values) > most {
		s.say(s.at(node), fmt.Sprintf("%s must be a list of at most %d", what, most), "write - before each, one a line")
		return nil
	}
	return n.Values
}

func (s *sheet) corpora(key string) []string {
	if s.seen[key] == nil {
		return nil
	}
	var names []string
	for _, node := range s.list(s.seen[key].Value, key, Caps.Corpora) {
		name := s.str(node, "a corpus", Caps.Name)
		if err := statement.CheckID("corpus", name); name != "" && (err != nil || slices.Contains(names, name)) {
			s.say(s.at(node), fmt.Sprintf("the corpus %q is no id, or stands twice", clip(name, 60)), "write letters a-z, digits, '.', '_' and '-'")
		}
		names = append(names, name)
	}
	return names
}

func (s *sheet) tests(a *About) {
	if s.seen["tests"] == nil {
		return
	}
	names := map[string]bool{}
	for _, node := range s.list(s.seen["tests"].Value, "tests", Caps.Tests) {
		at := s.at(node)
		got := map[string]*ast.MappingValueNode{}
		s.collect(pairsOf(node), got, []string{"name", "text", "base64", "detects"}, " in a test")
		t := Test{Line: at.line}
		if got["name"] == nil || (got["text"] == nil) == (got["base64"] == nil) || got["detects"] == nil {
			s.say(at, "a test has a name, text or base64, and detects", "write all three; detects: [] means that nothing may be found")
			continue
		}
		if t.Name = s.str(got["name"].Value, "name", Caps.Name); names[t.Name] {
			s.say(at, fmt.Sprintf("the test %q stands twice", t.Name), "rename one")
		}
		names[t.Name] = true
		if got["text"] != nil {
			t.Content = []byte(s.str(got["text"].Value, "text", Caps.Sample))
		} else {
			raw, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(s.str(got["base64"].Value, "base64", Caps.Sample)), ""))
			if err != nil {
				s.say(s.at(got["base64"].Value), "this is not base64", "write it in the standard alphabet, padded")
			}
			t.Content = raw
		}
		for _, d := range s.list(got["detects"].Value, "detects", Caps.Tests) {
			t.Detects = append(t.Detects, s.str(d, "detects", Caps.Name))
		}
		a.Tests = append(a.Tests, t)
	}
}
