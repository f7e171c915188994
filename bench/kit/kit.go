// Package kit is what the benchmarks share: real, distinct, signed statements,
// witnesses on this machine, a cache folder, and medians.
//
// It promises that nothing in a measurement is pretended: statements are parsed,
// signatures are Ed25519, witnesses are those of package witness with their own
// folders. Start at [Statements] and [Witnesses].
package kit

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"

	"clerestory.dev/clerestory/internal/ledger/witness"
	"clerestory.dev/clerestory/statement"
)

// Quiet is a logger for what a benchmark does on purpose.
func Quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// Must ends the program when something fails: a figure would mean nothing.
func Must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// Cache is where data that is expensive to make is kept between runs.
func Cache() string {
	dir := os.Getenv("CLERESTORY_BENCH")
	if dir == "" {
		dir = filepath.Join(os.TempDir(), "clerestory-bench")
	}
	Must(os.MkdirAll(dir, 0o755))
	return dir
}

// Signer signs statements with a fresh key.
type Signer struct{ Key ed25519.PrivateKey }

// NewSigner makes one.
func NewSigner() Signer {
	_, k, err := ed25519.GenerateKey(rand.Reader)
	Must(err)
	return Signer{k}
}

// KeyID implements statement.Signer.
func (s Signer) KeyID() string { return statement.KeyID(s.Key.Public().(ed25519.PublicKey)) }

// Sign implements statement.Signer.
func (s Signer) Sign(m []byte) ([]byte, error) { return ed25519.Sign(s.Key, m), nil }

// Statement is the i-th distinct statement of a run: one in four is a build, the
// others are sources of the same repository, as in a busy vendor's log.
func Statement(run string, i int, source, builder statement.Signer) *statement.Envelope {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", run, i))
	commit, at := hex.EncodeToString(sum[:20]), "2026-11-01T12:00:00Z"
	by := source
	var p statement.Predicate = &statement.Source{Product: "agent", Repository: "https://git.example/agent", Commit: commit, Tree: commit, Files: int64(i), At: at}
	subject := []statement.Subject{{Name: "https://git.example/agent", Digest: map[string]string{"gitCommit": commit, "gitTree": commit}}}
	if i%4 == 3 {
		by = builder
		b := &statement.Build{RunDetails: statement.RunDetails{Builder: statement.Builder{ID: "https://builder.example"}, Metadata: statement.BuildMetadata{StartedOn: at}}}
		b.BuildDefinition = statement.BuildDefinition{BuildType: statement.BuildRecipe, ExternalParameters: []byte(`{"package":"./cmd/agent"}`),
			ResolvedDependencies: []statement.Resource{{URI: "git+https://git.example/agent", Digest: map[string]string{"gitCommit": commit}}}}
		p, subject = b, []statement.Subject{{Name: "agent", Digest: map[string]string{"sha256": hex.EncodeToString(sum[:])}}}
	}
	payload, err := statement.New(subject, p)
	Must(err)
	e, err := statement.Sign(payload, by)
	Must(err)
	return e
}

// Statements makes n of them, on all processors.
func Statements(run string, from, n int, source, builder statement.Signer) []*statement.Envelope {
	all := make([]*statement.Envelope, n)
	var wg sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n; i += workers {
				all[i] = Statement(run, from+i, source, builder)
			}
		})
	}
	wg.Wait()
	return all
}

// LogKey makes a log's signer and verifier key.
func LogKey(origin string) (note.Signer, string) {
	skey, vkey, err := note.GenerateKey(rand.Reader, origin)
	Must(err)
	s, err := note.NewSigner(skey)
	Must(err)
	return s, vkey
}

// Serve runs a witness at an address until ctx ends.
func Serve(ctx context.Context, dir string, key *witness.Key, logVKey, address string) (url string) {
	w, err := witness.New(witness.Config{Dir: dir, Key: key, Logs: []string{logVKey}, Clock: time.Now, Logger: Quiet()})
	Must(err)
	l, err := net.Listen("tcp", address)
	Must(err)
	go func() {
		witness.Serve(ctx, l, w.Handler())
		w.Close()
	}()
	return "http://" + l.Addr().String()
}

// Witnesses runs three new witnesses, and gives the policy that asks for two.
func Witnesses(ctx context.Context, dir, logVKey string) (policy string) {
	policy = "log " + logVKey + "\n"
	for _, name := range []string{"north", "east", "south"} {
		home := filepath.Join(dir, name)
		Must(os.MkdirAll(home, 0o700))
		key, err := witness.MakeKey(filepath.Join(home, "witness.key"), name+".witness.example", rand.Reader)
		Must(err)
		url := Serve(ctx, filepath.Join(home, "state"), key, logVKey, "127.0.0.1:0")
		policy += fmt.Sprintf("witness %s %s %s\n", name, key.VKey(), url)
	}
	return policy + "group two 2 north east south\nquorum two\n"
}

// Median is the middle value.
func Median[T float64 | time.Duration](all []T) T {
	sorted := slices.Clone(all)
	slices.Sort(sorted)
	return sorted[len(sorted)/2]
}

// Percentile is the value that p of 100 values do not exceed.
func Percentile[T float64 | time.Duration](all []T, p int) T {
	sorted := slices.Clone(all)
	slices.Sort(sorted)
	return sorted[min(len(sorted)-1, len(sorted)*p/100)]
}
