package engine_test

import (
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"clerestory.dev/clerestory/internal/base/engine"
	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/sandbox"
)

func need(t *testing.T, commands ...string) {
	t.Helper()
	for _, c := range append(commands, "bwrap") {
		if _, err := exec.LookPath(c); err != nil {
			t.Skip(c + " is not installed")
		}
	}
}

func rule(name, strings, condition string) engine.Rule {
	text := "rule " + name + " {\n"
	if strings != "" {
		text += "  strings:\n    " + strings + "\n"
	}
	return engine.Rule{Name: name, Text: text + "  condition:\n    " + condition + "\n}", File: "a.yar", Line: 10}
}

func corpus(t *testing.T, files map[string]string) []engine.Target {
	t.Helper()
	dir := t.TempDir()
	var all []engine.Target
	for name, content := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		all = append(all, engine.Target{Root: dir, Path: name, Size: int64(len(content))})
	}
	slices.SortFunc(all, func(a, b engine.Target) int { return strings.Compare(a.Path, b.Path) })
	return all
}

// scan gives what was found, one line a hit: "file kind:rule in".
func scan(t *testing.T, e engine.Engine, old, new *engine.Rules, targets []engine.Target) ([]string, *engine.Report) {
	t.Helper()
	s, err := e.Load(t.Context(), old, new)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	report, err := s.Scan(t.Context(), targets, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, h := range report.Hits {
		got = append(got, fmt.Sprintf("%s %s:%s %d", targets[h.File].Path, h.Kind, h.Rule, h.In))
	}
	for _, g := range report.Gaps {
		t.Logf("gap: %q by %s: %s", targets[g.File].Path, g.Engine, g.Why)
	}
	return got, report
}

func same(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestTwoRuleSetsAreScannedInOnePass(t *testing.T) {
	need(t, "yara", "clamscan")
	files := corpus(t, map[string]string{"one": "hello alpha", "two": "hello beta", "sub/three": "gamma rays", "empty": ""})
	sum, old1 := sha256.Sum256([]byte("gamma rays")), sha1.Sum([]byte("hello beta"))
	old := &engine.Rules{
		YARA:     []engine.Rule{rule("Same", `$a = "hello"`, "$a"), rule("Changed", `$a = "alpha"`, "$a"), {Name: "Uses", Text: "rule Uses { condition: Changed }", Needs: []string{"Changed"}}, rule("Gone", `$a = "gamma"`, "$a")},
		Hashes:   []engine.Entry{{Name: "H.Old", Line: fmt.Sprintf("%x:10:H.Old", old1)}, {Name: "H.Same", Line: fmt.Sprintf("%x:10:H.Same", sum)}},
		Patterns: []engine.Entry{{Name: "P", Line: "P:0:*:616c706861"}},
		Logical:  []engine.Entry{{Name: "L", Line: "L;Engine:51-255,Target:0;0&1;68656c6c6f;62657461"}},
	}
	new := &engine.Rules{
		YARA:     []engine.Rule{rule("Same", `$a = "hello"`, "$a"), rule("Changed", `$a = "beta"`, "$a"), {Name: "Uses", Text: "rule Uses { condition: Changed }", Needs: []string{"Changed"}}, rule("Added", "", "filesize == 0")},
		Hashes:   []engine.Entry{{Name: "H.Same", Line: fmt.Sprintf("%x:10:H.Same", sum)}, {Name: "H.Any", Line: fmt.Sprintf("%x:*:H.Any:73", sum)}, {Name: "H.Size", Line: fmt.Sprintf("%x:6:H.Size", sum)}},
		Patterns: []engine.Entry{{Name: "P", Line: "P:0:*:67616d6d61"}},
		Logical:  []engine.Entry{{Name: "L", Line: "L;Engine:51-255,Target:0;0&1;68656c6c6f;62657461"}},
	}
	got, report := scan(t, engine.Engine{}, old, new, files)
	if len(report.Gaps) > 0 || report.Bytes != 31 || report.Sums[2] != sum {
		t.Fatalf("%+v", report)
	}
	same(t, got,
		"empty yar:Added 2",
		"one ndb:P 1", "one yar:Changed 1", "one yar:Same 3", "one yar:Uses 1",
		"sub/three hsb:H.Any 2", "sub/three hsb:H.Same 3", "sub/three ndb:P 2", "sub/three yar:Gone 1",
		"two hsb:H.Old 1", "two ldb:L 3", "two yar:Changed 2", "two yar:Same 3", "two yar:Uses 2")
}

func TestAGlobalRuleOfOneSetDoesNotTouchTheOther(t *testing.T) {
	need(t, "yara")
	files := corpus(t, map[string]string{"one": "hello", "two": "hello there"})
	shared := rule("Hello", `$a = "hello"`, "$a")
	global := engine.Rule{Name: "Small", Global: true, Text: "global private rule Small { condition: filesize < 6 }"}
	got, _ := scan(t, engine.Engine{}, &engine.Rules{YARA: []engine.Rule{shared}}, &engine.Rules{YARA: []engine.Rule{global, shared}}, files)
	same(t, got, "one yar:Hello 3", "two yar:Hello 1")
}

func TestAttackFileNamesThatLieInALine(t *testing.T) {
	need(t, "yara", "clamscan")
	names := []string{"new\nline", "x: OK", "x: C0.UNOFFICIAL FOUND", " space ", "tab\t", "bad\xffutf", "-r", "zz:seen x", "ünï", "carriage\r", strings.Repeat("n", 250)}
	files := map[string]string{}
	for i, n := range names {
		files[n] = "clean"
		if i%2 == 0 {
			files[n] = "evil bytes"
		}
	}
	r := &engine.Rules{YARA: []engine.Rule{rule("Evil", `$a = "evil"`, "$a")}, Patterns: []engine.Entry{{Name: "P", Line: "P:0:*:6576696c206279746573"}}}
	targets := corpus(t, files)
	_, report := scan(t, engine.Engine{}, nil, r, targets)
	if len(report.Gaps) > 0 {
		t.Fatal(report.Gaps)
	}
	hits := map[string]int{}
	for _, h := range report.Hits {
		hits[targets[h.File].Path]++
	}
	for i, n := range names {
		if want := 2 * ((i + 1) % 2); hits[n] != want {
			t.Errorf("%q has %d hits, not %d", n, hits[n], want)
		}
	}
}

func TestAFileThatIsGoneOrUnreadableIsNeverClean(t *testing.T) {
	need(t, "yara", "clamscan")
	targets := corpus(t, map[string]string{"a": "evil", "gone": "x", "pipe": "x", "z": "fine"})
	dir := targets[0].Root
	for _, err := range []error{os.Remove(filepath.Join(dir, "gone")), os.Remove(filepath.Join(dir, "pipe")), exec.Command("mkfifo", filepath.Join(dir, "pipe")).Run()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	r := &engine.Rules{YARA: []engine.Rule{rule("Evil", `$a = "evil"`, "$a")}, Patterns: []engine.Entry{{Name: "P", Line: "P:0:*:6576696c206279746573"}}}
	got, report := scan(t, engine.Engine{PerFile: time.Second}, nil, r, targets)
	same(t, got, "a yar:Evil 2")
	by := map[string]int{}
	for _, g := range report.Gaps {
		by[targets[g.File].Path]++
	}
	if by["gone"] != 3 || by["pipe"] < 2 || by["a"]+by["z"] > 0 {
		t.Fatal(by)
	}
}

func TestAttackARuleHangs(t *testing.T) {
	need(t, "yara")
	files := map[string]string{"b": strings.Repeat("x", 5000)}
	for i := range 20 {
		files[fmt.Sprintf("f%02d", i)] = "evil"
	}
	targets := corpus(t, files)
	r := &engine.Rules{YARA: []engine.Rule{rule("Evil", `$a = "evil"`, "$a"), {Name: "Hangs", Text: "rule Hangs { condition: filesize == 5000 and for all i in (1..4000000000) : (i > 0) }"}, rule("Other", `$a = "other"`, "$a")}}
	e := engine.Engine{PerFile: 700 * time.Millisecond}
	got, report := scan(t, e, nil, r, targets)
	if len(got) != 20 || len(report.Gaps) != 1 || targets[report.Gaps[0].File].Path != "b" || !strings.Contains(report.Gaps[0].Why, "said nothing for too long") {
		t.Fatal(got, report.Gaps)
	}
	name, err := e.Culprit(t.Context(), r, &targets[0])
	if err != nil || name != "Hangs" {
		t.Fatal(name, err)
	}
}

func TestAttackARuleHangsOnEveryFile(t *testing.T) {
	need(t, "yara")
	files := map[string]string{}
	for i := range 30 {
		files[fmt.Sprintf("f%02d", i)] = "evil"
	}
	r := &engine.Rules{YARA: []engine.Rule{{Name: "Hangs", Text: "rule Hangs { condition: for all i in (1..4000000000) : (i > 0) }"}}}
	started := time.Now()
	_, report := scan(t, engine.Engine{PerFile: 300 * time.Millisecond}, nil, r, corpus(t, files))
	if len(report.Gaps) != 30 || time.Since(started) > 20*time.Second {
		t.Fatal(len(report.Gaps), time.Since(started))
	}
}

func TestAttackTheCompilerIsMadeToEatMemory(t *testing.T) {
	need(t, "yara")
	var strings strings.Builder
	for i := range 9000 {
		fmt.Fprintf(&strings, "$a%d = \"text%d\" xor ascii wide\n", i, i)
	}
	bomb := rule("Bomb", strings.String(), "any of them")
	r := &engine.Rules{YARA: []engine.Rule{rule("Fine", `$a = "x1"`, "$a"), bomb, rule("Good", `$a = "y2"`, "$a")}}
	e := engine.Engine{Memory: 48 << 20, Compile: 10 * time.Second}
	s, err := e.Load(t.Context(), nil, r)
	if err == nil {
		s.Close()
		t.Fatal("it compiled")
	}
	t.Log(err)
	if errors.Is(err, fault.Unavailable) {
		name, err := e.Culprit(t.Context(), r, nil)
		if err != nil || name != "Bomb" {
			t.Fatal(name, err)
		}
	}
}

// broken makes an engine that dies of files with the word KILLER in them.
func broken(t *testing.T, how string) engine.Engine {
	dir := t.TempDir()
	script := `#!/bin/bash
list="${@: -1}"; rules="${@: -2:1}"
while IFS= read -r f; do
  if grep -q KILLER "$f"; then ` + how + `; fi
  printf '%s\n' "$f" > /tmp/one
  /usr/bin/yara -C -e --scan-list "$rules" /tmp/one
done < "$list"
`
	if err := os.WriteFile(filepath.Join(dir, "yara"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return engine.Engine{Yara: "/engine/yara", Binds: []sandbox.Bind{{Host: dir, Inside: "/engine"}}, PerFile: 2 * time.Second}
}

func TestAttackAFileKillsTheEngine(t *testing.T) {
	need(t, "yara")
	for name, how := range map[string]string{"a crash": "kill -SEGV $$", "a silent end": "exit 0", "memory": `x=$(head -c 3000000000 /dev/zero | tr '\0' x)`, "skipping": "continue"} {
		t.Run(name, func(t *testing.T) {
			targets := corpus(t, map[string]string{"a": "evil", "b": "evil KILLER", "c": "evil", "d": "fine"})
			got, report := scan(t, broken(t, how), nil, &engine.Rules{YARA: []engine.Rule{rule("Evil", `$a = "evil"`, "$a")}}, targets)
			gap := map[string]bool{}
			for _, g := range report.Gaps {
				gap[targets[g.File].Path] = true
			}
			if !gap["b"] || slices.Contains(got, "b yar:Evil 2") || !slices.Contains(got, "a yar:Evil 2") {
				t.Fatal(got, report.Gaps)
			}
			for _, f := range []string{"a", "c"} { // answered, or said to be open
				if !gap[f] && !slices.Contains(got, f+" yar:Evil 2") {
					t.Errorf("%s is neither found nor open", f)
				}
			}
		})
	}
}

func TestABadLineIsNamed(t *testing.T) {
	need(t, "yara", "clamscan")
	for name, r := range map[string]*engine.Rules{
		"a.yar:13:1: undefined": {YARA: []engine.Rule{rule("Fine", `$a = "x1"`, "$a"), rule("Bad", "", "nothing_known")}},
		"p.ndb:7:1: ":           {Patterns: []engine.Entry{{Name: "A", Line: "A:0:*:616c706861", File: "p.ndb", At: 3}, {Name: "B", Line: "B:0:*:zz", File: "p.ndb", At: 7}}},
		"l.ldb:2:1: ":           {Logical: []engine.Entry{{Name: "L", Line: "L;Engine:51-255,Target:0;0&1&5;68656c6c6f;62657461", File: "l.ldb", At: 2}}},
		"h.hsb:5:1: ":           {Hashes: []engine.Entry{{Name: "H", Line: "zz:5:H", File: "h.hsb", At: 5}}},
	} {
		s, err := engine.Engine{}.Load(t.Context(), nil, r)
		if err == nil {
			s.Close()
		}
		if _, refused := errors.AsType[engine.Refused](err); !refused || !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), name[:6]) {
			t.Errorf("%s: %v", name, err)
		} else {
			t.Log(err)
		}
	}
}

func TestASlowRuleIsNamed(t *testing.T) {
	need(t, "yara")
	targets := corpus(t, map[string]string{"text": strings.Repeat("some text with words and numbers 12345\n", 50_000)})
	r := &engine.Rules{}
	for i := range 40 {
		r.YARA = append(r.YARA, rule(fmt.Sprintf("R%d", i), fmt.Sprintf(`$a = "needle%d"`, i), "$a"))
	}
	r.YARA = append(r.YARA, rule("Slow", "", "for all i in (0..filesize - 1) : (uint8(i) != 0xff)"))
	times, err := engine.Engine{}.Times(t.Context(), r, engine.Timing{Sample: targets, Alone: []string{"R3"}, Slow: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(times)
	if len(times) < 3 || times[0].Rule != "Slow" || !times[0].Slow || times[1].Slow || !slices.ContainsFunc(times, func(m engine.Time) bool { return m.Rule == "R3" }) {
		t.Fatal(times)
	}
	sum := 0
	for _, m := range times {
		sum += m.Rules
	}
	if sum != 41 {
		t.Errorf("%d rules were measured", sum)
	}
}

func TestMissingEnginesAreNamedWithTheirPackage(t *testing.T) {
	need(t)
	_, err := engine.Engine{Yarac: "yarac-that-is-not"}.Load(t.Context(), nil, &engine.Rules{YARA: []engine.Rule{rule("A", "", "true")}})
	if !errors.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "install the package yara") {
		t.Fatal(err)
	}
	// Hash lists need no engine.
	e := engine.Engine{Yara: "none", Yarac: "none", Clamscan: "none"}
	got, _ := scan(t, e, nil, &engine.Rules{Hashes: []engine.Entry{{Line: fmt.Sprintf("%x:1:One", sha256.Sum256([]byte("x")))}}}, corpus(t, map[string]string{"a": "x"}))
	same(t, got, "a hsb:One 2")
}
