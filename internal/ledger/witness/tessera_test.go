package witness

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	formats "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
)

// openLog opens a Tessera log in dir that publishes only what the policy's
// quorum has cosigned.
func openLog(ctx context.Context, dir string, signer note.Signer, policy string) (*tessera.Appender, tessera.LogReader, func(context.Context) error, error) {
	group, err := tessera.NewWitnessGroupFromPolicy([]byte(policy))
	if err != nil {
		return nil, nil, nil, err
	}
	driver, err := posix.New(ctx, posix.Config{Path: dir})
	if err != nil {
		return nil, nil, nil, err
	}
	a, shutdown, reader, err := tessera.NewAppender(ctx, driver, tessera.NewAppendOptions().
		WithCheckpointSigner(signer).
		WithBatching(16, 5*time.Millisecond).
		WithCheckpointInterval(100*time.Millisecond).
		WithWitnesses(group, &tessera.WitnessOptions{FailOpen: false, Timeout: 5 * time.Second}))
	return a, reader, shutdown, err
}

// appendTo adds entries and waits until the last is published.
func appendTo(t *testing.T, dir string, signer note.Signer, policy string, entries ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	a, reader, shutdown, err := openLog(ctx, dir, signer, policy)
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

// A real log publishes through two of three witnesses, also when it starts anew
// and does not know where they stand, and cannot publish a rewritten history.
func TestTesseraPublishesThroughAQuorum(t *testing.T) {
	l := newLog(t, "tessera.example/log")
	policy := "log " + l.vkey + "\n"
	var stations []*station
	var keys []note.Verifier
	for i := range 3 {
		c := testConfig(t, l)
		c.Key.name = fmt.Sprintf("witness.example/w%d", i)
		s := open(t, c)
		stations = append(stations, s)
		v, err := formats.NewVerifierForCosignatureV1(c.Key.VKey())
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, v)
		policy += fmt.Sprintf("witness w%d %s %s\n", i, c.Key.VKey(), s.srv.URL)
	}
	policy += "group two 2 w0 w1 w2\nquorum two\n"
	stations[2].srv.Close() // one is down

	dir := t.TempDir()
	appendTo(t, dir, l.signer, policy, "one", "two", "three")
	published := appendTo(t, dir, l.signer, policy, "four", "five")
	n, err := note.Open(published, note.VerifierList(keys...))
	if err != nil || len(n.Sigs) != 2 || !strings.HasPrefix(n.Text, "tessera.example/log\n5\n") {
		t.Fatalf("%v:\n%s", err, published)
	}
	for _, s := range stations[:2] {
		if r := s.get("/checkpoint/" + idOf(l.origin)); !strings.HasPrefix(r.body, n.Text) {
			t.Errorf("a witness says %q", r.body)
		}
	}
	checkRewrittenLogIsStuck(t, l.signer, policy, keys)
}

// checkRewrittenLogIsStuck grows another history past the cosigned one without
// witnesses, and then asks them.
func checkRewrittenLogIsStuck(t *testing.T, signer note.Signer, policy string, keys []note.Verifier) {
	t.Helper()
	dir := t.TempDir()
	appendTo(t, dir, signer, "quorum none\n", "a", "b", "c", "d", "e", "f")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	a, reader, _, err := openLog(ctx, dir, signer, policy)
	if err != nil {
		return // it notices at once that nobody cosigns
	}
	if _, err := a.Add(ctx, tessera.NewEntry([]byte("g")))(); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
	published, err := reader.ReadCheckpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n, err := note.Open(published, note.VerifierList(keys...)); err == nil {
		t.Errorf("a witness cosigned a rewritten history:\n%s", n.Text)
	}
}
