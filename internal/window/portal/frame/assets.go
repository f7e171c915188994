package frame

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"
)

//go:embed assets
var own embed.FS

// assets are files under /assets/ whose names hold the hash of their content:
// they never change, so they may be kept for ever.
type assets struct {
	byURL  map[string]asset
	byName map[string]string
}

type asset struct {
	kind  string
	plain []byte
	gzip  []byte
}

func (a *assets) load() error {
	files := map[string][]byte{}
	entries, err := own.ReadDir("assets")
	if err != nil {
		return fmt.Errorf("reading the assets: %w", err)
	}
	for _, e := range entries {
		if files[e.Name()], err = own.ReadFile("assets/" + e.Name()); err != nil {
			return fmt.Errorf("reading the assets: %w", err)
		}
	}
	a.byURL, a.byName = map[string]asset{}, map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		sum := sha256.Sum256(files[name])
		ext := path.Ext(name)
		url := "/assets/" + strings.TrimSuffix(name, ext) + "." + hex.EncodeToString(sum[:8]) + ext
		kind := mime.TypeByExtension(ext)
		if ext == ".js" {
			kind = "text/javascript; charset=utf-8"
		}
		var z bytes.Buffer
		w, _ := gzip.NewWriterLevel(&z, gzip.BestCompression) // the level is valid
		w.Write(files[name])
		w.Close()
		a.byURL[url] = asset{kind, files[name], z.Bytes()}
		a.byName[name] = url
	}
	return nil
}

func (a *assets) url(name string) string { return a.byName[name] }

// Assets serves /assets/.
func (f *Frame) Assets() http.Handler {
	missing := f.Missing()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		file, ok := f.assets.byURL[r.URL.Path]
		if !ok {
			missing.ServeHTTP(w, r)
			return
		}
		h := w.Header()
		h.Set("Content-Type", file.kind)
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
		h.Set("ETag", `"`+path.Base(r.URL.Path)+`"`)
		h.Set("Vary", "Accept-Encoding")
		if strings.Contains(r.Header.Get("If-None-Match"), path.Base(r.URL.Path)) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		body := file.plain
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") && len(file.gzip) < len(file.plain) {
			h.Set("Content-Encoding", "gzip")
			body = file.gzip
		}
		w.Write(body)
	})
}
