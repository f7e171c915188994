package verify

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// Policy is a C2SP tlog-policy: the log, its witnesses, and which of them must
// have cosigned a checkpoint.
type Policy struct {
	Log       *LogKey
	Witnesses []Witness // in the file's order
	quorum    component // nil means "none": no witness is needed
	text      string
}

// LogKey is the log line of a policy.
type LogKey struct {
	VKey     string
	URL      string
	verifier note.Verifier
	key      []byte // the raw public key
}

// Origin is the log's name, the first line of its checkpoints.
func (l *LogKey) Origin() string { return l.verifier.Name() }

// Verifier checks the log's own signature of a checkpoint.
func (l *LogKey) Verifier() note.Verifier { return l.verifier }

// Witness is a witness line of a policy. Name is the policy's own name for it.
type Witness struct {
	Name     string
	VKey     string
	URL      string
	verifier *cosigner
}

// component is a witness or a group: satisfied by a set of witness names.
type component func(signed map[string]bool) bool

// Text is the policy file.
func (p *Policy) Text() string { return p.text }

// ParsePolicy reads a C2SP tlog-policy file. A witness key may stand only once,
// under one name, and a name may be a member only once: otherwise one witness
// would count as two. Stricter than the specification in two points: one log at
// most, and its key may not be a witness's, since nobody witnesses himself.
func ParsePolicy(b []byte) (*Policy, error) {
	if len(b) > Limits.Policy {
		return nil, fmt.Errorf("the policy has %d bytes; at most %d are allowed", len(b), Limits.Policy)
	}
	p := &policyParser{policy: &Policy{text: string(b)}, components: map[string]component{}, keys: map[string]string{}, member: map[string]bool{}}
	n := 0
	for line := range strings.Lines(string(b)) {
		n++
		line = strings.TrimSuffix(line, "\n")
		if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return nil, fmt.Errorf("line %d holds a control character", n)
		}
		// The specification's whitespace is only these two.
		fields := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' })
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if err := p.line(fields); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if !p.hasQuorum {
		return nil, fmt.Errorf("there is no quorum line")
	}
	if l := p.policy.Log; l != nil {
		if name, ok := p.keys[string(l.key)]; ok {
			return nil, fmt.Errorf("the log's key is also that of witness %q", name)
		}
	}
	return p.policy, nil
}

type policyParser struct {
	policy     *Policy
	components map[string]component
	keys       map[string]string // a witness's public key -> its name
	member     map[string]bool   // names that are members of a group
	hasQuorum  bool
}

func (p *policyParser) line(f []string) error {
	switch f[0] {
	case "log":
		return p.log(f[1:])
	case "witness":
		return p.witness(f[1:])
	case "group":
		return p.group(f[1:])
	case "quorum":
		return p.quorum(f[1:])
	}
	return fmt.Errorf("unknown keyword %q; expected log, witness, group or quorum", f[0])
}

func (p *policyParser) log(f []string) error {
	if len(f) < 1 || len(f) > 2 || p.policy.Log != nil {
		return fmt.Errorf("expected one line: log <vkey> [<url>]")
	}
	v, err := note.NewVerifier(f[0])
	if err != nil {
		return fmt.Errorf("the log's key: %w", err)
	}
	_, rest, _ := strings.Cut(f[0], "+") // name, hash, key
	_, key64, _ := strings.Cut(rest, "+")
	raw, err := base64.StdEncoding.DecodeString(key64)
	if err != nil || len(raw) != 1+ed25519.PublicKeySize {
		return fmt.Errorf("the log's key must be an Ed25519 key")
	}
	l := &LogKey{VKey: f[0], verifier: v, key: raw[1:]}
	if len(f) == 2 {
		l.URL = f[1]
	}
	p.policy.Log = l
	return checkURL(l.URL)
}

