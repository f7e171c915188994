package programme

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/goccy/go-yaml"

	"clerestory.dev/clerestory/internal/base/fault"
)

const good = `vendor:
  id: acme
  name: Acme
  url: https://acme.example
  contact: mailto:programme@acme.example
log:
  origin: acme.example/log
  url: https://acme.example/log
approvals: 2
products:
  - id: agent
    name: Agent
    description: Watches.
    repository: https://acme.example/agent.git
    channels: [stable, beta]
people:
  - id: ada
    roles: [admin]
  - id: boris
    roles: [approver]
  - id: chidi
    roles: [approver]
security:
  contact: [mailto:security@acme.example]
  expires: 2027-06-30T00:00:00Z
  languages: [en]
`

func folder(main string) fstest.MapFS {
	return fstest.MapFS{
		"programme.yaml":       {Data: []byte(main)},
		"about.md":             {Data: []byte("# About\n")},
		"policies/visit.cedar": {Data: []byte("permit(principal, action, resource);\n")},
	}
}

func mustRead(t testing.TB, f fs.FS) *Programme {
	t.Helper()
	p, err := Read(f)
	if err != nil {
		t.Fatalf("reading: %v", err)
	}
	return p
}

// problemsOf are the lines that reading f gives.
func problemsOf(t testing.TB, f fs.FS) []string {
	t.Helper()
	_, err := Read(f)
	if err == nil {
		return nil
	}
	ps, ok := errors.AsType[Problems](err)
	if !ok || !errors.Is(err, fault.Invalid) {
		t.Fatalf("not a list of problems: %v", err)
	}
	if len(ps) != strings.Count(err.Error(), "\n")+1 {
		t.Fatalf("%d problems, but the text is %q", len(ps), err)
	}
	return strings.Split(err.Error(), "\n")
}

func TestAGoodFolderIsReadWhole(t *testing.T) {
	p := mustRead(t, folder(good))
	if p.Vendor.ID != "acme" || p.Approvals != 2 || len(p.Products) != 1 || p.Products[0].Channels[1] != "beta" ||
		p.People[2].Roles[0] != Approver || p.About != "# About\n" || len(p.Policies()) != 1 || len(p.Files) != 3 {
		t.Fatalf("read as %+v", p)
	}
}

