// Command generate builds the browser verifier: package verify as WebAssembly,
// compressed twice, with the Go distribution's wasm_exec.js that belongs to it.
//
// It promises the same bytes for the same source and the same Go version, which
// it writes down beside them, so that anybody can build them again and compare.
// The uncompressed module is not kept: a server that needs it unpacks it.
//
// Start it with go generate in the folder above.
package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"runtime"

	"github.com/andybalholm/brotli"

	"clerestory.dev/clerestory/internal/window/portal/verify/generate/build"
)

func main() {
	log.SetFlags(0)
	if err := generate("assets"); err != nil {
		log.Fatal(err)
	}
}

func generate(dir string) error {
	wasm, err := build.WASM("./wasm")
	if err != nil {
		return err
	}
	var gz, br bytes.Buffer
	zw, err := gzip.NewWriterLevel(&gz, gzip.BestCompression) // no name and no time in its header
	if err != nil {
		return fmt.Errorf("compressing with gzip: %w", err)
	}
	bw := brotli.NewWriterOptions(&br, brotli.WriterOptions{Quality: brotli.BestCompression, LGWin: 24})
	for _, w := range []interface {
		Write([]byte) (int, error)
		Close() error
	}{zw, bw} {
		if _, err := w.Write(wasm); err != nil {
			return fmt.Errorf("compressing: %w", err)
		}
		if err := w.Close(); err != nil {
			return fmt.Errorf("compressing: %w", err)
		}
	}
	loader, err := build.Loader()
	if err != nil {
		return err
	}
	note := fmt.Sprintf("%s\nverify.wasm sha256 %x\nverify.wasm bytes %d\n", runtime.Version(), sha256.Sum256(wasm), len(wasm))
	for name, b := range map[string][]byte{
		"verify.wasm.gz": gz.Bytes(), "verify.wasm.br": br.Bytes(), "wasm_exec.js": loader, "built.txt": []byte(note),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			return fmt.Errorf("writing the verifier: %w", err)
		}
	}
	fmt.Printf("verify.wasm %d bytes, brotli %d, gzip %d\n", len(wasm), br.Len(), gz.Len())
	return nil
}
