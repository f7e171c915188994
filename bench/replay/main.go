// Command replay measures a replay of a detection base over many clean files
// against the bare engine's own command on the same list. The replay runs in the
// sandbox, runs the base before as well, hashes every file and checks that every
// file was answered for; the bare command does none of it.
//
//	go run ./bench/replay        (needs yara and bubblewrap)
package main

import (
	"context"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"clerestory.dev/clerestory/bench/kit"
	"clerestory.dev/clerestory/internal/office/detection"
)

var (
	files  = flag.Int("files", 20000, "files to scan")
	rules  = flag.Int("rules", 2000, "YARA rules")
	rounds = flag.Int("rounds", 3, "rounds of each side, in turns")
	from   = flag.String("from", "/usr/local/go,/usr/share,/usr/lib", "folders to take files from")
	timed  = flag.Bool("times", false, "also measure a replay that times its rules")
)

func main() {
	flag.Parse()
	dir, err := os.MkdirTemp("", "clerestory-bench-replay-")
	kit.Must(err)
	defer os.RemoveAll(dir)
	corpus := filepath.Join(dir, "corpus")
	n, bytes := collect(corpus)
	old, candidate := base(filepath.Join(dir, "old"), 0), base(filepath.Join(dir, "new"), *rules/200)
	list, compiled := bare(dir, corpus, filepath.Join(dir, "new"))
	known := filepath.Join(dir, "known")
	kit.Must(os.WriteFile(known, []byte("needle-7-0 and needle-7-1"), 0o644))
	fmt.Printf("%d files, %d MB, %d rules\n", n, bytes>>20, *rules)

	setup := detection.Setup{Old: old, New: candidate, Clean: []detection.Corpus{{Name: "clean", Path: corpus}},
		Known: []detection.Corpus{{Name: "known", Path: known}}, Limits: detection.ReplayLimits{NoTimes: true}}
	engine := func() { command("yara", "-C", "--scan-list", compiled, list) }
	source := func() { command("yara", "-w", "--scan-list", filepath.Join(dir, "new", "rules.yar"), list) }
	ours := func() { replay(setup) }
	engine() // the files are in memory from here on
	var a, b []time.Duration
	for i := range *rounds {
		if i%2 == 0 {
			a, b = append(a, took(engine)), append(b, took(ours))
		} else {
			b, a = append(b, took(ours)), append(a, took(engine))
		}
		fmt.Printf("  round %d: yara %.2fs, replay %.2fs, ratio %.2f\n", i+1, a[i].Seconds(), b[i].Seconds(), a[i].Seconds()/b[i].Seconds())
	}
	slices.Sort(a)
	slices.Sort(b)
	m := len(a) / 2
	fmt.Printf("replay    %.0f files/s, yara -C --scan-list %.0f files/s, ratio %.2f (aim >= 0.9)\n",
		float64(n)/b[m].Seconds(), float64(n)/a[m].Seconds(), a[m].Seconds()/b[m].Seconds())
	c := took(source)
	fmt.Printf("          yara with the rules' text, which it compiles as the replay does: %.2fs, ratio %.2f\n", c.Seconds(), c.Seconds()/b[m].Seconds())
	if *timed {
		setup.Limits.NoTimes = false
		fmt.Printf("          with its rules timed: %.2fs\n", took(ours).Seconds())
	}
}

func took(f func()) time.Duration {
	begun := time.Now()
	f()
	return time.Since(begun)
}

func replay(s detection.Setup) {
	r, err := detection.Replay(context.Background(), s)
	kit.Must(err)
	for _, v := range r.Verdicts {
		if !v.Passed {
			kit.Must(fmt.Errorf("%s did not pass: %v", v.Gate, v.Why))
		}
	}
}

// collect copies real files of this machine, so that the list does not change
// under the measurement.
func collect(to string) (n int, bytes int64) {
	for folder := range strings.SplitSeq(*from, ",") {
		kit.Must(filepath.WalkDir(folder, func(name string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return nil
			}
			if n == *files {
				return fs.SkipAll
			}
			b, err := os.ReadFile(name)
			if err != nil || len(b) == 0 || len(b) > 1<<20 {
				return nil
			}
			out := filepath.Join(to, fmt.Sprint(n/500), fmt.Sprintf("%d-%s", n, filepath.Base(name)))
			kit.Must(os.MkdirAll(filepath.Dir(out), 0o755))
			kit.Must(os.WriteFile(out, b, 0o644))
			n++
			bytes += int64(len(b))
			return nil
		}))
	}
	return n, bytes
}

// base writes and reads a base; changed rules look for something else.
func base(dir string, changed int) *detection.Base {
	kit.Must(os.MkdirAll(dir, 0o755))
	kit.Must(os.WriteFile(filepath.Join(dir, "base.yaml"), []byte("id: bench\nname: Bench\nowner: bench\ndescription: rules for a measurement\n"), 0o644))
	var b strings.Builder
	for i := range *rules {
		word := fmt.Sprintf("needle-%d", i)
		if i >= *rules-changed {
			word = fmt.Sprintf("other-%d", i)
		}
		extra := ""
		if i%20 == 0 { // one in twenty has what makes real rules slow: a pattern without a rare beginning
			extra = fmt.Sprintf("    $d = /[a-f0-9]{%d,}-%s=[A-Z]+/ wide ascii\n", 4+i%9, word)
		}
		fmt.Fprintf(&b, "rule Bench%d {\n  strings:\n    $a = \"%s-0\"\n    $b = \"%s-1\" nocase\n    $c = { %02x %02x 9d 13 37 [2-4] %02x ee 01 }\n%s  condition:\n    2 of them\n}\n",
			i, word, word, i%251, i/251+17, i%239, extra)
	}
	kit.Must(os.WriteFile(filepath.Join(dir, "rules.yar"), []byte(b.String()), 0o644))
	base, err := detection.OpenDir(dir)
	kit.Must(err)
	return base
}

func bare(dir, corpus, base string) (list, compiled string) {
	var b strings.Builder
	kit.Must(filepath.WalkDir(corpus, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			fmt.Fprintln(&b, name)
		}
		return err
	}))
	list, compiled = filepath.Join(dir, "list"), filepath.Join(dir, "compiled")
	kit.Must(os.WriteFile(list, []byte(b.String()), 0o644))
	command("yarac", "-w", filepath.Join(base, "rules.yar"), compiled)
	return list, compiled
}

func command(name string, args ...string) {
	cmd := exec.Command(name, args...)
	cmd.Stderr = os.Stderr
	kit.Must(cmd.Run())
}
