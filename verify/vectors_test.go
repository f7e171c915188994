package verify_test

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"clerestory.dev/clerestory/verify"
	"clerestory.dev/clerestory/verify/verifytest"
)

var update = flag.Bool("update", false, "write testdata/vectors again")

const vectorDir = "../testdata/vectors"

// input is what a verifier gets.
type input struct {
	trust  []byte
	bundle []byte
	file   verify.Artifact
	now    time.Time
}

// attack is one vector: what is done, and what must come of it.
type attack struct {
	name    string // folder of the vector
	about   string
	verdict string
	code    string
	make    func(v *verifytest.Vendor) input
}

// expectation is vector.json.
type expectation struct {
	About   string          `json:"about"`
	File    verify.Artifact `json:"file"`
	Now     time.Time       `json:"now"`
	Verdict string          `json:"verdict"`
	Code    string          `json:"code"`
	// Claims and NotChecked are the names in the report, in order.
	Claims     []string `json:"claims"`
	NotChecked []string `json:"notChecked"`
}

func attacks() []attack {
	return slices.Concat(goodCases, bundleCases, entryCases, checkpointCases, trustCases, keyCases, releaseCases, advisoryCases, cardCases, thresholdCases)
}

// in is what a verifier gets with a file called lantern that holds "the program".
func in(v *verifytest.Vendor, b *verify.Bundle) input {
	return input{v.TrustFile(), format(b), verifytest.Artifact("lantern", "the program"), v.Now}
}

func format(b *verify.Bundle) []byte {
	out, err := b.Format()
	if err != nil {
		panic(err)
	}
	return out
}

func expect(a attack, i input) (expectation, *verify.Report) {
	r := verify.JudgeBundle(i.trust, i.bundle, i.file, i.now)
	e := expectation{a.about, i.file, i.now, r.Verdict, r.Code, []string{}, []string{}}
	for _, c := range r.Claims {
		e.Claims = append(e.Claims, c.Name)
	}
	for _, n := range r.NotChecked {
		e.NotChecked = append(e.NotChecked, n.Name)
	}
	return e, r
}

// TestAttacks makes every attack afresh, judges it, and holds the result against
// the vector on disk.
func TestAttacks(t *testing.T) {
	if *update {
		if err := os.RemoveAll(vectorDir); err != nil {
			t.Fatal(err)
		}
	}
	names := map[string]bool{}
	for _, a := range attacks() {
		if names[a.name] {
			t.Fatalf("two vectors are called %s", a.name)
		}
		names[a.name] = true
		t.Run(a.name, func(t *testing.T) {
			i := a.make(verifytest.New(t))
			got, r := expect(a, i)
			if got.Verdict != a.verdict || got.Code != a.code {
				t.Errorf("verdict %s %q, expected %s %q: %s", got.Verdict, got.Code, a.verdict, a.code, r.Reason)
			}
			text, err := json.MarshalIndent(got, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			vectorFile(t, a.name, "vector.json", append(text, '\n'))
			vectorFile(t, a.name, "trusted_root.json", i.trust)
			vectorFile(t, a.name, "bundle.json", i.bundle)
		})
	}
	if have, err := os.ReadDir(vectorDir); err != nil || len(have) != len(names) {
		t.Errorf("%s holds %d vectors, expected %d (run with -update): %v", vectorDir, len(have), len(names), err)
	}
}

func vectorFile(t *testing.T, vector, name string, want []byte) {
	t.Helper()
	path := filepath.Join(vectorDir, vector, name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != string(want) {
		t.Errorf("%s is not what the test makes (run with -update if that is meant): %v", path, err)
	}
}

// TestVectorsOnDisk judges the vectors as a stranger has them: from files alone.
func TestVectorsOnDisk(t *testing.T) {
	dirs, err := filepath.Glob(vectorDir + "/*/vector.json")
	if err != nil || len(dirs) < 30 {
		t.Fatalf("%d vectors: %v", len(dirs), err)
	}
	for _, path := range dirs {
		var want expectation
		read := func(name string) []byte {
			b, err := os.ReadFile(filepath.Join(filepath.Dir(path), name))
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		if err := json.Unmarshal(read("vector.json"), &want); err != nil {
			t.Fatal(err)
		}
		r := verify.JudgeBundle(read("trusted_root.json"), read("bundle.json"), want.File, want.Now)
		if r.Verdict != want.Verdict || r.Code != want.Code {
			t.Errorf("%s: %s %q, expected %s %q", path, r.Verdict, r.Code, want.Verdict, want.Code)
		}
	}
}

// TestAnotherVerifierAgrees runs the verifier that was written in another
// language, from docs/spec alone, on every vector.
func TestAnotherVerifierAgrees(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		if os.Getenv("CLERESTORY_TEST_ALL") == "1" {
			t.Fatal("node is missing, and CLERESTORY_TEST_ALL=1 asks for every test")
		}
		t.Skip("node is not installed; install Node 18 or later to compare with the second verifier")
	}
	out, err := exec.CommandContext(t.Context(), node, "../testdata/node-verifier/verify.mjs", "--vectors", vectorDir).CombinedOutput()
	if err != nil {
		t.Fatalf("the second verifier disagrees: %v\n%s", err, out)
	}
	if lines := strings.Count(string(out), "\n"); lines < len(attacks()) {
		t.Errorf("it judged %d of %d vectors", lines, len(attacks()))
	}
}
