// Package build makes the verifier's WebAssembly module, in the one way in which
// its bytes follow from the source and the Go version alone. The generator and
// the test that compares use it, so that they cannot differ.
package build

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// WASM builds the program in dir. Nothing of the environment but the toolchain
// and its caches has a say. Functions are not inlined: that makes the module a
// tenth smaller to download, and the judgement of a bundle no slower than a
// visitor would notice; only the signature arithmetic keeps its inlining.
func WASM(dir string) ([]byte, error) {
	tmp, err := os.MkdirTemp("", "clerestory-wasm")
	if err != nil {
		return nil, fmt.Errorf("building the verifier: %w", err)
	}
	defer os.RemoveAll(tmp)
	out := filepath.Join(tmp, "verify.wasm")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags=-s -w -buildid=",
		"-gcflags=all=-l", "-gcflags=crypto/internal/fips140/...=", "-o", out, dir)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=js", "GOARCH=wasm", "GOWASM=", "GOFLAGS=", "GOEXPERIMENT=", "GODEBUG=", "GOFIPS140=off", "GOWORK=off", "GOTOOLCHAIN=local")
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the verifier: %w\n%s", err, text)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		return nil, fmt.Errorf("building the verifier: %w", err)
	}
	return b, nil
}

// Loader is the wasm_exec.js of the toolchain that WASM uses.
func Loader() ([]byte, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("finding wasm_exec.js: %w", err)
	}
	b, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(root)), "lib", "wasm", "wasm_exec.js"))
	if err != nil {
		return nil, fmt.Errorf("finding wasm_exec.js: %w", err)
	}
	return b, nil
}
