package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/sandbox"
)

// The last rule of every compilation, in a namespace of its own: it matches every
// file, so a file for which it is not reported was not scanned to its end.
const canary = "rule seen { condition: true }\n"

// compile makes the compiled rules of all units.
func (s *Scanner) compile(ctx context.Context, units []unit) error {
	if err := need(s.e.Yarac, "yara"); err != nil {
		return err
	}
	j := s.e.job(nil, sandbox.Limits{Wall: s.e.Compile, CPU: s.e.Compile, FileSize: Caps.Compiled, Written: Caps.Compiled})
	argv := []string{s.e.Yarac}
	places := map[string][]place{}
	for i, u := range units {
		name := fmt.Sprintf("u%d.yar", i)
		text, at := source(u)
		if err := put(s.path(name), text); err != nil {
			return fmt.Errorf("writing rules: %w", err)
		}
		inside := s.inside(&j, name)
		places[inside] = at
		argv = append(argv, fmt.Sprintf("u%d:%s", u.in, inside))
	}
	if err := put(s.path("seen.yar"), canary); err != nil {
		return fmt.Errorf("writing rules: %w", err)
	}
	out, err := s.e.folder()
	if err != nil {
		return err
	}
	j.Write = out
	target := "/out/rules"
	if s.e.UnsafeUnconfined {
		target = out + "/rules"
	}
	j.Argv = append(argv, "zz:"+s.inside(&j, "seen.yar"), target)
	defer removeAll(out)
	res, err := sandbox.Run(ctx, j)
	if err != nil {
		return err
	}
	problems := yaracProblems(res.Stderr, places)
	if res.Exit != 0 {
		refused := slices.DeleteFunc(slices.Clone(problems), func(p Problem) bool { return p.Warning })
		if len(refused) > 0 {
			return fault.Invalid.New("%w", Refused(refused))
		}
		return fault.Unavailable.New("yarac ended with %d: %s", res.Exit, clip(res.Stderr))
	}
	s.Warnings = problems
	return takeFile(out, "rules", s.path("rules"), Caps.Compiled)
}

// inside shows a file of ours to the job, and says where.
func (s *Scanner) inside(j *sandbox.Job, name string) string {
	if s.e.UnsafeUnconfined {
		return s.path(name)
	}
	j.Binds = append(j.Binds, sandbox.Bind{Host: s.path(name), Inside: "/in/" + name})
	return "/in/" + name
}

// place says where a line of a source that we wrote came from.
type place struct {
	rule *Rule
	line int // the first of the rule, in our source
}

// source writes the text of a unit.
func source(u unit) (string, []place) {
	var b strings.Builder
	line := 1
	for _, i := range u.imports {
		fmt.Fprintf(&b, "import %q\n", i)
		line++
	}
	at := make([]place, 0, len(u.rules))
	for i := range u.rules {
		r := &u.rules[i]
		at = append(at, place{r, line})
		b.WriteString(r.Text)
		b.WriteByte('\n')
		line += strings.Count(r.Text, "\n") + 1
	}
	return b.String(), at
}

// error: rule "x" in u0.yar(12): undefined identifier "y"
var yaracLine = regexp.MustCompile(`^(error|warning): (?:rule "([^"]*)" in )?([^ ]+)\((\d+)\): (.*)$`)

func yaracProblems(stderr []byte, places map[string][]place) []Problem {
	var all []Problem
	for line := range strings.Lines(string(stderr)) {
		m := yaracLine.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil || len(all) == 1000 {
			continue
		}
		n, _ := strconv.Atoi(m[4])
		p := Problem{Rule: m[2], Text: m[5], Warning: m[1] == "warning"}
		at := places[m[3]]
		if i, found := slices.BinarySearchFunc(at, n, func(p place, n int) int { return p.line - n }); len(at) > 0 {
			if !found {
				i--
			}
			if i >= 0 {
				p.File, p.Line, p.Rule = at[i].rule.File, at[i].rule.Line+n-at[i].line, at[i].rule.Name
			}
		}
		all = append(all, p)
	}
	return all
}

// yaraTool scans with the compiled rules.
type yaraTool struct{ s *Scanner }

func (y yaraTool) name() string { return "yara" }

func (y yaraTool) argv(j *sandbox.Job, list string) []string {
	return []string{y.s.e.Yara, "-C", "-e", "-p", "1", "--scan-list", y.s.inside(j, "rules"), list}
}

// read understands "u1:Name path"; the canary is the answer.
func (y yaraTool) read(stdout []byte, at map[string]int, found func(i int, kind, name string, in In), answered func(i int, why string)) {
	for line := range bytes.Lines(stdout) {
		rule, path, ok := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
		i, known := at[path]
		space, name, _ := strings.Cut(rule, ":")
		switch {
		case !ok || !known || line[len(line)-1] != '\n':
		case space == "zz":
			answered(i, "")
		case len(space) == 2 && space[0] == 'u':
			found(i, "yar", name, In(space[1]-'0'))
		}
	}
}

// distrust finds what makes the answers of a whole run worthless.
func (y yaraTool) distrust(stderr []byte) string {
	for line := range bytes.Lines(stderr) {
		if bytes.Contains(line, []byte("results for this rule may be incorrect")) || bytes.Contains(line, []byte("too many matches")) {
			return clip(line)
		}
	}
	return ""
}

// why finds what the engine said of a file that it did not scan.
func (y yaraTool) why(stderr []byte, path string) string {
	for line := range strings.Lines(string(stderr)) {
		if rest, ok := strings.CutPrefix(line, "error scanning "+path+": "); ok {
			return clip([]byte(rest))
		}
	}
	return ""
}

var errNoOutput = errors.New("the engine wrote nothing")

func clip(b []byte) string {
	s := strings.TrimSpace(strings.ToValidUTF8(string(b[:min(len(b), 400)]), "?"))
	return strings.Map(func(c rune) rune {
		if c < 0x20 || c == 0x7f {
			return ' '
		}
		return c
	}, s)
}
