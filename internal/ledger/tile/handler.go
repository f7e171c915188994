package tile

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// How long the files may be kept by browsers and CDNs. A full tile never
// changes; a partial one neither, but it is soon replaced by a wider one.
const (
	cacheCheckpoint = "no-cache, max-age=1"
	cacheFull       = "public, max-age=31536000, immutable"
	cachePartial    = "public, max-age=300"
	cacheNothing    = "no-store" // a tile that is missing now is there in a moment
)

// Handler serves a log's folder: the checkpoint, tiles and bundles of entries,
// and nothing else that lies there. Mount it with http.StripPrefix. Everything
// in it is public, so pages of any origin may read it.
func Handler(dir string) http.Handler {
	f := newFiles(dir)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			refuse(w, "a log is only read", http.StatusMethodNotAllowed)
			return
		}
		name := strings.TrimPrefix(r.URL.Path, "/")
		if name == "checkpoint" {
			serveCheckpoint(w, r, dir)
			return
		}
		ref, ok := ParsePath(name)
		if !ok {
			refuse(w, "a log has no such file", http.StatusNotFound)
			return
		}
		f.serve(w, r, ref)
	})
}

// fullTiles is how many full tiles of hashes are kept in memory: 8 KB each. They
// never change, and the upper ones are in every proof.
const fullTiles = 1024

// files serves what never changes under its name.
type files struct {
	dir  string
	full *lru.Cache[Ref, kept]
}

type kept struct {
	content  []byte
	modified time.Time
}

func newFiles(dir string) *files {
	full, err := lru.New[Ref, kept](fullTiles)
	if err != nil { // only a size below 1 makes it fail
		panic(err)
	}
	return &files{dir, full}
}

// serveCheckpoint tells states apart by content: several may be published within
// the second that Last-Modified can tell.
func serveCheckpoint(w http.ResponseWriter, r *http.Request, dir string) {
	b, err := Dir(dir).Checkpoint(r.Context())
	if err != nil {
		refuse(w, "this log has no checkpoint yet", http.StatusNotFound)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", cacheCheckpoint)
	h.Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(b)))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

func (f *files) serve(w http.ResponseWriter, r *http.Request, ref Ref) {
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Cache-Control", cacheFull)
	if ref.Width < Width {
		h.Set("Cache-Control", cachePartial)
	}
	if k, ok := f.full.Get(ref); ok {
		http.ServeContent(w, r, "", k.modified, bytes.NewReader(k.content))
		return
	}
	file, err := openRegular(f.dir, ref.Path())
	if err != nil {
		refuse(w, "this log has no such file, or not yet", http.StatusNotFound)
		return
	}
	defer file.Close()
	modified := time.Time{}
	if info, err := file.Stat(); err == nil {
		modified = info.ModTime()
	}
	if ref.Width < Width || ref.Entries {
		http.ServeContent(w, r, "", modified, file)
		return
	}
	content, err := io.ReadAll(io.LimitReader(file, Limits.Tile))
	if err != nil {
		refuse(w, "this file of the log can not be read now", http.StatusServiceUnavailable)
		return
	}
	if int64(len(content)) == Limits.Tile { // whole: another length is not worth keeping
		f.full.Add(ref, kept{content, modified})
	}
	http.ServeContent(w, r, "", modified, bytes.NewReader(content))
}

func refuse(w http.ResponseWriter, text string, status int) {
	w.Header().Set("Cache-Control", cacheNothing)
	http.Error(w, text, status)
}
