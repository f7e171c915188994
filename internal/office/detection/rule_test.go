package detection_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"clerestory.dev/clerestory/internal/office/detection"
)

// tricky holds what a splitter that only looks for brackets would get wrong.
const tricky = `import "pe" // rule no { condition: true }
/* rule no { condition: true } " */
private global rule First : a b // {
{
  meta:
    text = "a } rule \" { // no comment /* nor this */"
    number = -1
    truth = true
  strings:
    $a = "}" wide ascii // "
    $b = /[\/}]{1,3}\/ rule no { /is fullword
    $c = { 4D 5A ?? [2-4] /* } */ ( AA | bB ) 00 // }
           ?F [10-] 90 }
    $d = "x" xor(0x01-0xff) base64("abc}")
    $ = "anonymous"
  condition:
    $a at 0 and #b > 1 and @c[1] < 2MB and !d[1] != 3 and for any i in (1..#a): ( @a[i] + 1.5 > 0 ) and pe.exports("}") and 1 of ($a*, $b)
}
rule Second { condition: not First and 8 \ 2 == 4 and 1 << 2 == 4 }`

func TestRulesAreSplitAsLibyaraWould(t *testing.T) {
	b := read(t, map[string]string{"a.yar": tricky})
	if len(b.Rules) != 2 || strings.Join(b.Imports, ",") != "pe" {
		t.Fatalf("%d rules, imports %v", len(b.Rules), b.Imports)
	}
	r := b.Rules[0]
	if r.Name != "First" || r.Modifiers != "global private" || strings.Join(r.Tags, " ") != "a b" || r.Line != 3 || r.End != 18 || r.Column != 1 {
		t.Errorf("%+v", r)
	}
	want := []string{`$a = "}" wide ascii`, `$b = /[\/}]{1,3}\/ rule no { /is fullword`, "$c = { 4d 5a ?? [2-4] ( aa | bb ) 00 ?f [10-] 90 }",
		`$d = "x" xor ( 0x01 - 0xff ) base64 ( "abc}" )`, `$ = "anonymous"`}
	if strings.Join(r.Strings, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s", strings.Join(r.Strings, "\n"))
	}
	if want := `$a at 0 and #b > 1 and @c[1] < 2MB and !d[1] != 3 and for any i in (1 .. #a) : (@a[i] + 1.5 > 0) and pe.exports("}") and 1 of ($a*, $b)`; r.Condition != want {
		t.Errorf("got\n%s\nwant\n%s", r.Condition, want)
	}
	if strings.Join(r.Meta, "|") != `text = "a } rule \" { // no comment /* nor this */"|number = -1|truth = true` {
		t.Errorf("%q", r.Meta)
	}
}

// TestTheReleasedFormMeansTheSameToYARA compiles both.
func TestTheReleasedFormMeansTheSameToYARA(t *testing.T) {
	if _, err := exec.LookPath("yarac"); err != nil {
		t.Skip("yarac is not installed: install the package yara")
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"source": tricky, "released": released(t, map[string]string{"a.yar": tricky})} {
		text = strings.ReplaceAll(text, `base64("abc}")`, "base64") // an alphabet of 4 letters is none
		text = strings.ReplaceAll(text, `base64 ( "abc}" )`, "base64")
		text = strings.ReplaceAll(text, `"x" xor ( 0x01 - 0xff ) base64`, `"xyz" base64`)
		text = strings.ReplaceAll(text, `"x" xor(0x01-0xff) base64`, `"xyz" base64`)
		text = strings.ReplaceAll(text, "1 of ($a*, $b)", "1 of them")
		file := filepath.Join(dir, name+".yar")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("yarac", "-w", file, file+".out").CombinedOutput(); err != nil {
			t.Errorf("%s: %s\n%s", name, out, text)
		}
	}
}

// released is the released rules of a base.
func released(t testing.TB, files map[string]string) string {
	t.Helper()
	p, err := read(t, files).Pack()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range p.Files {
		if f.Name == "rules.yar" {
			return string(f.Content)
		}
	}
	return ""
}

func TestAttackAnIncludeIsRefusedWhereverItStands(t *testing.T) {
	for _, c := range []struct{ text, at string }{
		{"include \"/etc/passwd\"\n", "1:1"},
		{"rule a { condition: true }\ninclude \"../other.yar\"", "2:1"},
		{"/* */ include\t\"x\"", "1:7"},
		{"rule a { meta: include \"x\" condition: true }", "1:16"},
		{"rule a { condition: true and include \"x\" }", "1:30"},
		{"rule a { strings: $a = { 00 } include \"x\" condition: $a }", "1:31"},
	} {
		_, err := detection.Read(folder(map[string]string{"a.yar": c.text}))
		if err == nil || !strings.Contains(err.Error(), "a.yar:"+c.at+":") {
			t.Errorf("%s: %v", c.text, err)
		}
	}
	// Where it is only text, it does no harm; /x/include is /x/i and nclude to libyara.
	read(t, map[string]string{"a.yar": "// include \"x\"\nrule a { meta: x = \"include\" strings: $a = \"include \\\"x\\\"\" condition: $a } /* include \"y\" */ rule b { condition: /x/include \"y\" }"})
}

