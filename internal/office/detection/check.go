package detection

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"clerestory.dev/clerestory/internal/base/engine"
	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/sandbox"
)

// Checked is what is known of a base after all checks.
type Checked struct {
	Base     *Base    `json:"-"` // nil when it could not be read
	Counts   Counts   `json:"counts"`
	Problems Problems `json:"problems"`
	Warnings Problems `json:"warnings"`
	// NotChecked are whole sentences about what nobody looked at, and why.
	NotChecked []string          `json:"notChecked"`
	Engines    map[string]string `json:"engines"` // version by name
	Tests      int               `json:"tests"`   // of base.yaml, that were run
}

// Good tells whether nothing is wrong. What was not checked may still be.
func (c *Checked) Good() bool { return len(c.Problems) == 0 }

// Check reads a base ([Find]), compiles it with the engines that there are, and
// runs its own tests. What is wrong with the base is in the result; the error is
// for a check that could not be made at all.
func Check(ctx context.Context, where string, e engine.Engine) (*Checked, error) {
	c := &Checked{Problems: Problems{}, Warnings: Problems{}, NotChecked: []string{}, Engines: map[string]string{}}
	b, err := Find(ctx, where)
	if problems, ok := errors.AsType[Problems](err); ok {
		c.Problems = problems
		c.NotChecked = append(c.NotChecked, "no engine has compiled the base: it is not sound yet")
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	c.Base, c.Counts = b, b.Counts()
	c.Engines = e.Versions(ctx)
	if err := c.compile(ctx, b, e); err != nil {
		return nil, fmt.Errorf("checking the base %s: %w", where, err)
	}
	return c, nil
}

// compile gives the base to the engines: each on its own, because one that is
// missing says nothing about what the others would say.
func (c *Checked) compile(ctx context.Context, b *Base, e engine.Engine) error {
	all := b.engine((*Rule).laid)
	parts := []struct {
		command, pkg, what string
		n                  int
		rules              *engine.Rules
	}{
		{"yarac", "yara", "YARA rules", len(all.YARA), &engine.Rules{Imports: all.Imports, YARA: all.YARA}},
		{"clamscan", "clamav", "ClamAV patterns", len(all.Patterns) + len(all.Logical), &engine.Rules{Patterns: all.Patterns, Logical: all.Logical}},
	}
	able := &engine.Rules{Hashes: all.Hashes} // what can be run
	for _, p := range parts {
		if p.n == 0 {
			continue
		}
		if why := missing(p.command, p.pkg, e); why != "" {
			c.NotChecked = append(c.NotChecked, fmt.Sprintf("the %d %s were not compiled: %s", p.n, p.what, why))
			continue
		}
		s, err := e.Load(ctx, nil, p.rules)
		if err := c.refused(ctx, p.what, err); err != nil {
			return err
		}
		if s == nil {
			continue
		}
		for _, w := range s.Warnings {
			c.Warnings = append(c.Warnings, problemOf(w))
		}
		if err := s.Close(); err != nil {
			return fmt.Errorf("removing compiled rules: %w", err)
		}
		able.Imports = append(able.Imports, p.rules.Imports...)
		able.YARA, able.Patterns, able.Logical = slices.Concat(able.YARA, p.rules.YARA), slices.Concat(able.Patterns, p.rules.Patterns), slices.Concat(able.Logical, p.rules.Logical)
	}
	if len(b.About.Tests) == 0 || !c.Good() {
		return nil
	}
	if len(c.NotChecked) > 0 {
		c.NotChecked = append(c.NotChecked, fmt.Sprintf("the base's own %d tests were not run: they need every engine", len(b.About.Tests)))
		return nil
	}
	return c.test(ctx, b, e, able)
}

// missing says why an engine can not be asked, or "".
func missing(command, pkg string, e engine.Engine) string {
	if _, err := exec.LookPath(command); err != nil && e.Yarac == "" && e.Clamscan == "" {
		return fmt.Sprintf("the command %s is not installed (package %s)", command, pkg)
	}
	if err := sandbox.Confines(); err != nil && !e.UnsafeUnconfined {
		return err.Error()
	}
	return ""
}

// refused turns what an engine says against the base into problems. An engine that
// hangs or dies of the rules is one too: nobody could scan with them.
func (c *Checked) refused(ctx context.Context, what string, err error) error {
	if err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	if lines, ok := errors.AsType[engine.Refused](err); ok {
		for _, p := range lines {
			if len(c.Problems) < Caps.Problems {
				c.Problems = append(c.Problems, problemOf(p))
			}
		}
		return nil
	}
	// Anything else, a hang or a crash too, is no answer: the base is not sound.
	if fault.KindOf(err) == fault.Unavailable {
		c.Problems = append(c.Problems, Problem{Main, 1, 1, plain(fmt.Sprintf("the engine did not take the %s: %v", what, err)), "find the line by leaving out one file after the other"})
		return nil
	}
	return err
}

func problemOf(p engine.Problem) Problem {
	what := p.Text
	if p.Rule != "" {
		what = fmt.Sprintf("%s: %s", p.Rule, what)
	}
	return Problem{File: plain(p.File), Line: max(p.Line, 1), Column: 1, What: plain(what)}
}

// test runs the base's own tests: exactly what a test names must be detected.
func (c *Checked) test(ctx context.Context, b *Base, e engine.Engine, rules *engine.Rules) error {
	dir, err := os.MkdirTemp(e.TempDir, "clerestory-base-")
	if err != nil {
		return fault.Unavailable.New("making a folder for the tests: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return fault.Unavailable.New("making a folder for the tests: %w", err)
	}
	var targets []engine.Target
	for i, t := range b.About.Tests {
		name := fmt.Sprintf("test-%d", i)
		if err := os.WriteFile(filepath.Join(dir, name), t.Content, 0o644); err != nil {
			return fault.Unavailable.New("writing a test's sample: %w", err)
		}
		targets = append(targets, engine.Target{Root: dir, Path: name, Size: int64(len(t.Content))})
	}
	s, err := e.Load(ctx, nil, rules)
	if err != nil {
		return err
	}
	defer s.Close()
	report, err := s.Scan(ctx, targets, nil)
	if err != nil {
		return err
	}
	c.Tests = len(targets)
	found := make([][]string, len(targets))
	for _, h := range report.Hits {
		found[h.File] = append(found[h.File], h.Rule)
	}
	for i, t := range b.About.Tests {
		c.judge(t, found[i])
	}
	for _, gap := range report.Gaps {
		t := b.About.Tests[gap.File]
		c.Problems = append(c.Problems, Problem{Main, t.Line, 1, plain(fmt.Sprintf("the test %q was not scanned to its end by %s: %s", t.Name, gap.Engine, gap.Why)), "make the rules cheaper"})
	}
	return nil
}

func (c *Checked) judge(t Test, found []string) {
	for _, name := range t.Detects {
		if !slices.Contains(found, name) {
			c.Problems = append(c.Problems, Problem{Main, t.Line, 1, plain(fmt.Sprintf("the test %q: %s does not detect it", t.Name, name)), "mend the rule, or the test"})
		}
	}
	for _, name := range found {
		if !slices.Contains(t.Detects, name) {
			c.Problems = append(c.Problems, Problem{Main, t.Line, 1, plain(fmt.Sprintf("the test %q: %s detects it, and should not", t.Name, name)), "mend the rule, or add it to detects"})
		}
	}
}
