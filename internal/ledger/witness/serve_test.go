package witness

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// A browser compares a log's checkpoint with what the witness itself says.
func TestLastCheckpointCanBeReadFromAnySite(t *testing.T) {
	l, quiet := newLog(t, "log.example"), newLog(t, "quiet.example")
	l.grow(5, "entry")
	c := testConfig(t, l, quiet)
	s := open(t, c)
	s.cosigned(l, 0, 2)
	s.cosigned(l, 2, 5)

	for range 2 { // the second time after a restart
		r := s.get("/checkpoint/" + idOf(l.origin))
		if r.status != 200 || r.header.Get("Access-Control-Allow-Origin") != "*" || !strings.HasPrefix(r.header.Get("Content-Type"), "text/plain") {
			t.Fatalf("%d %v", r.status, r.header)
		}
		checkCosigned(t, c.Key, []byte(r.body), now)
		v, _ := note.NewVerifier(l.vkey)
		if n, err := note.Open([]byte(r.body), note.VerifierList(v)); err != nil || n.Text != l.text(l.origin, 5, l.root(5)) {
			t.Errorf("%v: %s", err, r.body)
		}
		s.close()
		s = open(t, c)
	}
	for _, id := range []string{idOf(quiet.origin), idOf("stranger"), "..%2flock", "x"} {
		if r := s.get("/checkpoint/" + id); r.status != 404 || r.header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: %d %v", id, r.status, r.header)
		}
	}
	page := s.get("/")
	for _, want := range []string{c.Key.VKey(), "log.example\n    size 5", "quiet.example\n    nothing cosigned", idOf(l.origin)} {
		if !strings.Contains(page.body, want) {
			t.Errorf("the page lacks %q:\n%s", want, page.body)
		}
	}
}

func TestOtherMethodsAndPaths(t *testing.T) {
	s := open(t, testConfig(t, newLog(t, "log.example")))
	if r := s.get("/add-checkpoint"); r.status != 405 {
		t.Errorf("GET add-checkpoint: %d", r.status)
	}
	if r := s.get("/lock"); r.status != 404 {
		t.Errorf("GET lock: %d", r.status)
	}
}

func TestServeStopsGracefully(t *testing.T) {
	l := newLog(t, "log.example")
	l.grow(1, "entry")
	w, err := New(testConfig(t, l))
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, listener, w.Handler()) }()
	resp, err := http.Post("http://"+listener.Addr().String()+"/add-checkpoint", "", bytes.NewReader(l.request(0, 1)))
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v %v", resp, err)
	}
	resp.Body.Close()
	stop()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("does not stop")
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if _, err := w.add(l.request(1, 1)); err == nil {
		t.Error("a closed witness cosigns")
	}
}

func FuzzParseRequest(f *testing.F) {
	l := newLog(f, "log.example")
	l.grow(9, "entry")
	f.Add(l.request(0, 0))
	f.Add(l.request(0, 9))
	f.Add(l.request(5, 9))
	f.Add([]byte("old 1\n\nx\n1\n\n\n\n— "))
	limits := DefaultLimits()
	f.Fuzz(func(t *testing.T, body []byte) {
		if r, err := parseRequest(body, limits); err == nil && !bytes.Equal(r.format(), body) {
			t.Errorf("%q came back as %q", body, r.format())
		}
		s, err := parseSubmission(body, limits)
		if err != nil {
			return
		}
		last := record{size: s.request.old, root: s.checkpoint.root}
		if judge(s.request, s.checkpoint, last) == nil && s.checkpoint.size < last.size {
			t.Errorf("%q shrinks", body)
		}
	})
}