func TestARuleThatIsWrongIsToldWithItsPlace(t *testing.T) {
	for _, c := range []struct{ text, at, why string }{
		{"import \"time\"\n", "1:8", "clock"},
		{"import \"os\"\n", "1:8", "not known"},
		{"import pe\n", "1:8", "in quotes"},
		{"rule a { condition: true }\nrule a { condition: false }", "2:1", "first at a.yar:1"},
		{"rule a { condition: true", "1:25", "end of the file"},
		{"rule a { }", "1:10", "expected meta, strings or condition"},
		{"rule a { condition: }", "1:21", "empty"},
		{"rule a { strings: $a = \"x\" }", "1:28", "expected condition"},
		{"rule a { strings: $a = \"x\" $a = \"y\" condition: all of them }", "1:28", "twice"},
		{"rule a { strings: $a = \"x\n\" condition: $a }", "1:24", "not closed"},
		{"rule a { strings: $a = \"\\q\" condition: $a }", "1:26", "not an escape"},
		{"rule a { strings: $a = /x condition: $a }", "1:24", "not closed"},
		{"rule a { strings: $a = { 4D zz } condition: $a }", "1:29", "hex string"},
		{"rule a { strings: $a = { 4D", "1:24", "not closed"},
		{"rule a { /* condition: true }", "1:10", "not closed"},
		{"rule a { condition: (true }", "", ""}, // brackets are the engine's business
		{"rule a { condition: true) }", "1:25", "brackets"},
		{"rule a { condition: " + strings.Repeat("(", 70) + " }", "1:85", "brackets"},
		{"rule 1a { condition: true }", "1:6", "the rule's name"},
		{"rule all { condition: true }", "1:6", "the rule's name"},
		{"rule a { condition: é }", "1:21", "ASCII"},
		{"hello", "1:1", "expected rule"},
		{"rule a { condition: b }\nrule b { condition: a }", "1:1", "uses it again"},
	} {
		if c.at == "" {
			read(t, map[string]string{"a.yar": c.text})
			continue
		}
		refused(t, map[string]string{"a.yar": c.text}, "a.yar:"+c.at, c.why)
	}
}

// TestTheSameRulesGiveTheSameBytes: order, files, comments and spaces do not count,
// and a rule stands after those that it uses.
func TestTheSameRulesGiveTheSameBytes(t *testing.T) {
	one := map[string]string{
		"a.yar": "import \"pe\"\nimport \"elf\"\nrule zebra { condition: true }\nrule apple { condition: zebra and pe.is_pe }\nrule mango { condition: 1 of (z*) and 2 of (b*,zebra) }\nrule beta { condition: filesize*2 > 3 }",
		"a.hsb": sum + ":68:A\n" + strings.Repeat("0", 64) + ":1:B\n",
	}
	two := map[string]string{
		"x/1.yar": "// z\nimport \"elf\"\nrule zebra\n{\n\tcondition:\n\t\ttrue // always\n}\nrule mango { condition: 1 of ( z* ) and 2 of (b*, zebra) }",
		"2.yar":   "rule beta { condition: filesize * 2>3 } import \"pe\" rule apple { condition: zebra and /* x */ pe . is_pe }",
		"x/1.hsb": "# B\n" + strings.Repeat("0", 64) + ":1:B\n", "x/2.hsb": "\n" + sum + ":68:A\n",
	}
	p, err := read(t, one).Pack()
	if err != nil {
		t.Fatal(err)
	}
	q, err := read(t, two).Pack()
	if err != nil {
		t.Fatal(err)
	}
	for i := range p.Files {
		if string(p.Files[i].Content) != string(q.Files[i].Content) {
			t.Errorf("%s\n%s\n%s", p.Files[i].Name, p.Files[i].Content, q.Files[i].Content)
		}
	}
	var order []string
	for _, r := range read(t, one).Rules {
		order = append(order, r.Name)
	}
	if strings.Join(order, " ") != "beta zebra apple mango" {
		t.Error(order)
	}
	again := released(t, map[string]string{"r.yar": released(t, one)})
	if again != released(t, one) {
		t.Errorf("the released form is not its own released form:\n%s\n%s", again, released(t, one))
	}
}

// TestAHundredThousandRules are read and packed; one more than the cap is refused.
func TestAHundredThousandRules(t *testing.T) {
	var b strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&b, "rule r%06d { strings: $a = \"needle %d\" condition: $a }\n", i, i)
	}
	if base := read(t, map[string]string{"a.yar": b.String()}); len(base.Rules) != 100_000 {
		t.Error(len(base.Rules))
	}
	for i := range 100_001 {
		fmt.Fprintf(&b, "rule s%06d { condition: true }\n", i)
	}
	refused(t, map[string]string{"a.yar": b.String()}, "a.yar:200001:1", "more than 200000 rules")
}