func TestEachMistakeIsReportedWhereItStands(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{"approvals: 2", "aprovals: 2", `programme.yaml:9:1: unknown key "aprovals"; did you mean "approvals"?`},
		{"approvals: 2", "approvals: 2\nzebra: 1", `programme.yaml:10:1: unknown key "zebra"; remove it, or use one of: vendor`},
		{"approvals: 2", "approvals: 1", `programme.yaml:9:12: approvals is 1: one person alone could publish`},
		{"approvals: 2", "approvals: 3", `programme.yaml:9:12: approvals is 3, but only 2 have the role approver`},
		{"approvals: 2", "approvals: two", `programme.yaml:9:12: approvals must be a whole number; write a whole number: how many`},
		{"approvals: 2", "approvals: 2\napprovals: 3", `programme.yaml:10:1: the key "approvals" stands twice, first on line 9; keep one`},
		{"approvals: 2\n", "", `programme.yaml:1:1: the key "approvals" is missing; add it: how many`},
		{"  name: Acme\n", "", `programme.yaml:1:1: the key "name" is missing in vendor; add it`},
		{"name: Acme", "name: 1.10", `programme.yaml:3:9: vendor.name must be text, but YAML reads 1.10 as something else; put it in quotes: "1.10"`},
		{"name: Acme", "name:", `programme.yaml:3:8: vendor.name is empty; write text`},
		{"name: Acme", `name: ""`, `programme.yaml:3:9: vendor.name is empty; write a value`},
		{"id: acme", "id: Acme Inc", `programme.yaml:2:7: vendor.id "Acme Inc" is not an id; use`},
		{"roles: [admin]", "roles: [admin, boss]", `programme.yaml:18:20: people[0].roles[1] "boss" is not a role; use one of: admin, approver`},
		{"id: chidi", "id: boris", `programme.yaml:21:9: people[2].id "boris" stands twice, first on line 19; keep one`},
		{"    roles: [admin]\n", "    roles: [auditor]\n", `programme.yaml:16:1: nobody has the role admin; give it`},
		{"    channels: [stable, beta]\n", "    channels: [stable, stable]\n", `programme.yaml:15:24: products[0].channels[1] "stable" stands twice`},
		{"    channels: [stable, beta]\n", "    channels: stable\n", `programme.yaml:15:15: products[0].channels must be a list; write a list`},
		{"    channels: [stable, beta]\n", "    channels: []\n", `programme.yaml:15:15: products[0].channels is empty; list at least one`},
		{"origin: acme.example/log", "origin: https://acme.example/log", `programme.yaml:7:11: log.origin "https://acme.example/log" is not a log's name`},
		{"url: https://acme.example\n", "url: javascript:alert(1)\n", `programme.yaml:4:8: vendor.url has the scheme "javascript"; write a link that begins with https:`},
		{"repository: https://", "repository: https://me:secret@", `programme.yaml:14:17: products[0].repository holds a user name or password`},
		{"contact: mailto:programme@acme.example", "contact: mailto:programme", `programme.yaml:5:12: vendor.contact is not a mail address`},
		{"expires: 2027-06-30T00:00:00Z", "expires: 2027-06-30", `programme.yaml:25:12: security.expires "2027-06-30" is not a time in UTC`},
		{"expires: 2027-06-30T00:00:00Z", "expires: 2027-06-30T00:00:00+02:00", `programme.yaml:25:12: security.expires "2027`},
		{"languages: [en]", "languages: [English!]", `programme.yaml:26:15: security.languages[0] "English!" is not a language tag`},
		{"- id: ada\n", "- id: ada\n    name: Ada Lovelace\n", `programme.yaml:18:11: people[0].name is personal, and the file's public hash`},
		{"approvals: 2", "approvals: 2\nsalt: short", `programme.yaml:10:7: salt must be 22 to 64 letters`},
		{"  id: acme", "\tid: acme", `programme.yaml:2:1: this is not YAML: found character`},
		{"name: Acme", "name: \"Acme\\u202e\"", `programme.yaml:3:9: vendor.name holds an escaped invisible`},
		{"name: Acme", "name: Ac\u202eme", `programme.yaml:3:11: the invisible character U+202E could hide`},
		{"name: Acme", "name: Ac\x1b[2Jme", `programme.yaml:3:11: the invisible character U+001B could hide`},
		{"name: Acme", "name: Ac\xffme", `programme.yaml:3:11: this is not UTF-8; save`},
		{"name: Acme", "name: &a Acme", `programme.yaml:3:9: anchors, aliases and merge keys are not allowed`},
		{"name: Acme", "name: !!str Acme", `programme.yaml:3:9: tags are not allowed`},
		{"vendor:", "%YAML 1.2\n---\nvendor:", `programme.yaml:1:1: directives are not allowed`},
		{"approvals: 2", "---\napprovals: 2", `programme.yaml:1:1: the file must hold one YAML document`},
		{"approvals: 2", "<<: 2", `programme.yaml:9:1: anchors, aliases and merge keys`},
		{"approvals: 2", "3: 2", `programme.yaml:9:1: this is not a key; use one of`},
		{"approvals: 2", "? approvals\n: 2", `programme.yaml:9:1: keys that begin with '?' are not allowed`},
	} {
		text := strings.Replace(good, c.from, c.to, 1)
		if text == good {
			t.Fatalf("%q is not in the example", c.from)
		}
		got := problemsOf(t, folder(text))
		if !strings.HasPrefix(strings.Join(got, "\n"), c.want) && !contains(got, c.want) {
			t.Errorf("%q for %q gives\n  %s\nwant\n  %s", c.to, c.from, strings.Join(got, "\n  "), c.want)
		}
	}
}

func contains(lines []string, prefix string) bool {
	for _, l := range lines {
		if strings.HasPrefix(l, prefix) {
			return true
		}
	}
	return false
}

func TestAllMistakesAreReportedAtOnceInOrder(t *testing.T) {
	text := strings.NewReplacer("id: acme", "id: ACME", "approvals: 2", "approvals: 1", "roles: [admin]", "role: [admin]", "languages: [en]", "langs: [en]").Replace(good)
	f := folder(text)
	f["notes.txt"] = &fstest.MapFile{Data: []byte("x")}
	delete(f, "about.md")
	got := problemsOf(t, f)
	want := []string{
		`about.md:1:1: the file is missing`,
		`notes.txt:1:1: a programme has no such file`,
		`programme.yaml:2:7: vendor.id "ACME" is not an id`,
		`programme.yaml:9:12: approvals is 1`,
		`programme.yaml:17:5: the key "roles" is missing in people[0]`,
		`programme.yaml:18:5: unknown key "role" in people[0]; did you mean "roles"?`,
		`programme.yaml:23:1: the key "languages" is missing in security`,
		`programme.yaml:26:3: unknown key "langs" in security`,
	}
	if len(got) != len(want) {
		t.Fatalf("got %d problems, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("problem %d is\n  %s\nwant\n  %s", i, got[i], want[i])
		}
	}
}

