package signing

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// node is a JSON value with its members in the order of the text: what is read
// first is shown first.
type node struct {
	text    string // of a scalar
	members []member
	list    bool // members are a list's items, without names
}

type member struct {
	name  string
	value node
}

// flatten adds every value of a JSON object as a line, named by its path. A
// small object or list is one line.
func (s *Sight) flatten(object []byte) error {
	dec := json.NewDecoder(bytes.NewReader(object))
	dec.UseNumber()
	n, err := readNode(dec)
	if err != nil {
		return err
	}
	for _, m := range n.members {
		s.addNode(m.name, m.value)
	}
	return nil
}

func (s *Sight) addNode(path string, n node) {
	if len(n.members) == 0 || n.leaves() <= 5 {
		s.add(path, n.short())
		return
	}
	for i, m := range n.members {
		name := m.name
		if n.list {
			name = strconv.Itoa(i + 1)
		}
		s.addNode(path+" / "+name, m.value)
	}
}

func (n node) leaves() int {
	if n.members == nil {
		return 1
	}
	all := 0
	for _, m := range n.members {
		all += m.value.leaves()
	}
	return all
}

// short is a value in one line.
func (n node) short() string {
	if n.members == nil {
		return n.text
	}
	var parts []string
	for _, m := range n.members {
		text := m.value.short()
		if m.value.members == nil {
			text = quoted(text)
		}
		if !n.list {
			text = quoted(m.name) + " " + text
		}
		parts = append(parts, text)
	}
	if len(parts) == 0 {
		return "(none)"
	}
	return strings.Join(parts, ", ")
}

// quoted keeps a text that holds spaces or commas from passing for two.
func quoted(s string) string {
	if s == "" || strings.ContainsAny(s, " ,\"'") {
		return `"` + strings.ReplaceAll(s, `"`, `'`) + `"`
	}
	return s
}

// readNode reads one value; its depth was bounded by the strict reader before.
func readNode(dec *json.Decoder) (node, error) {
	tok, err := dec.Token()
	if err != nil {
		return node{}, err
	}
	open, ok := tok.(json.Delim)
	if !ok {
		return node{text: fmt.Sprint(tok)}, nil
	}
	n := node{members: []member{}, list: open == '['}
	for dec.More() {
		var m member
		if !n.list {
			name, err := dec.Token()
			if err != nil {
				return node{}, err
			}
			m.name, _ = name.(string)
		}
		if m.value, err = readNode(dec); err != nil {
			return node{}, err
		}
		n.members = append(n.members, m)
	}
	_, err = dec.Token()
	return n, err
}
