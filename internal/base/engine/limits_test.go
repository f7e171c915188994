package engine_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"testing"
	"time"

	"clerestory.dev/clerestory/internal/base/engine"
)

func TestAHundredThousandRulesAreCompiledOrRefused(t *testing.T) {
	need(t, "yara")
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	r := &engine.Rules{}
	for i := range 100_000 {
		r.YARA = append(r.YARA, engine.Rule{Name: fmt.Sprintf("R%d", i), File: "a.yar", Line: i + 1, Text: fmt.Sprintf("rule R%d { strings: $a = \"needle %d\" condition: $a }", i, i)})
	}
	began := time.Now()
	got, report := scan(t, engine.Engine{}, nil, r, corpus(t, map[string]string{"a": "here is needle 99999", "b": "nothing"}))
	t.Logf("compiled and scanned in %s", time.Since(began))
	if len(report.Gaps) > 0 {
		t.Fatal(report.Gaps)
	}
	// needle 9, needle 99, needle 999, needle 9999, needle 99999
	if len(got) != 5 {
		t.Fatal(got)
	}
}

func TestAnEngineThatDoubtsItselfIsHeard(t *testing.T) {
	need(t, "yara")
	files := corpus(t, map[string]string{"a": strings.Repeat("a", 8_000_000), "b": "fine"})
	_, report := scan(t, engine.Engine{}, nil, &engine.Rules{YARA: []engine.Rule{rule("Many", `$a = "a"`, "#a > 5")}}, files)
	if len(report.Notices) == 0 || !strings.Contains(report.Notices[0], "Many") {
		t.Fatal(report.Notices)
	}
}

func TestWhatClamAVDoesNotLookAtIsNotClean(t *testing.T) {
	need(t, "clamscan")
	// An archive in an archive, deeper than ClamAV goes: it says so only when asked to.
	deep := []byte("hello there")
	for range 40 {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Write(deep)
		z.Close()
		deep = b.Bytes()
	}
	files := corpus(t, map[string]string{"deep": string(deep), "flat": "hello there"})
	p := &engine.Rules{Patterns: []engine.Entry{{Name: "P", Line: "P:0:*:68656c6c6f207468657265"}}}
	got, report := scan(t, engine.Engine{}, nil, p, files)
	same(t, got, "flat ndb:P 2")
	if len(report.Gaps) != 1 || files[report.Gaps[0].File].Path != "deep" || !strings.Contains(report.Gaps[0].Why, "Limits.Exceeded") {
		t.Fatal("a file that was not looked at to its bottom counts as clean:", report.Gaps)
	}
}
