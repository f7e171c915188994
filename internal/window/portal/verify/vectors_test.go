package verify_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestTheModuleAgreesOnEveryVector runs what a browser gets on the public vectors:
// it checks P-256 with other arithmetic than the command line.
func TestTheModuleAgreesOnEveryVector(t *testing.T) {
	if testing.Short() {
		t.Skip("slow: judges every vector in WebAssembly")
	}
	node, err := exec.LookPath("node")
	if err != nil {
		if os.Getenv("CLERESTORY_TEST_ALL") == "1" {
			t.Fatal("node is missing, and CLERESTORY_TEST_ALL=1 asks for every test")
		}
		t.Skip("node is not installed; install Node 18 or later to run the module without a browser")
	}
	zr, err := gzip.NewReader(bytes.NewReader(read(t, "assets/verify.wasm.gz")))
	if err != nil {
		t.Fatal(err)
	}
	module, err := io.ReadAll(zr)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "verify.wasm")
	if err := os.WriteFile(path, module, 0o600); err != nil {
		t.Fatal(err)
	}
	loader, err := filepath.Abs("assets/wasm_exec.js")
	if err != nil {
		t.Fatal(err)
	}
	const vectors = "../../../../testdata/vectors"
	all, err := os.ReadDir(vectors)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), node, "testdata/vectors.cjs", loader, path, vectors).CombinedOutput()
	if want := fmt.Sprintf("judged %d\n", len(all)); err != nil || string(out) != want {
		t.Errorf("the browser's module differs (%v):\n%s", err, out)
	}
}
