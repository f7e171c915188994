package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// In says in which of the two rule sets something is.
type In uint8

// Both is Old|New.
const (
	Old In = 1 << iota
	New
	Both = Old | New
)

// Scanner is one or two rule sets, compiled. It is safe to use from many
// goroutines. Close removes what it keeps on the disk.
type Scanner struct {
	e    Engine
	dir  string
	yara bool
	clam []signature // by number
	hash *hashes

	Warnings []Problem // of the compilation
}

// signature is one line that ClamAV loads, under a number as its name.
type signature struct {
	kind, name string
	in         In
	from       Entry
}

// Close removes the compiled rules.
func (s *Scanner) Close() error { return os.RemoveAll(s.dir) }

// Load compiles one rule set (old or new nil), or two for one pass. What an engine
// refuses comes as [Refused], an Invalid error; an engine that did not survive the
// rules as Unavailable (see [Engine.Culprit]).
func (e Engine) Load(ctx context.Context, old, new *Rules) (*Scanner, error) {
	e = e.filled()
	dir, err := e.folder()
	if err != nil {
		return nil, err
	}
	s := &Scanner{e: e, dir: dir}
	if err := s.load(ctx, old, new); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Scanner) load(ctx context.Context, old, new *Rules) error {
	if old == nil {
		old = &Rules{}
	}
	if new == nil {
		new = &Rules{}
	}
	hash, err := readHashes(old.Hashes, new.Hashes)
	if err != nil {
		return err
	}
	s.hash = hash
	if len(old.YARA)+len(new.YARA) > 0 {
		if err := s.compile(ctx, share(old, new)); err != nil {
			return fmt.Errorf("compiling YARA rules: %w", err)
		}
		s.yara = true
	}
	s.number("ndb", old.Patterns, new.Patterns)
	s.number("ldb", old.Logical, new.Logical)
	if len(s.clam) > 0 {
		if err := s.lint(ctx); err != nil {
			return fmt.Errorf("loading ClamAV patterns: %w", err)
		}
	}
	return nil
}

// unit is a part of the rules that is compiled as one namespace.
type unit struct {
	in      In
	imports []string
	rules   []Rule
}

// share splits two rule sets into what both have and what is different. A rule is
// shared when its text and all that it needs are the same in both; a global rule
// touches every other, so with different ones nothing is shared.
func share(old, new *Rules) []unit {
	same := map[string]bool{}
	before := map[string]string{}
	for _, r := range old.YARA {
		before[r.Name] = r.Text
	}
	if globals(old) == globals(new) {
		for _, r := range new.YARA { // needs stand before: one pass is enough
			text, known := before[r.Name]
			same[r.Name] = known && text == r.Text && allSame(same, r.Needs, old, new)
		}
	}
	both := unit{in: Both, imports: new.Imports}
	for _, r := range new.YARA {
		if same[r.Name] {
			both.rules = append(both.rules, r)
		}
	}
	var all []unit
	if len(both.rules) > 0 {
		all = append(all, both)
	}
	for _, side := range []struct {
		in    In
		rules *Rules
	}{{Old, old}, {New, new}} {
		var own []int
		for i, r := range side.rules.YARA {
			if !same[r.Name] {
				own = append(own, i)
			}
		}
		if len(own) > 0 {
			all = append(all, unit{side.in, side.rules.Imports, side.rules.pick(own)})
		}
	}
	return all
}

func globals(r *Rules) string {
	var b strings.Builder
	for _, rule := range r.YARA {
		if rule.Global {
			fmt.Fprintf(&b, "%q", rule.Text)
		}
	}
	return b.String()
}

// allSame tells whether all that these names stand for is shared. A set of rules
// (x*) is when both sides have the same number of such rules, all shared.
func allSame(same map[string]bool, needs []string, old, new *Rules) bool {
	for _, n := range needs {
		prefix, set := strings.CutSuffix(n, "*")
		if !set {
			if known, rule := same[n]; rule && !known {
				return false
			}
			continue
		}
		a, b := matching(old, prefix), matching(new, prefix)
		if len(a) != len(b) {
			return false
		}
		for i := range b {
			if a[i] != b[i] || !same[b[i]] {
				return false
			}
		}
	}
	return true
}

func matching(r *Rules, prefix string) []string {
	var names []string
	for _, rule := range r.YARA {
		if strings.HasPrefix(rule.Name, prefix) {
			names = append(names, rule.Name)
		}
	}
	return names
}

// pick gives the YARA rules with these indices, with all that they need and with
// the global ones, in order.
func (r *Rules) pick(indices []int) []Rule {
	byName := map[string]int{}
	for i, rule := range r.YARA {
		byName[rule.Name] = i
	}
	take := make([]bool, len(r.YARA))
	queue := append([]int(nil), indices...)
	for i, rule := range r.YARA {
		if rule.Global {
			queue = append(queue, i)
		}
	}
	for len(queue) > 0 {
		i := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		if take[i] {
			continue
		}
		take[i] = true
		for _, n := range r.YARA[i].Needs {
			if prefix, set := strings.CutSuffix(n, "*"); set {
				for k, rule := range r.YARA {
					if strings.HasPrefix(rule.Name, prefix) {
						queue = append(queue, k)
					}
				}
			} else if k, ok := byName[n]; ok && k != i {
				queue = append(queue, k)
			}
		}
	}
	var rules []Rule
	for i, rule := range r.YARA {
		if take[i] {
			rules = append(rules, rule)
		}
	}
	return rules
}

// number gives every pattern of either side a number, once where both have it.
func (s *Scanner) number(kind string, old, new []Entry) {
	at := map[string]int{}
	for _, side := range []struct {
		in      In
		entries []Entry
	}{{Old, old}, {New, new}} {
		for _, e := range side.entries {
			if i, ok := at[e.Line]; ok {
				s.clam[i].in |= side.in
				s.clam[i].from = e
				continue
			}
			at[e.Line] = len(s.clam)
			s.clam = append(s.clam, signature{kind, e.Name, side.in, e})
		}
	}
}

func (s *Scanner) path(name string) string { return filepath.Join(s.dir, name) }
