package detection_test

import (
	"context"
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
	"clerestory.dev/clerestory/internal/office/detection"
)

// The two strings are put together here, so that no scanner takes this file away.
var (
	eicar = `X5O!P%@AP[4\PZX54(P^)7CC)7}$` + `EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*`
	gtube = "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
)

const (
	eicarRule = "rule Eicar {\n  strings:\n    $a = \"EICAR-STANDARD-ANTIVIRUS-TEST-FILE\"\n  condition:\n    $a\n}\n"
	gtubeRule = "rule Gtube {\n  strings:\n    $a = \"GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL\"\n  condition:\n    $a\n}\n"
)

func needEngines(t *testing.T, commands ...string) {
	t.Helper()
	for _, c := range append(commands, "bwrap") {
		if _, err := exec.LookPath(c); err != nil {
			t.Skip(c + " is not installed")
		}
	}
}

func rulesBase(t *testing.T, rules ...string) *detection.Base {
	return read(t, map[string]string{"a.yar": strings.Join(rules, "\n")})
}

// filesIn makes a corpus.
func filesIn(t *testing.T, name string, files map[string]string) detection.Corpus {
	t.Helper()
	dir := t.TempDir()
	for f, content := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, f)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, f), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return detection.Corpus{Name: name, Path: dir}
}

func specimens(t *testing.T) detection.Corpus {
	return filesIn(t, "tests", map[string]string{"eicar.com": eicar, "mail/gtube.eml": "Subject: x\n\n" + gtube + "\n"})
}

func letters(t *testing.T) detection.Corpus {
	return filesIn(t, "letters", map[string]string{"a": "dear reader", "b/c": "kind regards", "empty": ""})
}