func TestWhatCouldExhaustTheReaderIsRefused(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b,*b,*b]\n"
	n := int(Limits.File)
	for what, text := range map[string]string{
		"alias bomb":     bomb,
		"deep brackets":  strings.Repeat("[", n),
		"deep braces":    strings.Repeat("{a: ", n/4),
		"deep dashes":    strings.Repeat("- ", n/2),
		"deep colons":    strings.Repeat("a: ", n/3),
		"deep questions": strings.Repeat("? ", n/2),
		"deep lines":     stairs(500),
		"many keys":      strings.Repeat("a: b\n", n/5),
		"many dashes":    strings.Repeat("-\n", n/2),
		"too long":       "#" + strings.Repeat("x", n),
		"spread flow":    "vendor: " + strings.Repeat("[\n", 2000),
	} {
		got := problemsOf(t, folder(text))
		if len(got) == 0 || len(got) > Limits.Problems {
			t.Errorf("%s: %d problems", what, len(got))
		}
	}
}

func stairs(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func TestAFolderThatIsTooBigIsRefused(t *testing.T) {
	many := folder(good)
	for i := range Limits.Files {
		many[fmt.Sprintf("policies/p%d.cedar", i)] = &fstest.MapFile{}
	}
	long := folder(good)
	for i := range 100 {
		long[fmt.Sprintf("policies/%s%d.cedar", strings.Repeat("p", 400), i)] = &fstest.MapFile{}
	}
	heavy := folder(good)
	for i := range 40 {
		heavy[fmt.Sprintf("policies/p%d.cedar", i)] = &fstest.MapFile{Data: []byte(strings.Repeat("x", int(Limits.File)))}
	}
	deep := folder(good)
	deep[strings.Repeat("d/", 20)+"x"] = &fstest.MapFile{}
	for want, f := range map[string]fstest.MapFS{
		"more than 400 files": many, "a statement holds": long, "more than 8 MiB": heavy, "within each other": deep,
	} {
		if got := strings.Join(problemsOf(t, f), "\n"); !strings.Contains(got, want) {
			t.Errorf("want %q, got %s", want, got)
		}
	}
}

func TestLinksAndSpecialFilesAreRefused(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("programme.yaml", good)
	write("policies/a.cedar", "")
	write("policies/A.cedar", "")
	write("policies/bad\nname.cedar", "")
	write(".git/config", "\x00 what git keeps is no part of the programme")
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "about.md")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "policies/pipe.cedar"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := Open(dir)
	for _, want := range []string{"about.md:1:1: this is a link", "pipe.cedar:1:1: this is not a regular file", "differs from policies/A.cedar only in case", "bad name.cedar:1:1: the file name has characters"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q in %v", want, err)
		}
	}
	if ps, _ := errors.AsType[Problems](err); len(ps) != 4 {
		t.Errorf("4 problems expected: %v", err)
	}
	if _, err := Open(filepath.Join(dir, "nowhere")); !errors.Is(err, fault.NotFound) {
		t.Errorf("a missing folder: %v", err)
	}
}

func TestTheDigestIsWhatSha256sumPrints(t *testing.T) {
	dir := "../../../programmes/demo"
	p, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `find . -type f ! -path '*/.*' | sed 's|^\./||' | LC_ALL=C sort | xargs -d '\n' sha256sum | tee /dev/stderr | sha256sum`)
	cmd.Dir = dir
	var text strings.Builder
	cmd.Stderr = &text
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("no sha256sum here: %v", err)
	}
	if got := strings.Fields(string(out))[0]; got != p.Digest() || text.String() != p.DigestText() {
		t.Fatalf("sha256sum: %s\n%sus: %s\n%s", got, text.String(), p.Digest(), p.DigestText())
	}
}

// FuzzReading: whatever programme.yaml holds, reading ends, says where and what
// in printable text, and what it accepts the library's strict decoder reads alike.
func FuzzReading(f *testing.F) {
	f.Add([]byte(good))
	demo, err := os.ReadFile("../../../programmes/demo/programme.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(demo)
	for _, s := range []string{"", "a", "[", "- - a", "a: &b c", "vendor: {id: x", "? a", "a: |\n  b\n", "\"\\x00\": 1", "a: 'b\n\n c'", "vendor:\n  - id", "approvals: 0x2"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, main []byte) {
		p, err := Read(folder(string(main)))
		if err == nil {
			var again Programme
			if err := yaml.UnmarshalWithOptions(main, &again, yaml.Strict()); err != nil {
				t.Fatalf("we accept what the strict decoder refuses: %v", err)
			}
			again.About, again.Files = p.About, p.Files
			if !reflect.DeepEqual(&again, p) {
				t.Fatalf("read as\n%+v\nthe strict decoder says\n%+v", p, &again)
			}
			return
		}
		ps, ok := errors.AsType[Problems](err)
		if !ok || len(ps) == 0 || len(ps) > Limits.Problems {
			t.Fatalf("not a list of problems: %v", err)
		}
		for _, p := range ps {
			if p.Line < 1 || p.Column < 1 || p.What == "" || p.Mend == "" || strings.ContainsFunc(p.Error(), hostile) || strings.Contains(p.Error(), "\n") {
				t.Fatalf("unclear problem %#v", p)
			}
		}
	})
}
