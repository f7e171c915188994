package log

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	fnote "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/tessera"
	"golang.org/x/mod/sumdb/note"

	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/statement"
)

// A vendor is what these tests write a log for: its key, its witnesses, and a
// signer of statements.
type vendor struct {
	config Config
	voice  testSigner
}

// The keys are fixed, so that a process that was killed and started again has them.
const (
	seedOne = "clerestory-test-seed-0123456789-"
)

type testSigner struct{ key ed25519.PrivateKey }

func (s testSigner) KeyID() string { return statement.KeyID(s.key.Public().(ed25519.PublicKey)) }
func (s testSigner) Sign(m []byte) ([]byte, error) {
	return ed25519.Sign(s.key, m), nil
}

func newVendor(t testing.TB, dir string) *vendor {
	t.Helper()
	seed := ed25519.NewKeyFromSeed([]byte(seedOne))
	skey, vkey := noteKeys("log.example/test", seed)
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	return &vendor{
		voice: testSigner{seed},
		config: Config{Dir: dir, Signer: signer, VKey: vkey, UnsafeNoWitnesses: true,
			Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), CloseWait: 2 * time.Second},
	}
}

// say writes a statement that nobody has made before, and returns its number and
// its hash.
func (v *vendor) say(t testing.TB, db *store.DB, what string) (int64, string) {
	t.Helper()
	n, sum, err := v.trySay(db, what)
	if err != nil {
		t.Fatal(err)
	}
	return n, sum
}

func (v *vendor) trySay(db *store.DB, what string) (n int64, sum string, err error) {
	digest := statement.HashOf([]byte(what))
	payload, err := statement.New([]statement.Subject{{Name: "programme:acme", Digest: map[string]string{"sha256": digest}}}, &statement.Programme{
		Vendor: "acme", Name: "Acme", Files: map[string]string{"programme.yaml": digest}, Changes: []string{what}, At: "2026-01-02T03:04:05Z"})
	if err != nil {
		return 0, "", err
	}
	e, err := statement.Sign(payload, v.voice)
	if err != nil {
		return 0, "", err
	}
	raw, err := e.Format()
	if err != nil {
		return 0, "", err
	}
	err = db.Write(context.Background(), func(tx *store.Tx) error {
		n, err = tx.Say(context.Background(), e, time.Now())
		return err
	})
	return n, statement.HashOf(raw), err
}

// write opens the log and closes it at the end of the test.
func (v *vendor) write(t testing.TB, db *store.DB) *Writer {
	t.Helper()
	w, err := v.open(db)
	if err != nil {
		t.Fatalf("opening the log: %v", err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

func (v *vendor) open(db *store.DB) (*Writer, error) {
	cfg := v.config
	cfg.DB = db
	return Open(context.Background(), cfg)
}

// soon is a context for what must not take long.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// testWitness cosigns whatever it is shown that is signed; it keeps no state.
type testWitness struct {
	*httptest.Server
	vkey string
	down atomic.Bool
	mu   sync.Mutex
	seen int
}

func newWitness(t testing.TB, name string) *testWitness {
	t.Helper()
	skey, vkey1, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := fnote.NewSignerForCosignatureV1(skey)
	if err != nil {
		t.Fatal(err)
	}
	vkey, err := fnote.VKeyToCosignatureV1(vkey1)
	if err != nil {
		t.Fatal(err)
	}
	w := &testWitness{vkey: vkey}
	w.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, cp, ok := strings.Cut(string(body), "\n\n")
		if w.down.Load() || !ok {
			http.Error(rw, "away", http.StatusServiceUnavailable)
			return
		}
		text, _, _ := strings.Cut(cp, "\n\n")
		signed, err := note.Sign(&note.Note{Text: text + "\n"}, signer)
		if err != nil {
			http.Error(rw, err.Error(), http.StatusInternalServerError)
			return
		}
		_, sigs, _ := strings.Cut(string(signed), "\n\n")
		w.mu.Lock()
		w.seen++
		w.mu.Unlock()
		fmt.Fprint(rw, sigs)
	}))
	t.Cleanup(w.Close)
	return w
}

func (w *testWitness) line(name string) string {
	return fmt.Sprintf("witness %s %s %s\n", name, w.vkey, w.URL)
}

// noteKeys spells an Ed25519 key as signed-note does.
func noteKeys(name string, key ed25519.PrivateKey) (skey, vkey string) {
	vkey, err := note.NewEd25519VerifierKey(name, key.Public().(ed25519.PublicKey))
	if err != nil {
		panic(err)
	}
	hash := strings.Split(vkey, "+")[1]
	return fmt.Sprintf("PRIVATE+KEY+%s+%s+%s", name, hash, base64Key(key.Seed())), vkey
}

func base64Key(seed []byte) string {
	return base64.StdEncoding.EncodeToString(append([]byte{1}, seed...))
}

func tesseraEntry(s string) *tessera.Entry { return tessera.NewEntry([]byte(s)) }
