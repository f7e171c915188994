package detection_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clerestory.dev/clerestory/internal/office/detection"
)

// seeds adds what the demo base has in files of one kind.
func seeds(f *testing.F, ending string, more ...string) {
	f.Helper()
	files, err := filepath.Glob(demo + "/*" + ending)
	if err != nil || len(files) == 0 {
		f.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	for _, s := range more {
		f.Add(s)
	}
}

// stable checks that what was accepted in a file has a released form that is
// accepted again and is its own released form.
func stable(t *testing.T, file, text string) {
	b, err := detection.Read(folder(map[string]string{file: text}))
	if err != nil {
		if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < 0x20 && r != '\n' || r == 0x202e }) {
			t.Fatalf("the error could fool a terminal: %q", err)
		}
		return
	}
	one, err := b.Pack()
	if err != nil {
		return // it holds nothing
	}
	files := map[string]string{}
	for _, f := range one.Files[:len(one.Files)-1] {
		files[f.Name] = string(f.Content)
	}
	again, err := detection.Read(folder(files))
	if err != nil {
		t.Fatalf("the released form is refused: %v\n%q", err, files)
	}
	two, err := again.Pack()
	if err != nil || two.Digest != one.Digest {
		t.Fatalf("the released form is not its own: %v\n%q", err, files)
	}
	if d := detection.Compare(b, again); len(d.Changes) != 0 {
		t.Fatalf("the released form differs: %+v", d.Changes)
	}
}

func FuzzRules(f *testing.F) {
	seeds(f, ".yar", tricky, "include \"x\"", "rule a { condition: 1 of (b*) } rule b1 { condition: true }")
	f.Fuzz(func(t *testing.T, text string) { stable(t, "a.yar", text) })
}

func FuzzHashes(f *testing.F) {
	seeds(f, ".hsb", sum+":*:A:73:90\n")
	f.Fuzz(func(t *testing.T, text string) { stable(t, "a.hsb", text) })
}

func FuzzPatterns(f *testing.F) {
	seeds(f, ".ndb", "A:1:EP+0,30:aabb??c?{4-9}ddee*0011(aa|bbcc)(B)22!(33|44)[2-5]ff00:51:255\n")
	f.Fuzz(func(t *testing.T, text string) { stable(t, "a.ndb", text) })
}

func FuzzLogical(f *testing.F) {
	seeds(f, ".ldb", "L;Engine:81-255,Target:1;(0|1)>2,1&(2=0);aabb;EP+1:ccdd::wi;0&1/a[bc]+(?=d)/is\n")
	f.Fuzz(func(t *testing.T, text string) { stable(t, "a.ldb", text) })
}

func FuzzBaseYAML(f *testing.F) {
	seeds(f, ".yaml", about)
	f.Fuzz(func(t *testing.T, text string) { stable(t, "base.yaml", text) })
}

func FuzzManifest(f *testing.F) {
	b, err := detection.OpenDir(demo)
	if err != nil {
		f.Fatal(err)
	}
	p, err := b.Pack()
	if err != nil {
		f.Fatal(err)
	}
	files := map[string]string{}
	for _, file := range p.Files {
		files[file.Name] = string(file.Content)
	}
	f.Add(files["manifest.json"])
	f.Fuzz(func(t *testing.T, text string) {
		with := map[string]string{}
		for name, content := range files {
			with[name] = content
		}
		with["manifest.json"] = text
		if got, err := detection.Read(folder(with)); err == nil && text != "" {
			if q, err := got.Pack(); err != nil || q.Digest != p.Digest {
				t.Fatalf("a manifest made another base of the same files: %v", err)
			}
		}
	})
}
