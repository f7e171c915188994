package repository_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clerestory.dev/clerestory/internal/ledger/repository"
)

func ask(t *testing.T, h http.Handler, path string, header ...string) (*http.Response, string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.URL.Path = path
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	b, err := io.ReadAll(w.Result().Body)
	must(t, err)
	return w.Result(), string(b)
}

func TestTheFolderIsServedForCachesAndResumedDownloads(t *testing.T) {
	v := newVendor(t, db(t))
	v.publish("1.0.0", "0123456789")
	h := repository.Handler(v.Dir)
	res, body := ask(t, h, "/metadata/timestamp.json")
	if res.StatusCode != 200 || res.Header.Get("Cache-Control") != "no-cache" || !strings.Contains(body, `"timestamp"`) || res.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %v", res.StatusCode, res.Header)
	}
	tag := res.Header.Get("ETag")
	if res, body := ask(t, h, "/metadata/timestamp.json", "If-None-Match", tag); res.StatusCode != 304 || body != "" {
		t.Fatalf("known already: %d %q", res.StatusCode, body)
	}
	if res, body := ask(t, h, "/metadata/timestamp.json", "Range", "bytes=0-3"); res.StatusCode != 206 || len(body) != 4 {
		t.Fatalf("a range: %d %q", res.StatusCode, body)
	}
	v.now = v.now.Add(13 * time.Hour)
	if done, err := v.Renew(ctx); !done || err != nil {
		t.Fatal(done, err)
	}
	time.Sleep(50 * time.Millisecond)
	if res, body := ask(t, h, "/metadata/timestamp.json", "If-None-Match", tag); res.StatusCode != 200 || !strings.Contains(body, `"version":2`) {
		t.Fatalf("the newer one: %d %q", res.StatusCode, body)
	}
	for _, name := range []string{"/metadata/1.root.json", "/metadata/1.agent.json", "/metadata/1.~stop.json"} {
		if res, _ := ask(t, h, name); res.StatusCode != 200 || !strings.Contains(res.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d %v", name, res.StatusCode, res.Header)
		}
	}
	if res, _ := ask(t, h, "/metadata/2.root.json"); res.StatusCode != 404 || res.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("the next root: %d %v", res.StatusCode, res.Header)
	}
	found, err := filepath.Glob(filepath.Join(v.Dir, "targets", "agent", "1.0.0", "*.agent.bin"))
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	if res, body := ask(t, h, "/targets/agent/1.0.0/"+filepath.Base(found[0]), "Range", "bytes=4-"); res.StatusCode != 206 || body != "456789" {
		t.Fatalf("a resumed download: %d %q", res.StatusCode, body)
	}
}

func TestNothingElseIsServed(t *testing.T) {
	v := newVendor(t, db(t))
	v.publish("1.0.0", "one")
	secret := filepath.Join(filepath.Dir(v.Dir), "secret")
	must(t, os.WriteFile(secret, []byte("secret"), 0o644))
	sum := strings.Repeat("a", 64)
	must(t, os.Symlink(secret, filepath.Join(v.Dir, "targets", sum+".out")))
	must(t, os.WriteFile(filepath.Join(v.Dir, "metadata", ".new-1"), []byte("half"), 0o644))
	h := repository.Handler(v.Dir)
	for _, name := range []string{
		"/", "/metadata", "/metadata/", "/targets/", "/targets/agent", "/metadata/.new-1", "/metadata/../../secret", "/targets/../../secret",
		"/targets/" + sum + ".out", "/targets/agent/../../../secret", "/metadata//timestamp.json", "/metadata/root.json", "/metadata/0.root.json",
		"/targets/agent/1.0.0/agent.bin", "/targets\\..\\secret", "/metadata/1.root.json/", "/metadata/1.root.json\x00", "/log/checkpoint",
	} {
		if res, body := ask(t, h, name); res.StatusCode != 404 || strings.Contains(body, "secret\n") {
			t.Errorf("%q: %d %q", name, res.StatusCode, body)
		}
	}
	r := httptest.NewRequest(http.MethodPost, "/metadata/timestamp.json", nil)
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != http.StatusMethodNotAllowed {
		t.Fatal(w.Code)
	}
	if res, _ := ask(t, repository.Handler(t.TempDir()), "/metadata/timestamp.json"); res.StatusCode != 404 {
		t.Fatal("an empty repository", res.StatusCode)
	}
}
