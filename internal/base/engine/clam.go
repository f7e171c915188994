package engine

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/sandbox"
)

// database writes the patterns as ClamAV loads them. Their names become numbers:
// two sets may use one name for different patterns, and a name could look like
// something else in the output (or, as PUA.…, not be loaded at all).
func (s *Scanner) database() (map[string][]int, error) {
	if err := os.MkdirAll(s.path("db"), 0o755); err != nil {
		return nil, err
	}
	if err := os.Chmod(s.path("db"), 0o755); err != nil {
		return nil, err
	}
	lines := map[string][]int{} // by kind: line-1 -> number
	for _, kind := range []string{"ndb", "ldb"} {
		var b strings.Builder
		sep := map[string]string{"ndb": ":", "ldb": ";"}[kind]
		for i, sig := range s.clam {
			if sig.kind != kind {
				continue
			}
			_, rest, ok := strings.Cut(sig.from.Line, sep)
			if !ok || strings.ContainsAny(rest, "\r\n") {
				return nil, fault.Invalid.New("%w", Refused{{File: sig.from.File, Line: sig.from.At, Rule: sig.name, Text: "this is no pattern line"}})
			}
			fmt.Fprintf(&b, "C%d%s%s\n", i, sep, rest)
			lines[kind] = append(lines[kind], i)
		}
		if b.Len() > 0 {
			if err := put(s.path("db/patterns."+kind), b.String()); err != nil {
				return nil, err
			}
		}
	}
	return lines, nil
}

var clamProblem = regexp.MustCompile(`Problem parsing database at line (\d+)`)
var clamFile = regexp.MustCompile(`Can't load \S*patterns\.(ndb|ldb)`)

// lint loads the patterns once: ClamAV refuses all of them for one bad line.
func (s *Scanner) lint(ctx context.Context) error {
	if err := need(s.e.Clamscan, "clamav"); err != nil {
		return err
	}
	lines, err := s.database()
	if err != nil {
		return fmt.Errorf("writing patterns: %w", err)
	}
	if err := put(s.path("nothing"), "nothing"); err != nil {
		return err
	}
	j := s.e.job(nil, sandbox.Limits{Wall: s.e.Compile, CPU: s.e.Compile})
	j.Argv = []string{s.e.Clamscan, "-d", s.inside(&j, "db"), "--no-summary", "--stdout", s.inside(&j, "nothing")}
	res, err := sandbox.Run(ctx, j)
	if err != nil {
		return err
	}
	if res.Exit == 0 || res.Exit == 1 {
		return nil
	}
	said := append(slices.Clone(res.Stderr), res.Stdout...)
	var refused Refused
	kind := ""
	if m := clamFile.FindSubmatch(said); m != nil {
		kind = string(m[1])
	}
	for _, m := range clamProblem.FindAllSubmatch(said, 100) {
		if n, _ := strconv.Atoi(string(m[1])); kind != "" && n > 0 && n <= len(lines[kind]) {
			sig := s.clam[lines[kind][n-1]]
			refused = append(refused, Problem{File: sig.from.File, Line: sig.from.At, Rule: sig.name, Text: "ClamAV refuses this line: " + reasonIn(said)})
		}
	}
	if len(refused) > 0 {
		return fault.Invalid.New("%w", refused)
	}
	return fault.Unavailable.New("clamscan ended with %d: %s", res.Exit, clip(said))
}

// reasonIn is what ClamAV says before it names the line.
func reasonIn(said []byte) string {
	for line := range strings.Lines(string(said)) {
		rest, ok := strings.CutPrefix(line, "LibClamAV Error: ")
		if ok && !strings.HasPrefix(rest, "Problem parsing") && !strings.HasPrefix(rest, "Can't load") {
			return clip([]byte(rest))
		}
	}
	return "malformed"
}

// clamTool scans with the patterns only: no database of the system, no alerts of
// ClamAV's own but those that say that it did not look at everything.
type clamTool struct{ s *Scanner }

func (c clamTool) name() string { return "clamscan" }

func (c clamTool) argv(j *sandbox.Job, list string) []string {
	return []string{c.s.e.Clamscan, "-d", c.s.inside(j, "db"), "--no-summary", "--stdout", "--allmatch",
		"--alert-exceeds-max=yes", "--bytecode=no", "--phishing-sigs=no", "--nocerts", "--disable-cache", "--follow-file-symlinks=2",
		"--max-filesize=1990M", "--max-scansize=1990M", fmt.Sprintf("--max-scantime=%d", c.s.e.PerFile/time.Millisecond*3/4),
		"--tempdir=/tmp", "--file-list=" + list}
}

// read understands "path: C12.UNOFFICIAL FOUND", "path: OK" and "path: Empty file".
func (c clamTool) read(stdout []byte, at map[string]int, found func(i int, kind, name string, in In), answered func(i int, why string)) {
	for line := range bytes.Lines(stdout) {
		text := strings.TrimSuffix(string(line), "\n")
		cut := strings.LastIndex(text, ": ")
		if cut < 0 || line[len(line)-1] != '\n' {
			continue
		}
		i, known := at[text[:cut]]
		verdict, hit := strings.CutSuffix(text[cut+2:], " FOUND")
		number, ours := strings.CutSuffix(verdict, ".UNOFFICIAL")
		n, err := strconv.Atoi(strings.TrimPrefix(number, "C"))
		switch {
		case !known:
		case hit && ours && err == nil && n >= 0 && n < len(c.s.clam):
			found(i, c.s.clam[n].kind, c.s.clam[n].name, c.s.clam[n].in)
			answered(i, "")
		case hit && strings.HasPrefix(verdict, "Heuristics.Limits."):
			answered(i, "ClamAV did not look at all of it: "+clip([]byte(verdict)))
		case hit, verdict == "OK", verdict == "Empty file":
			answered(i, "")
		}
	}
}

func (c clamTool) distrust([]byte) string { return "" }

func (c clamTool) why(said []byte, path string) string {
	for line := range strings.Lines(string(said)) {
		for _, begin := range []string{"WARNING: ", "ERROR: ", "LibClamAV Error: ", ""} {
			if rest, ok := strings.CutPrefix(line, begin+path+": "); ok {
				return clip([]byte(rest))
			}
		}
	}
	return ""
}
