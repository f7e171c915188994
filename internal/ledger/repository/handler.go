package repository

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// How long browsers, CDNs and proxies may keep the files. All but the timestamp
// carry a number or a hash in their names and never change.
const (
	cacheTimestamp = "no-cache"
	cacheForever   = "public, max-age=31536000, immutable"
	cacheNothing   = "no-store" // the next root, which clients ask for, may be there in a moment
)

// looked is how long the timestamp is served from memory before the file is
// looked at again.
const looked = 20 * time.Millisecond

// Handler serves a repository's folder: metadata and targets, and nothing else
// that lies there. Mount it with http.StripPrefix. Everything in it is public,
// so pages of any origin may read it; ranges are served, so downloads resume.
func Handler(dir string) http.Handler {
	return &handler{dir: dir}
}

type handler struct {
	dir     string
	newest  atomic.Pointer[newest]
	looking sync.Mutex
}

// newest is the timestamp as it was read.
type newest struct {
	content []byte
	etag    string
	tag     []string // etag and the length as header values, made once
	size    []string
	info    os.FileInfo
	looked  time.Time
}

// ServeHTTP implements http.Handler.
func (s *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h["Access-Control-Allow-Origin"] = anyOrigin
	h["X-Content-Type-Options"] = noSniff
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		refuse(w, "a repository is only read", http.StatusMethodNotAllowed)
		return
	}
	name := strings.TrimPrefix(r.URL.Path, "/")
	if name == timestampFile {
		s.serveTimestamp(w, r)
		return
	}
	h["Content-Security-Policy"] = noContent
	kind, ok := known(name)
	if !ok {
		refuse(w, "a repository has no such file", http.StatusNotFound)
		return
	}
	s.serveFile(w, r, name, kind)
}

// Header values that are the same for every answer; they are only read.
var (
	anyOrigin     = []string{"*"}
	noContent     = []string{"default-src 'none'; frame-ancestors 'none'"}
	noSniff       = []string{"nosniff"}
	jsonType      = []string{"application/json"}
	timestampKept = []string{cacheTimestamp}
)

// serveTimestamp answers most requests that a repository gets: from memory, and
// with 304 where the client has it already.
func (s *handler) serveTimestamp(w http.ResponseWriter, r *http.Request) {
	t := s.timestamp()
	if t == nil {
		refuse(w, "this repository publishes nothing yet", http.StatusNotFound)
		return
	}
	h := w.Header()
	h["Content-Type"] = jsonType
	h["Cache-Control"] = timestampKept
	h["Etag"] = t.tag
	if r.Header.Get("Range") != "" || r.Header.Get("If-Range") != "" || r.Header.Get("If-Match") != "" {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(t.content))
		return
	}
	if match := r.Header.Get("If-None-Match"); match != "" && (match == "*" || strings.Contains(match, t.etag)) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h["Content-Length"] = t.size
	if r.Method == http.MethodGet {
		w.Write(t.content)
	}
}

// timestamp reads the file when it was replaced. One request looks at a time,
// the others take what was there a moment ago.
func (s *handler) timestamp() *newest {
	t := s.newest.Load()
	now := time.Now()
	if t != nil && (now.Sub(t.looked) < looked || !s.looking.TryLock()) {
		return t
	}
	if t == nil {
		s.looking.Lock()
	}
	defer s.looking.Unlock()
	f, err := openRegular(s.dir, timestampFile)
	if err != nil {
		s.newest.Store(nil)
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return t
	}
	if t != nil && os.SameFile(info, t.info) && info.ModTime().Equal(t.info.ModTime()) && info.Size() == t.info.Size() {
		again := *t
		again.looked = now
		s.newest.Store(&again)
		return &again
	}
	content, err := io.ReadAll(io.LimitReader(f, maxMetadata))
	if err != nil {
		return t
	}
	t = &newest{content: content, etag: fmt.Sprintf(`"%x"`, sha256.Sum256(content)), size: []string{fmt.Sprint(len(content))}, info: info, looked: now}
	t.tag = []string{t.etag}
	s.newest.Store(t)
	return t
}

var (
	metadataName = regexp.MustCompile(`^[1-9][0-9]{0,18}\.[a-z0-9~][a-z0-9._~-]{0,127}\.json$`)
	targetName   = regexp.MustCompile(`^[0-9a-f]{64}\.[^/]+$`)
)

// known tells whether a path can be one of a repository's files, and its type.
func known(name string) (kind string, ok bool) {
	if path.Clean(name) != name || strings.Contains(name, "/.") || strings.ContainsAny(name, "\\\x00") || len(name) > 1024 {
		return "", false
	}
	dir, rest, _ := strings.Cut(name, "/")
	switch dir {
	case "metadata":
		return "application/json", metadataName.MatchString(rest)
	case "targets":
		return "application/octet-stream", targetName.MatchString(path.Base(rest))
	}
	return "", false
}

func (s *handler) serveFile(w http.ResponseWriter, r *http.Request, name, kind string) {
	f, err := openRegular(s.dir, name)
	if err != nil {
		refuse(w, "this repository has no such file, or not yet", http.StatusNotFound)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		refuse(w, "this file can not be read now", http.StatusServiceUnavailable)
		return
	}
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Cache-Control", cacheForever)
	// The name says what is in it, so it is all that a resumed download compares.
	h.Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256([]byte(name))))
	http.ServeContent(w, r, "", info.ModTime(), f)
}

// openRegular opens a file below dir and nothing else: no folder, no device, and
// no link that leads out.
func openRegular(dir, name string) (*os.File, error) {
	f, err := os.OpenInRoot(dir, filepath.FromSlash(name))
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, os.ErrNotExist
	}
	return f, nil
}

func refuse(w http.ResponseWriter, text string, status int) {
	w.Header().Set("Cache-Control", cacheNothing)
	http.Error(w, text, status)
}
