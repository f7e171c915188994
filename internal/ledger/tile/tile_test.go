package tile

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
)

const secret = "what nobody may read"

// folder is a log folder as a writer leaves it, private files included.
func folder(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"checkpoint":                 "log.example/test\n3\nroot\n",
		"tile/0/000":                 strings.Repeat("h", 8192),
		"tile/0/001.p/3":             strings.Repeat("h", 96),
		"tile/entries/x001/x234/067": "\x00\x05hello",
		".state/treeState":           secret,
		".state/writer.lock":         secret,
		"tile/0/0001234":             secret, // a temporary file that a crash left
		"tile/0/000.p/notes.txt":     secret,
		"checkpoint8812":             secret,
		"index.html":                 secret,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func ask(h http.Handler, method, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/", nil)
	r.URL.Path = path
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestALogIsServedAsStaticFilesThatCachesUnderstand(t *testing.T) {
	h := Handler(folder(t))
	for _, c := range []struct{ path, kind, cache string }{
		{"/checkpoint", "text/plain; charset=utf-8", "no-cache, max-age=1"},
		{"/tile/0/000", "application/octet-stream", "public, max-age=31536000, immutable"},
		{"/tile/0/001.p/3", "application/octet-stream", "public, max-age=300"},
		{"/tile/entries/x001/x234/067", "application/octet-stream", "public, max-age=31536000, immutable"},
	} {
		w := ask(h, "GET", c.path)
		if w.Code != 200 || w.Header().Get("Content-Type") != c.kind || w.Header().Get("Cache-Control") != c.cache || w.Body.Len() == 0 {
			t.Errorf("GET %s: %d %v", c.path, w.Code, w.Header())
		}
		if w := ask(h, "HEAD", c.path); w.Code != 200 || w.Body.Len() != 0 || w.Header().Get("Content-Length") == "" {
			t.Errorf("HEAD %s: %d, %d bytes", c.path, w.Code, w.Body.Len())
		}
	}
	etag := ask(h, "GET", "/checkpoint").Header().Get("ETag")
	if w := ask(h, "GET", "/checkpoint", "If-None-Match", etag); w.Code != http.StatusNotModified {
		t.Errorf("the same checkpoint again: %d", w.Code)
	}
	if w := ask(h, "GET", "/tile/0/000", "If-Modified-Since", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)); w.Code != http.StatusNotModified {
		t.Errorf("the same tile again: %d", w.Code)
	}
	if w := ask(h, "GET", "/tile/0/000", "Range", "bytes=32-63"); w.Code != http.StatusPartialContent || w.Body.Len() != 32 {
		t.Errorf("one hash of a tile: %d, %d bytes", w.Code, w.Body.Len())
	}
	if w := ask(h, "POST", "/checkpoint"); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") == "" {
		t.Errorf("POST: %d", w.Code)
	}
}

func TestNothingElseInTheFolderIsServed(t *testing.T) {
	h := Handler(folder(t))
	for _, path := range []string{
		"/", "", "/tile", "/tile/", "/tile/0", "/tile/0/", "/.state/treeState", "/.state/writer.lock", "/index.html", "/checkpoint8812",
		"/tile/0/0001234", "/tile/0/000.p/notes.txt", "/tile/0/000.p/", "/tile/0/000.p/0", "/tile/0/000.p/256", "/tile/0/001.p/03", "/tile/0/001.p/+3",
		"/tile/00/000", "/tile/8/000", "/tile/0/0", "/tile/0/x000/000", "/tile/0/x001/000/x002/001",
		"/tile/0/../../.state/treeState", "/../" + "etc/passwd", "//checkpoint", "/checkpoint/", "/tile/entries/../0/000", "/tile/data/000",
		"/tile/0/999999999999999999999", "/tile/0/" + strings.Repeat("x001/", 20) + "001", "/tile/0/002", "/tile/0/000\x00", "/tile/0/000\\..\\x",
	} {
		if w := ask(h, "GET", path); w.Code != 404 || strings.Contains(w.Body.String(), secret) || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("GET %q: %d %q", path, w.Code, w.Body)
		}
	}
}

