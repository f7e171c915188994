package detection_test

import (
	"errors"
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
	"clerestory.dev/clerestory/internal/office/detection"
)

// engines skips a test that needs the engines and a box to run them in.
func engines(t *testing.T) {
	t.Helper()
	if err := sandbox.Confines(); err != nil {
		t.Skip(err)
	}
	for command, pkg := range map[string]string{"yarac": "yara", "clamscan": "clamav"} {
		if _, err := exec.LookPath(command); err != nil {
			t.Skipf("%s is not installed: install the package %s", command, pkg)
		}
	}
}

// written is a folder with a base in it.
func written(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range folder(files) {
		if err := os.WriteFile(filepath.Join(dir, name), text.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func check(t *testing.T, files map[string]string) *detection.Checked {
	t.Helper()
	c, err := detection.Check(t.Context(), written(t, files), engine.Engine{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTheDemoBaseIsSound(t *testing.T) {
	engines(t)
	c, err := detection.Check(t.Context(), demo, engine.Engine{})
	if err != nil {
		t.Fatal(err)
	}
	if !c.Good() || len(c.NotChecked) != 0 || c.Tests != 3 || c.Engines["yara"] == "" || c.Engines["clamav"] == "" {
		t.Errorf("%+v", c)
	}
}

func TestWhatAnEngineRefusesIsToldWithItsPlace(t *testing.T) {
	engines(t)
	c := check(t, map[string]string{
		// released in another order, on other lines
		"z.yar": "// a comment\n\nrule z {\n  condition: /* b */\n    true and\n    nowhere\n}\n", "a.yar": "rule a {\n  strings:\n    $a = \"xyz\"\n  condition: true }\n",
		"a.ndb": "# c\n\nGood:0:*:aabbccdd\nBad:0:*:aabb{1-99999}ccdd(ee|ff\n",
	})
	if c.Good() { // ours refuses the pattern first
		t.Error("it is sound")
	}
	c = check(t, map[string]string{
		"z.yar": "// a comment\n\nrule z {\n  condition: /* b */\n    true and\n    nowhere\n}\n", "a.yar": "rule a {\n  strings:\n    $a = \"xyz\"\n  condition: true }\n",
		"a.ldb": "# c\n\nGood;Target:0;0;aabbccdd\nBad;Target:0;0&1;aabbccdd;0/(?<n>a)(?<n>b)/\n",
	})
	lines := check(t, map[string]string{"a.ldb": "# c\n\nGood;Target:0;0;aabbccdd\nBad;Engine:81-255,Target:0,IconGroup1:x;0&1;aabbccdd;aabb{4-2000000}ccdd\n"})
	t.Log(lines.Problems)
	for _, want := range []string{`z.yar:6:1: z: undefined identifier "nowhere"`, `a.yar:4:1: a: unreferenced string "$a"`, "the engine did not take the ClamAV patterns"} {
		if !strings.Contains(c.Problems.Error(), want) {
			t.Errorf("%s is missing in\n%v", want, c.Problems)
		}
	}
}

func TestABaseThatFailsItsOwnTestsIsNotSound(t *testing.T) {
	engines(t)
	c := check(t, map[string]string{
		"base.yaml": about + "tests:\n  - name: missed\n    text: nothing here\n    detects: [found, A]\n  - name: too much\n    text: a needle here\n    detects: []\n",
		"a.yar":     "rule found { strings: $a = \"needle\" condition: $a }", "a.hsb": sum + ":68:A\n",
	})
	want := []string{`base.yaml:6:1: the test "missed": found does not detect it`, `base.yaml:6:1: the test "missed": A does not detect it`, `base.yaml:9:1: the test "too much": found detects it, and should not`}
	for _, w := range want {
		if !strings.Contains(c.Problems.Error(), w) {
			t.Errorf("%s is missing in\n%v", w, c.Problems)
		}
	}
}

func TestWhatWasNotCheckedIsSaid(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	c := check(t, map[string]string{
		"base.yaml": about + "tests:\n  - name: x\n    text: y\n    detects: []\n",
		"a.yar":     "rule a { condition: nowhere }", "a.ndb": "A:0:*:aabb\n", "a.hsb": sum + ":68:A\n",
	})
	all := strings.Join(c.NotChecked, "\n")
	for _, want := range []string{"1 YARA rules were not compiled: the command yarac is not installed (package yara)", "ClamAV patterns were not compiled", "1 tests were not run"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is missing in\n%s", want, all)
		}
	}
	// Hash lists need nothing.
	if c := check(t, map[string]string{"a.hsb": sum + ":68:A\n"}); !c.Good() || len(c.NotChecked) != 0 {
		t.Errorf("%+v", c)
	}
}

// TestAttackRulesThatEatTheCompiler: what an engine does not survive is a problem
// of the base, and the machine goes on.
func TestAttackRulesThatEatTheCompiler(t *testing.T) {
	engines(t)
	hang := filepath.Join(t.TempDir(), "yarac")
	if err := os.WriteFile(hang, []byte("#!/bin/sh\nexec sleep 1000\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	dir := written(t, map[string]string{"a.yar": "rule a { condition: true }"})
	begun := time.Now()
	c, err := detection.Check(t.Context(), dir, engine.Engine{Yarac: "/eng/yarac", Binds: []sandbox.Bind{{Host: hang, Inside: "/eng/yarac"}}, Compile: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(c.Problems, func(p detection.Problem) bool { return strings.Contains(p.What, "did not take the YARA rules") }) || time.Since(begun) > 30*time.Second {
		t.Errorf("%v after %v", c.Problems, time.Since(begun))
	}
}

func TestAFolderThatIsNoneIsNotFound(t *testing.T) {
	if _, err := detection.Check(t.Context(), filepath.Join(t.TempDir(), "x"), engine.Engine{}); !errors.Is(err, fault.NotFound) {
		t.Error(err)
	}
}
