// Package engine scans lists of files with detection rules: YARA rules and ClamAV
// patterns by the engines that the system has (yara, clamscan), hash lists by
// itself.
//
// It promises that every file is answered for: a file is reported with its hits,
// or with the reason why nobody can say what it is (a [Gap]), never left out. A
// crash, a timeout, a skipped or vanished file is a gap. Rules and files are
// hostile, so engines run in package sandbox only, and in batches, because one
// process for each file is thirty times slower. Two rule sets are scanned in one
// pass: what they have in common is evaluated once.
//
// It refuses rules that an engine refuses, all of them, with file and line. A hash
// matches a whole file only; ClamAV itself would also look into archives.
//
// Start at [Engine.Load], then [Scanner.Scan]; [Engine.Times] names slow rules and
// [Engine.Culprit] the rule that an engine dies of.
package engine

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/sandbox"
)

// Rules is one rule set, in the order in which it was released.
type Rules struct {
	Imports  []string // YARA modules
	YARA     []Rule   // what a rule needs stands before it
	Hashes   []Entry  // hash:size:name
	Patterns []Entry  // .ndb
	Logical  []Entry  // .ldb
}

// Rule is one YARA rule as it stands in its file.
type Rule struct {
	Name   string
	Text   string
	Needs  []string // other rules that its condition names; "x*" for all that begin with x
	Global bool
	File   string
	Line   int
}

// Entry is one line in a ClamAV format.
type Entry struct {
	Name, Line string
	File       string
	At         int
}

// Engine says how to run engines. The zero value takes those of the system.
type Engine struct {
	Yara, Yarac, Clamscan string // commands, as the sandbox sees them
	Binds                 []sandbox.Bind
	Workers               int           // batches at a time (the processors)
	Batch                 int           // files of a batch (1000)
	PerFile               time.Duration // longest time for one file (20 s)
	Compile               time.Duration // longest time to compile (5 min)
	Memory                int64         // bytes of one engine process (1 GiB)
	TempDir               string        // for compiled rules and lists
	UnsafeUnconfined      bool          // run engines without a sandbox where there is none
}

// lineBuffered makes an engine say each line at once: what it said before it died
// tells which file it died of. It takes a tenth more time.
var lineBuffered = []string{"stdbuf", "-oL"}

// Caps are the limits on what is scanned, in one place.
var Caps = struct {
	Output, Compiled, BatchBytes int64
	Hits, Failures, Files        int
	Name                         int
}{Output: 64 << 20, Compiled: 1 << 30, BatchBytes: 128 << 20, Hits: 1_000_000, Failures: 8, Files: 2_000_000, Name: 1024}

func (e Engine) filled() Engine {
	e.Yara, e.Yarac, e.Clamscan = cmp.Or(e.Yara, "yara"), cmp.Or(e.Yarac, "yarac"), cmp.Or(e.Clamscan, "clamscan")
	e.Workers, e.Batch = cmp.Or(e.Workers, runtime.GOMAXPROCS(0)), cmp.Or(e.Batch, 1000)
	e.PerFile, e.Compile = cmp.Or(e.PerFile, 20*time.Second), cmp.Or(e.Compile, 5*time.Minute)
	e.Memory = cmp.Or(e.Memory, 1<<30)
	return e
}

// need says which package to install when an engine is missing. What is named by
// a path was bound by the caller.
func need(command, pkg string) error {
	if filepath.IsAbs(command) {
		return nil
	}
	if _, err := exec.LookPath(command); err != nil {
		return fault.Unavailable.New("the command %s is not installed: install the package %s", command, pkg)
	}
	return nil
}

// Problem is what an engine says of a line of a rule set.
type Problem struct {
	File    string
	Line    int
	Rule    string
	Text    string
	Warning bool // the engine takes it nevertheless
}

// Error implements error.
func (p Problem) Error() string {
	if p.File == "" {
		return p.Text
	}
	return fmt.Sprintf("%s:%d:1: %s", p.File, p.Line, p.Text)
}

// Refused is every problem for which an engine refuses a rule set.
type Refused []Problem

// Error implements error: one problem per line.
func (r Refused) Error() string {
	var b strings.Builder
	for i, p := range r {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(p.Error())
	}
	return b.String()
}

var version = regexp.MustCompile(`\d+\.\d+[0-9.]*`)

// Versions says which engines answer, by name; an engine that is not there is missing.
func (e Engine) Versions(ctx context.Context) map[string]string {
	e = e.filled()
	found := map[string]string{}
	for name, command := range map[string]string{"yara": e.Yara, "clamav": e.Clamscan} {
		res, err := sandbox.Run(ctx, e.job([]string{command, "--version"}, sandbox.Limits{Wall: 10 * time.Second}))
		if v := version.Find(res.Stdout); err == nil && res.Exit == 0 && v != nil {
			found[name] = string(v)
		}
	}
	return found
}

func (e Engine) job(argv []string, l sandbox.Limits) sandbox.Job {
	l.Memory, l.Output = cmp.Or(l.Memory, e.Memory), cmp.Or(l.Output, Caps.Output)
	return sandbox.Job{Argv: argv, Binds: e.Binds, Limits: l, UnsafeUnconfined: e.UnsafeUnconfined}
}

// folder makes a folder of ours that the sandbox may look into.
func (e Engine) folder() (string, error) {
	dir, err := os.MkdirTemp(e.TempDir, "clerestory-engine-")
	if err != nil {
		return "", fmt.Errorf("making a folder for the engine: %w", err)
	}
	if dir, err = filepath.Abs(dir); err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		os.RemoveAll(dir)
		return "", fmt.Errorf("making a folder for the engine: %w", err)
	}
	return dir, nil
}

// put writes a file that the job may read, whatever the umask.
func put(name string, text string) error {
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		return err
	}
	return os.Chmod(name, 0o644)
}
