package detection_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clerestory.dev/clerestory/internal/office/detection"
)

func lines(d *detection.Diff) []string {
	var all []string
	for _, c := range d.Changes {
		text := c.Kind + " " + c.What + " " + c.Name
		if c.Was != "" {
			text += " was " + c.Was
		}
		for _, p := range c.Parts {
			text += fmt.Sprintf(" [%s: %s > %s]", p.Name, p.Old, p.New)
		}
		all = append(all, text)
	}
	return all
}

func TestOnlyWhatChangesADetectionIsADifference(t *testing.T) {
	old := read(t, map[string]string{
		"a.yar": "rule kept { strings: $a = { AA BB } condition: $a }\nrule about { meta: n = 1 condition: true }\nrule moved { condition: true }\n" +
			"rule body { strings: $a = \"x\" $b = \"y\" condition: any of them }\nrule gone { condition: filesize == 1 }\nrule before { strings: $q = \"only here\" condition: $q }\nrule tags : a { condition: 1 == 1 }",
		"a.hsb": sum + ":68:A\n" + strings.Repeat("1", 64) + ":1:One\n" + strings.Repeat("2", 64) + ":2:Two\n",
		"a.ndb": "P:0:*:aabb\nQ:0:*:aabb\n", "a.ldb": "L;Target:0;0;aabb\n",
	})
	new := read(t, map[string]string{
		"z.yar": "/* new layout */ rule moved\n{\n condition: true }",
		"a.yar": "rule kept { strings: $a = { aa /* x */ bb } condition:\n$a }\nrule about { meta: n = 2 condition: true }\n" +
			"rule body { strings: $a = \"x\" nocase $c = \"z\" condition: all of them }\nrule fresh { condition: filesize == 2 }\nrule after { strings: $q = \"only here\" condition: $q }\nprivate rule tags : a b { condition: 1 == 1 }",
		"b.hsb": strings.Repeat("2", 64) + ":2:Two-2\n" + strings.Repeat("3", 64) + ":3:Three\n" + sum + ":68:A\n",
		"a.ndb": "Q:1:*:aabbcc\nP:0:*:aabb\n", "a.ldb": "L;Target:0;0&1;aabb;ccdd\n",
		"base.yaml": strings.Replace(about, "owner: o", "owner: p", 1) + "clean: [debian]\n",
	})
	got := lines(detection.Compare(old, new))
	want := []string{
		"changed base b [owner: o > p] [clean corpora:  > debian]",
		"changed rule about [meta n: 1 > 2]", "renamed rule after was before",
		`changed rule body [string $a: "x" > "x" nocase] [string $b: "y" > ] [string $c:  > "z"] [condition: any of them > all of them]`,
		"added rule fresh", "removed rule gone",
		"changed rule tags [modifiers:  > private] [tags: a > a b]",
		"removed hash One", "added hash Three", "changed hash Two-2 was Two [name: Two > Two-2]",
		"changed pattern Q [target: 0 > 1] [pattern: aabb > aabbcc]",
		"changed logical L [expression: 0 > 0&1] [subsignature 1:  > ccdd]",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\n\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if d := detection.Compare(old, old); len(d.Changes) != 0 {
		t.Errorf("a base differs from itself: %v", lines(d))
	}
	if d := detection.Compare(nil, old); d.Count("", detection.Added) != 13 || len(d.Changes) != 13 {
		t.Errorf("of a first base: %v", lines(d))
	}
}

// big is 100,000 hashes and 2,000 rules; every n-th is another one in version v.
func big(v string, n int) map[string]string {
	var h, y strings.Builder
	for i := range 100_000 {
		mark := ""
		if i%n == 0 {
			mark = v
		}
		fmt.Fprintf(&h, "%064x:%d:Name.%d%s\n", i*7919, 1+i, i, mark)
	}
	for i := range 2000 {
		mark := ""
		if i%n == 0 {
			mark = v
		}
		fmt.Fprintf(&y, "rule r%d { meta: d = \"rule %d\" strings: $a = \"needle%d%s\" $b = { %08x } condition: any of them }\n", i, i, i, mark, i*77777)
	}
	return map[string]string{"a.hsb": h.String(), "a.yar": y.String()}
}

// TestADaysChangeIsComparedAtOnce: reading both and comparing takes a fraction of a
// second; the bound is for a machine that does much else.
func TestADaysChangeIsComparedAtOnce(t *testing.T) {
	old, new := big("", 200), big("-2", 200)
	begun := time.Now()
	d := detection.Compare(read(t, old), read(t, new))
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("it took %v", took)
	} else {
		t.Logf("reading and comparing two bases of 100,000 hashes and 2,000 rules: %v", took)
	}
	if d.Count("hash", detection.Changed) != 500 || d.Count("rule", detection.Changed) != 10 || len(d.Changes) != 510 {
		t.Errorf("%d changes", len(d.Changes))
	}
}

