package detection_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/office/detection"
)

const demo = "../../../programmes/bases/clerestory-base"

const about = "id: b\nname: B\nowner: o\ndescription: d\n"

// folder makes a base of files; base.yaml is there unless it is given.
func folder(files map[string]string) fstest.MapFS {
	f := fstest.MapFS{"base.yaml": {Data: []byte(about)}}
	for name, text := range files {
		f[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return f
}

func read(t testing.TB, files map[string]string) *detection.Base {
	t.Helper()
	b, err := detection.Read(folder(files))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// refused checks that a base is refused at a place, for a reason.
func refused(t *testing.T, files map[string]string, where, why string) {
	t.Helper()
	_, err := detection.Read(folder(files))
	problems, ok := errors.AsType[detection.Problems](err)
	if !ok || !errors.Is(err, fault.Invalid) {
		t.Errorf("want %s: %s, got %v", where, why, err)
		return
	}
	if text := problems.Error(); !strings.Contains("\n"+text, "\n"+where+": ") || !strings.Contains(text, why) {
		t.Errorf("want %s: %s, got\n%s", where, why, text)
	}
}

const sum = "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f"

func TestALineThatIsWrongIsToldWithItsPlace(t *testing.T) {
	for _, c := range []struct{ file, text, at, why string }{
		{"a.hsb", sum + ":68:Good\n" + sum[:63] + "g:68:Bad\n", "2:64", "lower-case hex"},
		{"a.hsb", strings.ToUpper(sum) + ":68:Bad\n", "1:4", "lower-case hex"},
		{"a.hsb", sum[:62] + ":68:Bad\n", "1:1", "62"},
		{"a.hsb", sum[:32] + ":68:Bad\n", "1:1", "MD5"},
		{"a.hsb", sum + ":068:Bad\n", "1:66", "size"},
		{"a.hsb", sum + ":0:Bad\n", "1:66", "size"},
		{"a.hsb", sum + ":*:Bad\n", "1:66", "73"},
		{"a.hsb", sum + ":*:Bad:72\n", "1:66", "73"},
		{"a.hsb", sum + ":68:Bad:90:80\n", "1:76", "level"},
		{"a.hsb", sum + ":68:Bad name\n", "1:72", "name"},
		{"a.hsb", sum + ":68:\n", "1:69", "name"},
		{"a.hsb", sum + ":68\n", "1:1", "3 to 5 fields"},
		{"a.hsb", " " + sum + ":68:Bad\n", "1:1", "white space"},
		{"a.hsb", sum + ":68:A\n# c\n" + sum + ":69:B\n", "3:1", "first at a.hsb:1"},
		{"a.hsb", sum + ":68:A\r\n", "1:70", "carriage return"},
		{"a.hsb", sum + ":68:A\u202e\n", "1:70", "U+202E"},
		{"a.hsb", sum + ":68:A\xff\n", "1:70", "UTF-8"},
		{"a.hsb", strings.Repeat("a", 17<<10), "1:1", "16384"},
		{"a.ndb", "A:0:*:aabb\nA:0:*:aabbcc\n", "2:1", "first at a.ndb:1"},
		{"a.ndb", "A:8:*:aabb\n", "1:3", "target"},
		{"a.ndb", "A:0:EOF+1:aabb\n", "1:5", "offset"},
		{"a.ndb", "A:0:*:aab\n", "1:9", "pairs"},
		{"a.ndb", "A:0:*:aabbxx\n", "1:11", `"x"`},
		{"a.ndb", "A:0:*:aa*bbcc\n", "1:9", "two fixed bytes"},
		{"a.ndb", "A:0:*:aabb*cc\n", "1:13", "two fixed bytes"},
		{"a.ndb", "A:0:*:aabb{9-3}ccdd\n", "1:11", "first number"},
		{"a.ndb", "A:0:*:aabb{9\n", "1:11", "gap"},
		{"a.ndb", "A:0:*:aabb[1-33]ccdd\n", "1:11", "32"},
		{"a.ndb", "A:0:*:aabb(cc|d)ee\n", "1:11", "alternative"},
		{"a.ndb", "A:0:*:aabb(cc|(ddd))\n", "1:11", "nested"},
		{"a.ndb", "A:0:*:aabb!(cc|ddee)\n", "1:11", "one length"},
		{"a.ndb", "A:0:*:\n", "1:7", "empty"},
		{"a.ldb", "A;Target:0;0;aabb\nA;Target:0;0;aabb\n", "2:1", "first at a.ldb:1"},
		{"a.ldb", "A;Target:0;0\n", "1:1", "4 or more"},
		{"a.ldb", "A;Engine:81-255;0;aabb\n", "1:3", "Target is missing"},
		{"a.ldb", "A;Target:0,Macro:1;0;aabb\n", "1:12", `"Macro"`},
		{"a.ldb", "A;Target:0,Target:1;0;aabb\n", "1:12", "twice"},
		{"a.ldb", "A;Target:0;0&2;aabb;ccdd\n", "1:14", "0 to 1"},
		{"a.ldb", "A;Target:0;(0&1;aabb;ccdd\n", "1:16", "not closed"},
		{"a.ldb", "A;Target:0;0>;aabb\n", "1:13", "number must follow"},
		{"a.ldb", "A;Target:0;0;aabb;ccdd\n", "1:19", "subsignature 1 is not used"},
		{"a.ldb", "A;Target:0;0;aab\n", "1:16", "pairs"},
		{"a.ldb", "A;Target:0;0;zz:aabb\n", "1:14", "offset"},
		{"a.ldb", "A;Target:0;0&1;aabb;0/(/\n", "1:23", "broken"},
		{"a.ldb", "A;Target:0;0&1;aabb;9/x/\n", "1:21", "trigger"},
		{"a.ldb", "A;Target:0;0;${1-2}x$\n", "1:14", "macros"},
		{"a.ldb", "A;Target:0;" + strings.Repeat("(", 40) + "0;aabb\n", "1:29", "too deeply"},
	} {
		refused(t, map[string]string{c.file: c.text}, c.file+":"+c.at, c.why)
	}
}

func TestWhatClamAVTakesIsTaken(t *testing.T) {
	b := read(t, map[string]string{
		"a.hsb":     "# comment\n\n" + sum + ":68:Test-1\n" + sum[:40] + ":*:Sha1.Any-2:73\n",
		"sub/b.ndb": "A.B-1:1:EP+0,30:aabb??c?{4-9}ddee*0011(aa|bbcc)(B)22!(33|44)[2-5]ff00:51:255\nC:0:VI:aabb\nD:0:SL+3:aabb{-4}ccdd{5-}eeff{7}0011\n",
		"c.ldb":     "L;Engine:81-255,Target:1,FileSize:1-2;(0|1)>2,1&(2=0);aabb;EP+1:ccdd::wi;0&1/a[bc]+(?=d)/is\n",
	})
	if n := b.Counts(); n != (detection.Counts{Hashes: 2, Patterns: 3, Logical: 1}) {
		t.Errorf("%+v", n)
	}
}

func TestEverythingThatIsWrongIsToldAtOnce(t *testing.T) {
	_, err := detection.Read(folder(map[string]string{
		"a.hsb": "x\ny\n", "b.yar": "rule x { condition: ", "c.ndb": "z", "base.yaml": "id: B\nfoo: 1\n",
	}))
	problems, _ := errors.AsType[detection.Problems](err)
	if len(problems) != 9 {
		t.Errorf("%d problems:\n%v", len(problems), err)
	}
	many := strings.Repeat("x\n", 1000)
	_, err = detection.Read(folder(map[string]string{"a.hsb": many}))
	if problems, _ := errors.AsType[detection.Problems](err); len(problems) != detection.Caps.Problems || !strings.Contains(problems.Error(), "more problems") {
		t.Errorf("%d problems", len(problems))
	}
}

func TestBaseYAMLIsStrict(t *testing.T) {
	for _, c := range []struct{ text, at, why string }{
		{about + "licence: x\n", "5:1", `unknown key "licence"`},
		{about + "id: c\n", "5:1", "twice"},
		{"name: B\nowner: o\ndescription: d\n", "1:1", `"id" is missing`},
		{strings.Replace(about, "id: b", "id: B b", 1), "1:5", "id"},
		{strings.Replace(about, "name: B", "name: 7", 1), "2:7", "text"},
		{strings.Replace(about, "name: B", `name: "a\u202eb"`, 1), "2:7", "control"},
		{about + "clean: debian\n", "5:8", "list"},
		{about + "clean: [debian, debian]\n", "5:17", "twice"},
		{about + "clean: [a]\nknown: [a]\n", "6:8", "clean and known"},
		{about + "tests:\n  - name: x\n    text: y\n", "6:5", "detects"},
		{about + "tests:\n  - name: x\n    text: y\n    base64: eA==\n    detects: []\n", "6:5", "text or base64"},
		{about + "tests:\n  - name: x\n    base64: \"*\"\n    detects: []\n", "7:13", "base64"},
		{about + "tests:\n  - name: x\n    text: a\n    file: ../../etc/passwd\n    detects: []\n", "8:5", `unknown key "file"`},
		{about + "x: &a [*a, *a]\n", "5:4", "anchors"},
		{about + "clean: " + strings.Repeat("[", 50), "5:11", "nested"},
		{"- a\n- b\n", "1:1", "keys and values"},
		{"id: [", "1:5", "YAML"},
	} {
		refused(t, map[string]string{"base.yaml": c.text}, "base.yaml:"+c.at, c.why)
	}
	if _, err := detection.Read(fstest.MapFS{"a.hsb": {}}); err == nil || !strings.Contains(err.Error(), "no base.yaml") {
		t.Errorf("without base.yaml: %v", err)
	}
}

// TestAttackAFolderThatReachesOutside: links, pipes, and names that lie.
func TestAttackAFolderThatReachesOutside(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(t.TempDir(), "secret.yar")
	write := func(name, text string) {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(secret, "rule secret { condition: true }")
	write(filepath.Join(dir, "base.yaml"), about)
	write(filepath.Join(dir, "A.yar"), "rule a { condition: true }")
	write(filepath.Join(dir, "a.yar"), "rule b { condition: true }")
	write(filepath.Join(dir, "evil\u202eray.yar"), "")
	write(filepath.Join(dir, "x.exe"), "")
	write(filepath.Join(dir, "README.md"), "for people\n")
	write(filepath.Join(dir, ".gitignore"), "x\n")
	if err := errors.Join(os.Symlink(secret, filepath.Join(dir, "link.yar")), os.Symlink(filepath.Dir(secret), filepath.Join(dir, "folder")),
		syscall.Mkfifo(filepath.Join(dir, "pipe.yar"), 0o644)); err != nil {
		t.Fatal(err)
	}
	_, err := detection.OpenDir(dir)
	problems, _ := errors.AsType[detection.Problems](err)
	var got []string
	for _, p := range problems {
		got = append(got, p.File+": "+p.What)
	}
	want := "a.yar: the name differs from A.yar only in case|evil\\u202eray.yar: the file name has characters that are not allowed|" +
		"folder: this is a link|link.yar: this is a link|pipe.yar: this is not a regular file|x.exe: a base has no such file"
	if strings.Join(got, "|") != want {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
	if _, err := detection.OpenDir(filepath.Join(dir, "nowhere")); !errors.Is(err, fault.NotFound) {
		t.Errorf("no folder: %v", err)
	}
}

func TestTheCapsHold(t *testing.T) {
	files := map[string]string{}
	for i := range detection.Caps.Files + 1 {
		files[fmt.Sprintf("%d.hsb", i)] = ""
	}
	refused(t, files, "base.yaml:1:1", "4000 files")
	refused(t, map[string]string{strings.Repeat("a/", detection.Caps.Deep+1) + "x.hsb": ""}, strings.TrimSuffix(strings.Repeat("a/", detection.Caps.Deep+1), "/")+":1:1", "within each other")
	refused(t, map[string]string{"a.ldb": "A;Target:0;0;" + strings.Repeat("aabb;", 64) + "aabb"}, "a.ldb:1:334", "64 subsignatures")
}

// TestAttackYAMLThatTakesForEver repeats what makes a scanner look back.
func TestAttackYAMLThatTakesForEver(t *testing.T) {
	for _, unit := range []string{"- ", "a: ", "a:\n", "\"", "'", "\n", " \n", "  x\n", strings.Repeat("\n", 20) + "  x\n", "? ", "a: b\n", "a: |\n  x\n", "- 'a\n  b\n", "{a: ", "[", "#\n", "a: >\n\n", "\\"} {
		for _, before := range []string{"", "a: ", "a: |\n", "a: >\n", "a: \""} {
			text := before + strings.Repeat(unit, (detection.Caps.Main-len(before))/len(unit))
			begun := time.Now()
			if _, err := detection.Read(folder(map[string]string{"base.yaml": text})); err == nil {
				t.Errorf("%q was taken", text[:20])
			}
			if took := time.Since(begun); took > 20*time.Second {
				t.Errorf("%q after %q: %v", unit, before, took)
			} else if took > time.Second {
				t.Logf("%q after %q: %v", unit, before, took)
			}
		}
	}
	refused(t, map[string]string{"base.yaml": about + "#" + strings.Repeat("x", 32<<10)}, "base.yaml:1:1", "32 KiB")
}

func TestAReleasedBaseIsHeldAgainstItsManifest(t *testing.T) {
	b := read(t, map[string]string{"a.hsb": sum + ":68:A\n", "a.yar": "rule a { condition: true }"})
	p, err := b.Pack()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "out")
	if err := errors.Join(p.Write(dir), p.Write(dir)); err != nil {
		t.Fatal(err)
	}
	again, err := detection.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if p2, err := again.Pack(); err != nil || p2.Digest != p.Digest || string(p2.Files[len(p2.Files)-1].Content) != string(p.Files[len(p.Files)-1].Content) {
		t.Errorf("packed again it differs: %v", err)
	}
	other, err := read(t, map[string]string{"a.hsb": sum + ":68:B\n"}).Pack()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Write(dir); !errors.Is(err, fault.Conflict) {
		t.Errorf("another base was written over it: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "rules.yar"), []byte("rule a\n{\n  condition:\n    false\n}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := detection.OpenDir(dir); err == nil || !strings.Contains(err.Error(), "not those that the manifest names") {
		t.Errorf("a changed rule passed: %v", err)
	}
	if _, err := read(t, nil).Pack(); !errors.Is(err, fault.Invalid) {
		t.Errorf("an empty base was packed: %v", err)
	}
}
