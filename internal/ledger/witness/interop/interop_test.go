// Package interop lets Clerestory's witness and an independent one
// (github.com/transparency-dev/witness) cosign one log as members of a quorum,
// so that both must mean the same by C2SP tlog-witness.
package interop

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	formats "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"github.com/transparency-dev/witness/persistence/sqlite"
	independent "github.com/transparency-dev/witness/witness"
	"golang.org/x/mod/sumdb/note"

	"clerestory.dev/clerestory/internal/ledger/witness"
)

type member struct {
	url, vkey string
	verifier  note.Verifier
}

// ours opens a witness of this project.
func ours(t *testing.T, name, logKey string) member {
	t.Helper()
	dir := t.TempDir()
	key, err := witness.MakeKey(filepath.Join(dir, "witness.key"), name, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w, err := witness.New(witness.Config{Dir: filepath.Join(dir, "state"), Key: key, Logs: []string{logKey}, Clock: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, w.Handler(), key.VKey(), func() { w.Close() })
}

// theirs opens the independent one.
func theirs(t *testing.T, name, logKey string) member {
	t.Helper()
	ctx := t.Context()
	skey, vkey, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := formats.NewSignerForCosignatureV1(skey)
	if err != nil {
		t.Fatal(err)
	}
	logVerifier, err := note.NewVerifier(logKey)
	if err != nil {
		t.Fatal(err)
	}
	state, shut, err := sqlite.New(ctx, sqlite.Opts{Path: filepath.Join(t.TempDir(), "witness.db"), MaxOpenConns: 1})
	if err != nil {
		t.Fatal(err)
	}
	w, err := independent.New(ctx, independent.Opts{
		Persistence: state,
		Signers:     []note.Signer{signer},
		VerifierForLog: func(_ context.Context, origin string) (note.Verifier, bool, error) {
			return logVerifier, origin == logVerifier.Name(), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	cosigner, err := formats.VKeyToCosignatureV1(vkey)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /add-checkpoint", independent.NewHTTPHandler(w).AddCheckpoint)
	return serve(t, mux, cosigner, func() { shut() })
}

func serve(t *testing.T, h http.Handler, vkey string, end func()) member {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(func() { srv.Close(); end() })
	v, err := formats.NewVerifierForCosignatureV1(vkey)
	if err != nil {
		t.Fatal(err)
	}
	return member{srv.URL, vkey, v}
}

// publish appends entries to a Tessera log and waits for a checkpoint that the
// policy's quorum has cosigned.
func publish(t *testing.T, dir string, signer note.Signer, policy string, entries ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	group, err := tessera.NewWitnessGroupFromPolicy([]byte(policy))
	if err != nil {
		t.Fatal(err)
	}
	driver, err := posix.New(ctx, posix.Config{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	a, shutdown, reader, err := tessera.NewAppender(ctx, driver, tessera.NewAppendOptions().
		WithCheckpointSigner(signer).
		WithBatching(16, 5*time.Millisecond).
		WithCheckpointInterval(100*time.Millisecond).
		WithWitnesses(group, &tessera.WitnessOptions{FailOpen: false, Timeout: 5 * time.Second}))
	if err != nil {
		t.Fatal(err)
	}
	await := tessera.NewPublicationAwaiter(ctx, reader.ReadCheckpoint, 20*time.Millisecond)
	for _, e := range entries {
		if _, _, err := await.Await(ctx, a.Add(ctx, tessera.NewEntry([]byte(e)))); err != nil {
			t.Fatalf("%q was not published: %v", e, err)
		}
	}
	published, err := reader.ReadCheckpoint(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	return published
}

func logKey(t *testing.T) (note.Signer, string) {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, "tessera.example/log")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	return signer, vkey
}

// With one of three down, the quorum of two is one witness of each kind.
func TestQuorumOfTwoImplementations(t *testing.T) {
	signer, vkey := logKey(t)
	us, them := ours(t, "witness.example/ours", vkey), theirs(t, "witness.example/theirs", vkey)
	down := ours(t, "witness.example/down", vkey)
	down.url = "http://127.0.0.1:1" // nobody listens there

	var policy strings.Builder
	for i, m := range []member{us, them, down} {
		fmt.Fprintf(&policy, "witness w%d %s %s\n", i, m.vkey, m.url)
	}
	policy.WriteString("group two 2 w0 w1 w2\nquorum two\n")
	dir := t.TempDir()
	publish(t, dir, signer, policy.String(), "one", "two", "three")
	published := publish(t, dir, signer, policy.String(), "four", "five")

	n, err := note.Open(published, note.VerifierList(us.verifier, them.verifier))
	if err != nil || len(n.Sigs) != 2 || !strings.HasPrefix(n.Text, "tessera.example/log\n5\n") {
		t.Fatalf("%v:\n%s", err, published)
	}
}

// Both answer with the status that the specification asks for, and so alike.
func TestBothRefuseAlike(t *testing.T) {
	signer, vkey := logKey(t)
	stranger, _ := logKey(t)
	us, them := ours(t, "witness.example/ours", vkey), theirs(t, "witness.example/theirs", vkey)
	root := func(b byte) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, 32)) }
	cp := func(s note.Signer, origin string, size int, b byte) string {
		signed, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", origin, size, root(b))}, s)
		if err != nil {
			t.Fatal(err)
		}
		return string(signed)
	}
	const origin = "tessera.example/log"
	for _, c := range []struct {
		name, body string
		status     int
		answer     string // when the specification fixes it
		theirs     int    // their status where they leave the specification
	}{
		{"first", "old 0\n\n" + cp(signer, origin, 4, 1), 200, "", 0},
		{"again", "old 0\n\n" + cp(signer, origin, 4, 1), 409, "4\n", 0},
		{"again, from there", "old 4\n\n" + cp(signer, origin, 4, 1), 200, "", 0},
		{"fork", "old 4\n\n" + cp(signer, origin, 4, 2), 422, "", 0},
		{"no proof", "old 4\n\n" + cp(signer, origin, 7, 3), 422, "", 0},
		{"false proof", "old 4\n" + root(9) + "\n\n" + cp(signer, origin, 7, 3), 422, "", 0},
		{"shrink", "old 4\n\n" + cp(signer, origin, 3, 3), 400, "", 0},
		// They do not classify this error in the version that is tested.
		{"stranger's key", "old 4\n\n" + cp(stranger, origin, 4, 1), 403, "", 500},
		{"unknown log", "old 0\n\n" + cp(signer, "other.example", 4, 1), 404, "", 0},
		{"no hash", "old 4\n?\n\n" + cp(signer, origin, 7, 3), 400, "", 0},
	} {
		for _, m := range []member{us, them} {
			resp, err := http.Post(m.url+"/add-checkpoint", "", strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			want := c.status
			if m == them && c.theirs != 0 {
				want = c.theirs
			}
			answer, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != want || c.answer != "" && string(answer) != c.answer {
				t.Errorf("%s: %s answers %d %q, want %d %q (%v)", c.name, m.verifier.Name(), resp.StatusCode, answer, want, c.answer, err)
			}
		}
	}
}