func (p *policyParser) witness(f []string) error {
	if len(f) < 2 || len(f) > 3 {
		return fmt.Errorf("expected: witness <name> <vkey> [<url>]")
	}
	v, err := newCosigner(f[1])
	if err != nil {
		return fmt.Errorf("the key of witness %q: %w", f[0], err)
	}
	if other, ok := p.keys[string(v.key)]; ok {
		return fmt.Errorf("witnesses %q and %q have the same key", other, f[0])
	}
	p.keys[string(v.key)] = f[0]
	w := Witness{Name: f[0], VKey: f[1], verifier: v}
	if len(f) == 3 {
		w.URL = f[2]
	}
	p.policy.Witnesses = append(p.policy.Witnesses, w)
	if err := checkURL(w.URL); err != nil {
		return err
	}
	return p.define(w.Name, func(signed map[string]bool) bool { return signed[w.Name] })
}

func (p *policyParser) group(f []string) error {
	if len(f) < 3 {
		return fmt.Errorf("expected: group <name> <threshold>|any|all <member>…")
	}
	members := f[2:]
	need, err := strconv.Atoi(f[1])
	switch {
	case f[1] == "any":
		need = 1
	case f[1] == "all":
		need = len(members)
	case err != nil || need < 1 || need > len(members) || strconv.Itoa(need) != f[1]:
		return fmt.Errorf("threshold %q must be any, all or 1 to %d", f[1], len(members))
	}
	var parts []component
	for _, m := range members {
		c, ok := p.components[m]
		if !ok {
			return fmt.Errorf("%q is not defined above", m)
		}
		if p.member[m] {
			return fmt.Errorf("%q is a member of a group already", m)
		}
		p.member[m] = true
		parts = append(parts, c)
	}
	return p.define(f[0], func(signed map[string]bool) bool {
		have := 0
		for _, c := range parts {
			if c(signed) {
				have++
			}
		}
		return have >= need
	})
}

func (p *policyParser) quorum(f []string) error {
	if len(f) != 1 || p.hasQuorum {
		return fmt.Errorf("expected one line: quorum <name>|none")
	}
	p.hasQuorum = true
	if f[0] == "none" {
		return nil
	}
	c, ok := p.components[f[0]]
	if !ok {
		return fmt.Errorf("%q is not defined above", f[0])
	}
	p.policy.quorum = c
	return nil
}

func (p *policyParser) define(name string, c component) error {
	if slices.Contains([]string{"witness", "group", "any", "all", "none", "quorum", "log"}, name) {
		return fmt.Errorf("%q is a keyword, not a name", name)
	}
	if _, ok := p.components[name]; ok {
		return fmt.Errorf("%q is defined twice", name)
	}
	if len(p.components) >= Limits.Witnesses {
		return fmt.Errorf("more than %d witnesses and groups", Limits.Witnesses)
	}
	p.components[name] = c
	return nil
}

// checkURL accepts only what every reader takes for the same URL: URL parsers
// differ, and a policy must not be believed by one verifier and refused by
// another. http or https, a host of letters, digits, '.', '_' and '-' or an
// address in brackets, a port, a path of unescaped characters; nothing else.
func checkURL(s string) error {
	if s == "" {
		return nil
	}
	rest, ok := strings.CutPrefix(s, "https://")
	if !ok {
		rest, ok = strings.CutPrefix(s, "http://")
	}
	authority, path := rest, ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	if !ok || !plainAuthority(authority) || !only(path, alphanumeric+"._~!$&'()*+,;=:@/-") {
		return fmt.Errorf("%q must be an http or https URL of plain characters, without user, query or fragment", s)
	}
	return nil
}

const (
	digits       = "0123456789"
	alphanumeric = digits + "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

func plainAuthority(s string) bool {
	if v6, after, ok := strings.Cut(s, "]"); ok {
		v6, bracket := strings.CutPrefix(v6, "[")
		if !bracket || v6 == "" || !only(v6, digits+"abcdefABCDEF:.") || after != "" && after[0] != ':' {
			return false
		}
		if after == "" {
			return true
		}
		return plainPort(after[1:])
	}
	host, port, hasPort := strings.Cut(s, ":")
	return host != "" && only(host, alphanumeric+"._-") && (!hasPort || plainPort(port))
}

func plainPort(s string) bool { return len(s) >= 1 && len(s) <= 5 && only(s, digits) }

func only(s, allowed string) bool { return strings.Trim(s, allowed) == "" }

// Needed tells whether any witness is needed at all.
func (p *Policy) Needed() bool { return p.quorum != nil }
