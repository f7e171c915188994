package witness

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	formats "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// aLog is a log in memory that proves what it is asked to, honest or not.
type aLog struct {
	t      testing.TB
	origin string
	vkey   string
	signer note.Signer
	hashes []tlog.Hash
	size   int64
}

func newLog(t testing.TB, origin string) *aLog {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	return &aLog{t: t, origin: origin, vkey: vkey, signer: signer}
}

func (l *aLog) ReadHashes(at []int64) ([]tlog.Hash, error) {
	var out []tlog.Hash
	for _, i := range at {
		out = append(out, l.hashes[i])
	}
	return out, nil
}

func (l *aLog) grow(n int, what string) {
	for range n {
		h, err := tlog.StoredHashes(l.size, fmt.Appendf(nil, "%s %d", what, l.size), l)
		if err != nil {
			l.t.Fatal(err)
		}
		l.hashes = append(l.hashes, h...)
		l.size++
	}
}

// fork is the same log key with another history from here on.
func (l *aLog) fork() *aLog {
	f := *l
	f.hashes = slices.Clone(l.hashes)
	return &f
}

func (l *aLog) root(size int64) tlog.Hash {
	if size == 0 {
		return sha256.Sum256(nil)
	}
	h, err := tlog.TreeHash(size, l)
	if err != nil {
		l.t.Fatal(err)
	}
	return h
}

func (l *aLog) proof(old, size int64) tlog.TreeProof {
	if old == 0 || old == size {
		return nil
	}
	p, err := tlog.ProveTree(size, old, l)
	if err != nil {
		l.t.Fatal(err)
	}
	return p
}

func (l *aLog) checkpoint(size int64) []byte { return l.sign(l.text(l.origin, size, l.root(size))) }

func (l *aLog) text(origin string, size int64, root tlog.Hash) string {
	return fmt.Sprintf("%s\n%d\n%s\n", origin, size, base64.StdEncoding.EncodeToString(root[:]))
}

func (l *aLog) sign(text string) []byte {
	b, err := note.Sign(&note.Note{Text: text}, l.signer)
	if err != nil {
		l.t.Fatal(err)
	}
	return b
}

func (l *aLog) request(old, size int64) []byte {
	return request{old, l.proof(old, size), l.checkpoint(size)}.format()
}

// now is where the tests' clock stands, in seconds since 1970.
const now = 1_760_000_000

func testConfig(t testing.TB, logs ...*aLog) Config {
	t.Helper()
	dir := t.TempDir()
	key, err := MakeKey(filepath.Join(dir, "key"), "witness.example/w1", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := Config{Dir: filepath.Join(dir, "state"), Key: key, Logger: slog.New(slog.DiscardHandler),
		Clock: func() time.Time { return time.Unix(now, 0) }}
	for _, l := range logs {
		c.Logs = append(c.Logs, l.vkey)
	}
	return c
}

// station is an open witness behind HTTP.
type station struct {
	t   testing.TB
	w   *Witness
	srv *httptest.Server
}

func open(t testing.TB, c Config) *station {
	t.Helper()
	w, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	s := &station{t, w, httptest.NewServer(w.Handler())}
	t.Cleanup(s.close)
	return s
}

func (s *station) close() {
	s.srv.Close()
	if err := s.w.Close(); err != nil {
		s.t.Error(err)
	}
}

type reply struct {
	status int
	body   string
	header http.Header
}

func (s *station) do(req *http.Request) reply {
	s.t.Helper()
	resp, err := s.srv.Client().Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return reply{resp.StatusCode, string(body), resp.Header}
}

func (s *station) post(body []byte) reply {
	s.t.Helper()
	req, _ := http.NewRequest("POST", s.srv.URL+"/add-checkpoint", bytes.NewReader(body))
	return s.do(req)
}

func (s *station) get(path string) reply {
	s.t.Helper()
	req, _ := http.NewRequest("GET", s.srv.URL+path, nil)
	return s.do(req)
}

// cosigned posts what must be accepted, and checks the answer with the library
// that readers use.
func (s *station) cosigned(l *aLog, old, size int64) {
	s.t.Helper()
	r := s.post(l.request(old, size))
	if r.status != 200 {
		s.t.Fatalf("%d to %d: status %d: %s", old, size, r.status, r.body)
	}
	checkCosigned(s.t, s.w.key, append(l.checkpoint(size), r.body...), now)
}

func checkCosigned(t testing.TB, key *Key, signed []byte, at int64) {
	t.Helper()
	v, err := formats.NewVerifierForCosignatureV1(key.VKey())
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open(signed, note.VerifierList(v))
	if err != nil {
		t.Fatalf("cosignature: %v\n%s", err, signed)
	}
	got, err := formats.CoSigV1Timestamp(n.Sigs[0])
	if err != nil || got.Unix() != at {
		t.Fatalf("cosigned at %v, want %d (%v)", got.Unix(), at, err)
	}
}

// refused posts what must not be cosigned.
func (s *station) refused(body []byte, status int, says string) {
	s.t.Helper()
	r := s.post(body)
	if r.status != status || !strings.Contains(r.body, says) {
		s.t.Errorf("status %d %q, want %d with %q", r.status, r.body, status, says)
	}
	if strings.Contains(r.body, "—") {
		s.t.Errorf("a refusal carries a signature: %q", r.body)
	}
	isSize := r.header.Get("Content-Type") == "text/x.tlog.size"
	if isSize != (status == 409) {
		s.t.Errorf("status %d has type %q", r.status, r.header.Get("Content-Type"))
	}
}
