// Package verify is the browser verifier: the scripts of the page /verify, and
// package verify compiled to WebAssembly.
//
// It promises that a visitor's file never leaves the machine (only its SHA-256
// is asked for), that the decision is that of the public package verify, and
// that the page needs no more than script-src 'self' 'wasm-unsafe-eval',
// worker-src 'self' and connect-src for the witnesses ([Sources]). The module
// follows from the source: a test builds it again and compares.
//
// It does not make the page. Start at [Handler], and in assets/verify.js, whose
// first lines say what the page must hold.
package verify

//go:generate go run ./generate

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	public "clerestory.dev/clerestory/verify"
)

//go:embed assets
var assets embed.FS

// Path is where a portal mounts Handler; the page loads Script as a module.
const (
	Path   = "/verify/files/"
	Script = Path + "verify.js"
)

// policy is the content security policy of a worker, which is its script's own
// and not the page's.
const policy = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'"

// Sources are the origins that the page's connect-src must list besides 'self',
// so that visitors can read the witnesses' copies of the log.
func Sources(p *public.Policy) []string {
	var origins []string
	for _, w := range p.Witnesses {
		if u, err := url.Parse(w.URL); err == nil && u.Host != "" {
			origins = append(origins, u.Scheme+"://"+u.Host)
		}
	}
	slices.Sort(origins)
	return slices.Compact(origins)
}

type file struct {
	kind, etag string
	encoded    map[string][]byte // by content coding; "" is as it is
}

// Handler serves the verifier's files under [Path].
func Handler() (http.Handler, error) {
	files, err := load()
	if err != nil {
		return nil, fmt.Errorf("loading the browser verifier: %w", err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, ok := files[strings.TrimPrefix(r.URL.Path, Path)]
		if !ok || !strings.HasPrefix(r.URL.Path, Path) {
			http.NotFound(w, r)
			return
		}
		f.serve(w, r)
	}), nil
}

func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	coding := ""
	for _, c := range []string{"br", "gzip"} {
		if _, ok := f.encoded[c]; ok && accepts(r.Header.Values("Accept-Encoding"), c) {
			coding = c
			break
		}
	}
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	// The parts belong together, so each is asked for again: an old script must
	// not meet a new module.
	h.Set("Cache-Control", "no-cache")
	h.Set("Vary", "Accept-Encoding")
	etag := `"` + f.etag + `-` + coding + `"`
	h.Set("ETag", etag)
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if coding != "" {
		h.Set("Content-Encoding", coding)
	}
	h.Set("Content-Length", fmt.Sprint(len(f.encoded[coding])))
	if r.Method != http.MethodHead {
		w.Write(f.encoded[coding])
	}
}

// accepts tells whether a client takes a content coding (RFC 9110, 12.5.3).
func accepts(header []string, coding string) bool {
	for part := range strings.SplitSeq(strings.Join(header, ","), ",") {
		name, q, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.EqualFold(strings.TrimSpace(name), coding) {
			q = strings.ReplaceAll(q, " ", "")
			return !strings.HasPrefix(q, "q=0") || strings.Trim(q, "q=0.") != ""
		}
	}
	return false
}

// load reads the embedded files; verify.wasm is there only compressed, and is
// unpacked for the rare client that takes neither coding.
func load() (map[string]*file, error) {
	entries, err := fs.ReadDir(assets, "assets")
	if err != nil {
		return nil, err
	}
	files := map[string]*file{}
	for _, e := range entries {
		b, err := assets.ReadFile("assets/" + e.Name())
		if err != nil {
			return nil, err
		}
		name, coding := e.Name(), ""
		switch path.Ext(name) {
		case ".br":
			name, coding = strings.TrimSuffix(name, ".br"), "br"
		case ".gz":
			name, coding = strings.TrimSuffix(name, ".gz"), "gzip"
			if err := add(files, name, "", func() ([]byte, error) { return unzip(b) }); err != nil {
				return nil, err
			}
		}
		if err := add(files, name, coding, func() ([]byte, error) { return b, nil }); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func add(files map[string]*file, name, coding string, read func() ([]byte, error)) error {
	b, err := read()
	if err != nil {
		return err
	}
	f := files[name]
	if f == nil {
		f = &file{kind: kindOf(name), encoded: map[string][]byte{}}
		files[name] = f
	}
	f.encoded[coding] = b
	if coding == "" {
		sum := sha256.Sum256(b)
		f.etag = hex.EncodeToString(sum[:16])
	}
	return nil
}

func kindOf(name string) string {
	switch path.Ext(name) {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".wasm":
		return "application/wasm"
	}
	return mime.TypeByExtension(path.Ext(name))
}

func unzip(b []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}
