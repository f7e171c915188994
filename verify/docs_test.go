package verify_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

var exampleMark = regexp.MustCompile("(?s)<!-- example: ([^\n]*) -->\n```json\n(.*?)```\n")

// TestExamplesInTheSpecificationAreReal compares each with its vector.
func TestExamplesInTheSpecificationAreReal(t *testing.T) {
	pages, err := filepath.Glob("../docs/spec/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, page := range pages {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range exampleMark.FindAllStringSubmatch(string(b), -1) {
			found++
			want := example(t, strings.Fields(m[1]))
			if m[2] != want && *update {
				b = bytes.Replace(b, []byte(m[0]), []byte(strings.Replace(m[0], "```json\n"+m[2], "```json\n"+want, 1)), 1)
			} else if m[2] != want {
				t.Errorf("%s: the example %q is not that of the vector (run with -update)", page, m[1])
			}
		}
		if *update {
			if err := os.WriteFile(page, b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if found < 7 {
		t.Errorf("only %d examples", found)
	}
}

// example finds "VECTOR ENTRY payload|envelope" or "VECTOR trusted_root".
func example(t *testing.T, mark []string) string {
	t.Helper()
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(vectorDir, mark[0], name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if mark[1] == "trusted_root" {
		return string(read("trusted_root.json"))
	}
	b, err := verify.ParseBundle(read("bundle.json"))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(mark[1])
	if err != nil {
		t.Fatal(err)
	}
	if mark[2] == "envelope" {
		return b.Entries[n].Envelope + "\n"
	}
	e, err := statement.ParseEnvelope([]byte(b.Entries[n].Envelope))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, e.Payload, "", "  "); err != nil {
		t.Fatal(err)
	}
	return out.String() + "\n"
}

// TestEveryCodeIsInTheSpecification, and every code there is one of ours.
func TestEveryCodeIsInTheSpecification(t *testing.T) {
	page, err := os.ReadFile("../docs/spec/verify.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "## Codes")
	table, _, _ = strings.Cut(table, "## Limits")
	var codes []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` ").FindAllStringSubmatch(table, -1) {
		codes = append(codes, m[1])
	}
	want := []string{
		verify.CodeTrust, verify.CodeBundle, verify.CodeCheckpoint, verify.CodeQuorum, verify.CodeProof, verify.CodeStatement,
		verify.CodeSignature, verify.CodeSigners, verify.CodeApprovals, verify.CodeOtherFile, verify.CodeProvenance, verify.CodeRevoked, verify.CodeFork,
	}
	if strings.Join(codes, " ") != strings.Join(want, " ") {
		t.Errorf("the specification has %v, the code %v", codes, want)
	}
}