func replay(t *testing.T, s detection.Setup) *detection.Result {
	t.Helper()
	r, err := detection.Replay(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range r.Verdicts {
		t.Logf("%s: %v %q", v.Gate, v.Passed, v.Why)
	}
	return r
}

// gates checks which gates opened.
func gates(t *testing.T, r *detection.Result, clean, known bool) {
	t.Helper()
	if len(r.Verdicts) != 2 || r.Verdicts[0].Gate != detection.GateClean || r.Verdicts[1].Gate != detection.GateKnown {
		t.Fatalf("%+v", r.Verdicts)
	}
	if r.Verdicts[0].Passed != clean || r.Verdicts[1].Passed != known {
		t.Fatalf("replay-clean %v, replay-known %v; wanted %v, %v", r.Verdicts[0].Passed, r.Verdicts[1].Passed, clean, known)
	}
	for i, o := range r.Outcomes() {
		if o.Gate != r.Verdicts[i].Gate || o.Passed != r.Verdicts[i].Passed || o.Passed != (len(o.Fails) == 0) || len(o.With) == 0 {
			t.Errorf("the outcome differs from the verdict: %+v", o)
		}
	}
}

func TestABetterBaseOpensBothGates(t *testing.T) {
	needEngines(t, "yara")
	var steps []string
	r := replay(t, detection.Setup{Old: rulesBase(t, eicarRule), New: rulesBase(t, eicarRule, gtubeRule),
		Clean: []detection.Corpus{letters(t)}, Known: []detection.Corpus{specimens(t)},
		Progress: func(step string, done, of int) { steps = append(steps, fmt.Sprintf("%s %d/%d", step, done, of)) }})
	gates(t, r, true, true)
	if len(r.NewMatches) != 1 || r.NewMatches[0] != (detection.Match{Corpus: "tests", File: "mail/gtube.eml", Kind: "yar", Rule: "Gtube"}) || len(r.GoneMatches) > 0 {
		t.Errorf("%+v", r.NewMatches)
	}
	lines := fmt.Sprintf("%x  a\n%x  b/c\n%x  empty\n", sha256.Sum256([]byte("dear reader")), sha256.Sum256([]byte("kind regards")), sha256.Sum256(nil))
	if c := r.Corpora[0]; c.Files != 3 || c.Digest != fmt.Sprintf("%x", sha256.Sum256([]byte(lines))) {
		t.Errorf("%+v", c)
	}
	if c := r.Corpora[1]; c.DetectedOld != 1 || c.DetectedNew != 2 {
		t.Errorf("%+v", c)
	}
	if !slices.Contains(steps, "scan 10/10") || !slices.ContainsFunc(r.Times, func(m detection.RuleTime) bool { return m.Rule == "Gtube" }) {
		t.Errorf("%q %+v", steps, r.Times)
	}
}

func TestAFalsePositiveClosesTheGate(t *testing.T) {
	needEngines(t, "yara")
	wide := "rule Wide {\n  strings:\n    $a = \"regards\"\n  condition:\n    $a\n}\n"
	r := replay(t, detection.Setup{Old: rulesBase(t, eicarRule), New: rulesBase(t, eicarRule, wide), Clean: []detection.Corpus{letters(t)}, Known: []detection.Corpus{specimens(t)}})
	gates(t, r, false, true)
	if len(r.FalsePositives) != 1 || r.FalsePositives[0].File != "b/c" || r.Numbers["newFalsePositives"] != 1 || !strings.Contains(r.Verdicts[0].Why[0], "Wide on b/c") {
		t.Fatalf("%+v", r)
	}
	// One that stands already is none the better for it.
	r = replay(t, detection.Setup{Old: rulesBase(t, eicarRule, wide), New: rulesBase(t, eicarRule, wide), Clean: []detection.Corpus{letters(t)}, Known: []detection.Corpus{specimens(t)}})
	gates(t, r, false, true)
	if r.Numbers["newFalsePositives"] != 0 {
		t.Fatalf("%+v", r.Numbers)
	}
}

func TestALostDetectionClosesTheGate(t *testing.T) {
	needEngines(t, "yara")
	s := detection.Setup{Old: rulesBase(t, eicarRule, gtubeRule), New: rulesBase(t, eicarRule), Clean: []detection.Corpus{letters(t)}, Known: []detection.Corpus{specimens(t)}}
	r := replay(t, s)
	gates(t, r, true, false)
	if len(r.LostFiles) != 1 || r.LostFiles[0].Rule != "Gtube" || len(r.GoneMatches) != 1 {
		t.Fatalf("%+v", r)
	}
	// A renamed rule loses nothing.
	s.New = rulesBase(t, eicarRule, strings.Replace(gtubeRule, "Gtube", "Spam", 1))
	r = replay(t, s)
	gates(t, r, true, true)
	if len(r.GoneMatches) != 1 || len(r.NewMatches) != 1 {
		t.Fatalf("%+v", r)
	}
}

func TestACorpusThatProvesNothingOpensNoGate(t *testing.T) {
	needEngines(t, "yara")
	b := rulesBase(t, eicarRule)
	gates(t, replay(t, detection.Setup{New: b}), false, false)
	empty := filesIn(t, "empty", nil)
	gates(t, replay(t, detection.Setup{New: b, Clean: []detection.Corpus{empty}, Known: []detection.Corpus{letters(t)}}), false, false)
	_, err := detection.Replay(t.Context(), detection.Setup{New: b, Clean: []detection.Corpus{{Name: "gone", Path: filepath.Join(t.TempDir(), "gone")}}})
	if !errors.Is(err, fault.NotFound) {
		t.Fatal(err)
	}
}

func TestAttackARuleThatHangsClosesTheGatesAndIsNamed(t *testing.T) {
	needEngines(t, "yara")
	hangs := "rule Hangs {\n  condition:\n    filesize > 5 and for all i in (1..4000000000) : (i > 0)\n}\n"
	s := detection.Setup{Old: rulesBase(t, eicarRule), New: rulesBase(t, eicarRule, gtubeRule, hangs), Engine: engine.Engine{PerFile: 700 * time.Millisecond},
		Clean: []detection.Corpus{letters(t)}, Known: []detection.Corpus{specimens(t)}}
	r := replay(t, s)
	gates(t, r, false, false)
	if len(r.Open) != 4 || !slices.ContainsFunc(r.Open, func(o detection.Unjudged) bool { return o.Rule == "Hangs" }) {
		t.Fatalf("%+v", r.Open)
	}
	// The candidate that mends it is not held up by the base before.
	s.Old, s.New = s.New, rulesBase(t, eicarRule, gtubeRule)
	gates(t, replay(t, s), true, true)
}

func TestAttackAFileThatKillsTheEngineIsNotClean(t *testing.T) {
	needEngines(t, "yara")
	dir := t.TempDir()
	script := "#!/bin/bash\nlist=\"${@: -1}\"\nwhile IFS= read -r f; do\n  if grep -q KILLER \"$f\"; then kill -SEGV $$; fi\n  printf '%s\\n' \"$f\" > /tmp/one\n" +
		"  /usr/bin/yara -C -e --scan-list \"${@: -2:1}\" /tmp/one\ndone < \"$list\"\n"
	if err := os.WriteFile(filepath.Join(dir, "yara"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	e := engine.Engine{Yara: "/engine/yara", Binds: []sandbox.Bind{{Host: dir, Inside: "/engine"}}}
	b := rulesBase(t, eicarRule)
	bad := filesIn(t, "bad", map[string]string{"a": "x", "k": "KILLER", "z": "y"})
	r := replay(t, detection.Setup{Old: b, New: b, Engine: e, Clean: []detection.Corpus{bad}, Known: []detection.Corpus{specimens(t)}})
	gates(t, r, false, true)
	if len(r.Open) != 1 || r.Open[0].File != "k" || !strings.Contains(r.Open[0].Why, "signal 11") {
		t.Fatalf("%+v", r.Open)
	}
}

func TestAttackACorpusThatLeadsElsewhere(t *testing.T) {
	needEngines(t, "yara")
	c := letters(t)
	outside := filepath.Join(t.TempDir(), "outside")
	for _, err := range []error{
		os.WriteFile(outside, []byte(eicar), 0o644),
		os.Symlink(outside, filepath.Join(c.Path, "link")), os.Symlink("/", filepath.Join(c.Path, "root")),
		exec.Command("mkfifo", filepath.Join(c.Path, "pipe")).Run(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	r := replay(t, detection.Setup{New: rulesBase(t, eicarRule), Clean: []detection.Corpus{c}, Known: []detection.Corpus{{Name: "one", Path: outside}}})
	gates(t, r, true, true)
	if r.Corpora[0].Skipped != 3 || r.Corpora[0].Files != 3 || r.Corpora[1].Files != 1 {
		t.Fatalf("%+v", r.Corpora)
	}
	for _, l := range []detection.ReplayLimits{{Files: 2}, {Bytes: 10}, {File: 5}} {
		if _, err := detection.Replay(t.Context(), detection.Setup{New: rulesBase(t, eicarRule), Clean: []detection.Corpus{c}, Limits: l}); !errors.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", l, err)
		}
	}
}

func TestAReplayCanBeInterrupted(t *testing.T) {
	needEngines(t, "yara")
	hangs := "rule Hangs {\n  condition:\n    for all i in (1..4000000000) : (i > 0)\n}\n"
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	begun := time.Now()
	_, err := detection.Replay(ctx, detection.Setup{New: rulesBase(t, hangs), Clean: []detection.Corpus{letters(t)}, Known: []detection.Corpus{specimens(t)}})
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > 10*time.Second {
		t.Fatal(err)
	}
}

// Debian's own test files: one pattern of clam.exe is found in nearly all of them,
// because ClamAV unpacks them.
func TestClamAVsTestFilesAreDetected(t *testing.T) {
	needEngines(t, "clamscan", "yara")
	const dir = "/usr/share/clamav-testfiles"
	b, err := os.ReadFile(dir + "/clam.exe")
	if err != nil {
		t.Skip("clamav-testfiles is not installed")
	}
	base := func(pattern string) *detection.Base {
		return read(t, map[string]string{"a.yar": eicarRule, "p.ndb": "Test.Clam-1:0:*:" + pattern + "\n", "h.hsb": fmt.Sprintf("%x:%d:Test.Hash-1\n", sha256.Sum256(b), len(b))})
	}
	good := fmt.Sprintf("%x", "CLAMAVDLL") // stands in no file: the hash alone detects
	clam := fmt.Sprintf("%x", b[0xe0:0xf4])
	s := detection.Setup{Old: base(clam), New: base(clam), Clean: []detection.Corpus{letters(t)}, Known: []detection.Corpus{{Name: "clamav-testfiles", Path: dir}, specimens(t)}}
	r := replay(t, s)
	gates(t, r, true, true)
	if r.Corpora[1].DetectedNew < 20 {
		t.Errorf("%+v", r.Corpora[1])
	}
	t.Logf("%d of %d detected", r.Corpora[1].DetectedNew, r.Corpora[1].Files)
	s.New = base(good)
	r = replay(t, s)
	gates(t, r, true, false)
	if int(r.Numbers["lostFiles"]) != r.Corpora[1].DetectedOld-1 {
		t.Errorf("%+v", r.Numbers)
	}
}