func FuzzServedPaths(f *testing.F) {
	for _, p := range []string{"checkpoint", "tile/0/000", "tile/entries/x001/x234/067.p/7", ".state/treeState", "tile/7/x999/x999/x999/x999/999.p/255"} {
		f.Add(p)
	}
	h := Handler(folder(f))
	f.Fuzz(func(t *testing.T, path string) {
		ref, ok := ParsePath(path)
		if ok && ref.Path() != path {
			t.Errorf("%q is also named %q", path, ref.Path())
		}
		if ok && (strings.Contains(path, "..") || strings.HasPrefix(path, "/") || ref.Width < 1 || ref.Width > Width || ref.Index < 0) {
			t.Errorf("%q was taken as %+v", path, ref)
		}
		if w := ask(h, "GET", "/"+path); strings.Contains(w.Body.String(), secret) {
			t.Errorf("%q gave a private file", path)
		}
	})
}

func FuzzBundle(f *testing.F) {
	f.Add([]byte("\x00\x05hello\x00\x00\x00\x01x"), 3)
	f.Add([]byte("\xff\xff"), 1)
	f.Fuzz(func(t *testing.T, b []byte, width int) {
		width = 1 + max(0, width)%Width
		entries, err := ParseBundle(b, width)
		if err != nil {
			return
		}
		if len(entries) != width || !bytes.Equal(FormatBundle(entries), b) {
			t.Errorf("%d entries of %x do not give it back", len(entries), b)
		}
	})
}

func TestAServerCanNotMakeAReaderReadForEver(t *testing.T) {
	end := make(chan struct{})
	defer close(end)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		chunk := bytes.Repeat([]byte("h"), 4096)
		for {
			select {
			case <-end:
				return
			case <-r.Context().Done():
				return
			default:
			}
			if strings.HasSuffix(r.URL.Path, "checkpoint") { // slow
				time.Sleep(20 * time.Millisecond)
				chunk = []byte("h")
			}
			if _, err := w.Write(chunk); err != nil {
				return
			}
			w.(http.Flusher).Flush()
		}
	}))
	defer srv.Close()
	src, err := Open(srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	src.(*HTTP).Timeout = 200 * time.Millisecond
	if _, err := src.Get(context.Background(), Ref{Width: Width}); !errors.Is(err, fault.Tampered) {
		t.Errorf("an endless tile: %v", err)
	}
	if _, err := src.Checkpoint(context.Background()); !errors.Is(err, fault.Unavailable) {
		t.Errorf("a slow checkpoint: %v", err)
	}
}

func TestAReaderFollowsNoRedirect(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Error("another server was asked")
	}))
	defer other.Close()
	srv := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusFound))
	defer srv.Close()
	src, _ := Open(srv.URL, nil)
	if _, err := src.Checkpoint(context.Background()); !errors.Is(err, fault.Unavailable) {
		t.Errorf("a redirect: %v", err)
	}
}

func TestTheFullTileAnswersForAPartialOneThatIsGone(t *testing.T) {
	dir := folder(t)
	srv := httptest.NewServer(http.StripPrefix("/log", Handler(dir)))
	defer srv.Close()
	for _, where := range []string{dir, srv.URL + "/log/"} {
		src, err := Open(where, nil)
		if err != nil {
			t.Fatal(err)
		}
		hashes, err := ReadTile(context.Background(), src, Ref{Index: 0, Width: 7})
		if err != nil || len(hashes) != 7 {
			t.Errorf("%s: %d hashes, %v", where, len(hashes), err)
		}
		if _, err := ReadTile(context.Background(), src, Ref{Index: 5, Width: 7}); !errors.Is(err, fault.NotFound) {
			t.Errorf("%s: a tile that is not there: %v", where, err)
		}
		if _, err := src.Get(context.Background(), Ref{Index: 1, Width: 2}); !errors.Is(err, fault.NotFound) {
			t.Errorf("%s: another width: %v", where, err)
		}
	}
}
