package verify_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"

	verifier "clerestory.dev/clerestory/internal/window/portal/verify"
	"clerestory.dev/clerestory/internal/window/portal/verify/generate/build"
)

// TestTheModuleFollowsFromTheSource builds the module again: what a browser gets
// is package verify as it stands here, and nothing else.
func TestTheModuleFollowsFromTheSource(t *testing.T) {
	if testing.Short() {
		t.Skip("slow: builds a WebAssembly module")
	}
	note := read(t, "assets/built.txt")
	version, _, _ := strings.Cut(string(note), "\n")
	if version != runtime.Version() {
		t.Skipf("the module was built by %s, this is %s", version, runtime.Version())
	}
	want, err := build.WASM("./wasm")
	if err != nil {
		t.Fatal(err)
	}
	loader, err := build.Loader()
	if err != nil {
		t.Fatal(err)
	}
	zr, err := gzip.NewReader(bytes.NewReader(read(t, "assets/verify.wasm.gz")))
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]io.Reader{
		"verify.wasm.gz": zr, "verify.wasm.br": brotli.NewReader(bytes.NewReader(read(t, "assets/verify.wasm.br"))),
	} {
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
			t.Errorf("assets/%s is not what the source gives (%v): run go generate ./internal/window/portal/verify", name, err)
		}
	}
	if !bytes.Equal(loader, read(t, "assets/wasm_exec.js")) {
		t.Error("assets/wasm_exec.js is not that of this Go version: run go generate ./internal/window/portal/verify")
	}
}

// TestEveryClientGetsTheModule asks for it as clients do that take brotli, gzip
// or neither, and once more with the tag that came.
func TestEveryClientGetsTheModule(t *testing.T) {
	h, err := verifier.Handler()
	if err != nil {
		t.Fatal(err)
	}
	for accept, want := range map[string]string{"gzip, deflate, br, zstd": "br", "gzip": "gzip", "": "", "br;q=0, gzip;q=0.5": "gzip", "identity": ""} {
		r := httptest.NewRequest("GET", verifier.Path+"verify.wasm", nil)
		r.Header.Set("Accept-Encoding", accept)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 200 || w.Header().Get("Content-Encoding") != want || w.Header().Get("Content-Type") != "application/wasm" {
			t.Errorf("%q: status %d, %v", accept, w.Code, w.Header())
		}
		if most := 1_000_000; want == "br" && w.Body.Len() > most {
			t.Errorf("the module has %d bytes with brotli; at most %d are wanted", w.Body.Len(), most)
		}
		r.Header.Set("If-None-Match", w.Header().Get("ETag"))
		again := httptest.NewRecorder()
		h.ServeHTTP(again, r)
		if again.Code != 304 || again.Body.Len() > 0 {
			t.Errorf("%q: asked again: status %d", accept, again.Code)
		}
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