// history is a git repository with a base in the folder b.
type history struct {
	t    testing.TB
	repo string
}

func newHistory(t testing.TB) *history {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed: install the package git")
	}
	h := &history{t, t.TempDir()}
	h.git("ann", "init", "-q", "-b", "main")
	return h
}

func (h *history) git(who string, args ...string) string {
	h.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = h.repo
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME="+who, "GIT_AUTHOR_EMAIL="+who+"@acme.example",
		"GIT_COMMITTER_NAME=robot", "GIT_COMMITTER_EMAIL=robot@acme.example")
	out, err := cmd.CombinedOutput()
	if err != nil {
		h.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit writes files into the base and commits all; an empty text removes one.
func (h *history) commit(who string, files map[string]string) string {
	h.t.Helper()
	for name, text := range files {
		path := filepath.Join(h.repo, "b", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			h.t.Fatal(err)
		}
		if text == "" {
			os.Remove(path)
		} else if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			h.t.Fatal(err)
		}
	}
	h.git(who, "add", "-A")
	h.git(who, "commit", "-q", "-m", "x")
	return h.git(who, "rev-parse", "HEAD")
}

func (h *history) base() string { return filepath.Join(h.repo, "b") }

func (h *history) find(where string) *detection.Base {
	h.t.Helper()
	b, err := detection.Find(h.t.Context(), where)
	if err != nil {
		h.t.Fatal(err)
	}
	return b
}

func authors(d *detection.Diff) map[string]string {
	all := map[string]string{}
	for _, c := range d.Changes {
		var names []string
		for _, a := range c.Authors {
			names = append(names, a.Name)
		}
		all[c.Name] = strings.Join(names, "+")
	}
	return all
}

func TestEachChangeNamesWhoWroteIt(t *testing.T) {
	h := newHistory(t)
	first := h.commit("ann", map[string]string{
		"base.yaml": about, "a.hsb": strings.Repeat("1", 64) + ":1:One\n" + strings.Repeat("2", 64) + ":2:Two\n",
		"a.yar": "rule old {\n  strings:\n    $a = \"x\"\n    $b = \"y\"\n  condition:\n    any of them\n}\nrule gone {\n  condition: filesize == 7\n}\nrule shrinks {\n  strings:\n    $a = \"x\"\n    $b = \"y\"\n  condition:\n    any of them\n}\n"})
	h.commit("bob", map[string]string{
		"a.yar": "rule old {\n  strings:\n    $a = \"x\" nocase\n    $b = \"y\"\n  condition:\n    any of them\n}\nrule gone {\n  condition: filesize == 7\n}\nrule shrinks {\n  strings:\n    $a = \"x\"\n    $b = \"y\"\n  condition:\n    any of them\n}\n"})
	h.commit("cleo", map[string]string{"new/c.yar": "rule fresh\n{\n  condition: true\n}\n", "a.hsb": strings.Repeat("2", 64) + ":2:Two\n" + strings.Repeat("3", 64) + ":3:Three\n"})
	// dan takes things out, and would like to be called ann
	h.commit("dan", map[string]string{
		".mailmap": "ann <ann@acme.example> <dan@acme.example>\n",
		"a.yar":    "rule old {\n  strings:\n    $a = \"x\" nocase\n    $b = \"y\"\n  condition:\n    any of them\n}\nrule shrinks {\n  strings:\n    $a = \"x\"\n  condition:\n    any of them\n}\n"})
	if err := os.WriteFile(filepath.Join(h.repo, ".mailmap"), []byte("ann <ann@acme.example> <dan@acme.example>\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	h.commit("ed", map[string]string{"new/c.yar": "rule fresh\n{\n  // always\n  condition: true\n}\n"})

	old, new := h.find(h.base()+"@"+first), h.find(h.base())
	if old.Commit != first || new.Commit != h.git("x", "rev-parse", "HEAD") || new.Tree != h.git("x", "rev-parse", "HEAD:b") {
		t.Errorf("old %s, new %s %s", old.Commit, new.Commit, new.Tree)
	}
	d := detection.Compare(old, new)
	if err := d.Authors(t.Context(), old, new); err != nil {
		t.Fatal(err)
	}
	got := authors(d)
	for name, want := range map[string]string{"old": "bob", "fresh": "ed+cleo", "gone": "dan", "One": "cleo", "Three": "cleo"} {
		if name == "fresh" && got[name] == "cleo+ed" { // the same second
			want = got[name]
		}
		if got[name] != want {
			t.Errorf("%s: written by %q, want %q", name, got[name], want)
		}
	}
	if s := got["shrinks"]; !strings.Contains(s, "dan") {
		t.Errorf("who took a string out of a rule is not named: %q", s)
	}
	// without an old side everything is new, and the first author counts
	d = detection.Compare(nil, new)
	if err := d.Authors(t.Context(), nil, new); err != nil {
		t.Fatal(err)
	}
	if got := authors(d); got["Two"] != "ann" || !strings.Contains(got["old"], "ann") || !strings.Contains(got["old"], "bob") {
		t.Errorf("%v", got)
	}
}

func TestAFolderThatWasChangedNamesNoCommit(t *testing.T) {
	h := newHistory(t)
	h.commit("ann", map[string]string{"base.yaml": about, "a.hsb": sum + ":68:A\n"})
	before, err := h.find(h.base()).Pack()
	if err != nil {
		t.Fatal(err)
	}
	if before.Manifest.Commit == "" {
		t.Error("a committed folder names no commit")
	}
	for name, text := range map[string]string{"a.hsb": sum + ":68:B\n", "new.hsb": strings.Repeat("1", 64) + ":1:One\n"} {
		path := filepath.Join(h.base(), name)
		was, _ := os.ReadFile(path)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if b := h.find(h.base()); b.Commit != "" {
			t.Errorf("%s was changed, and the commit is named", name)
		}
		if was == nil {
			os.Remove(path)
		} else if err := os.WriteFile(path, was, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	after, err := h.find(h.base() + "@HEAD").Pack()
	if err != nil {
		t.Fatal(err)
	}
	for i := range before.Files {
		if !bytes.Equal(before.Files[i].Content, after.Files[i].Content) {
			t.Errorf("%s differs between the folder and its commit", before.Files[i].Name)
		}
	}
	for _, where := range []string{h.base() + "@nowhere", h.base() + "@--help", "/nowhere", "/nowhere@HEAD", t.TempDir() + "@HEAD"} {
		if _, err := detection.Find(t.Context(), where); err == nil {
			t.Errorf("%s was found", where)
		}
	}
}

// TestAttackGitIsAskedForMoreThanItHas: a link in the tree, attributes that hide a
// file from an archive, a configuration that runs programs.
func TestAttackGitIsAskedForMoreThanItHas(t *testing.T) {
	h := newHistory(t)
	h.commit("ann", map[string]string{"base.yaml": about, "a.yar": "rule a { condition: true }\n"})
	ran := filepath.Join(t.TempDir(), "ran")
	h.git("ann", "config", "core.fsmonitor", "touch "+ran)
	h.git("ann", "config", "diff.evil.textconv", "touch "+ran+"; cat")
	h.git("ann", "config", "filter.evil.clean", "touch "+ran+"; cat")
	clean := h.commit("eve", map[string]string{".gitattributes": "* export-ignore diff=evil\n", "b.yar": "rule hidden { condition: true }\n"})
	os.Remove(ran)
	b := h.find(h.base() + "@" + clean)
	if len(b.Rules) != 2 {
		t.Errorf("%d rules: one was hidden", len(b.Rules))
	}
	d := detection.Compare(nil, b)
	if err := d.Authors(t.Context(), nil, b); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("a program of the repository's configuration ran")
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(h.base(), "l.yar")); err != nil {
		t.Fatal(err)
	}
	h.commit("eve", nil)
	if _, err := detection.Find(t.Context(), h.base()+"@HEAD"); err == nil || !strings.Contains(err.Error(), "l.yar:1:1: this is a link") {
		t.Errorf("a link in the tree: %v", err)
	}
}
