package logread

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	fnote "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"clerestory.dev/clerestory/internal/ledger/tile"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// A liar has a log's key and its witnesses', and signs whatever it likes: what
// is left to catch it are the entries, the tiles and the memory of its readers.
type liar struct {
	log       note.Signer
	witnesses []note.Signer
	policy    *verify.Policy
}

func newLiar(t testing.TB, origin string) *liar {
	t.Helper()
	skey, vkey := keys(origin, 1)
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	l := &liar{log: signer}
	text := "log " + vkey + "\n"
	for _, name := range []string{"w1", "w2", "w3"} {
		skey, vkey := keys(name+".example", 4)
		w, err := fnote.NewSignerForCosignatureV1(skey)
		if err != nil {
			t.Fatal(err)
		}
		l.witnesses = append(l.witnesses, w)
		text += "witness " + name + " " + vkey + "\n"
	}
	if l.policy, err = verify.ParsePolicy([]byte(text + "group two 2 w1 w2 w3\nquorum two\n")); err != nil {
		t.Fatal(err)
	}
	return l
}

// keys makes the signed-note keys of a name, always the same ones.
func keys(name string, alg byte) (skey, vkey string) {
	seed := sha256.Sum256([]byte("seed of " + name))
	public := append([]byte{alg}, ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey)...)
	sum := sha256.Sum256(append([]byte(name+"\n"), public...))
	return fmt.Sprintf("PRIVATE+KEY+%s+%x+%s", name, sum[:4], base64.StdEncoding.EncodeToString(append([]byte{alg}, seed[:]...))),
		fmt.Sprintf("%s+%x+%s", name, sum[:4], base64.StdEncoding.EncodeToString(public))
}

// entry makes a log entry: a signed statement that says what.
func entry(t testing.TB, what string) []byte {
	t.Helper()
	digest := statement.HashOf([]byte(what))
	payload, err := statement.New([]statement.Subject{{Name: "programme:acme", Digest: map[string]string{"sha256": digest}}}, &statement.Programme{
		Vendor: "acme", Name: "Acme", Files: map[string]string{"p.yaml": digest}, Changes: []string{what}, At: "2026-01-02T03:04:05Z"})
	if err != nil {
		t.Fatal(err)
	}
	e, err := statement.Sign(payload, voice{})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := e.Format()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

type voice struct{}

var voiceKey = ed25519.NewKeyFromSeed([]byte("clerestory-test-seed-0123456789-"))

func (voice) KeyID() string                 { return statement.KeyID(voiceKey.Public().(ed25519.PublicKey)) }
func (voice) Sign(m []byte) ([]byte, error) { return ed25519.Sign(voiceKey, m), nil }

// story is n entries; those of one plot begin alike.
func story(t testing.TB, plot string, n int) [][]byte {
	t.Helper()
	var all [][]byte
	for i := range n {
		all = append(all, entry(t, fmt.Sprintf("%s, line %d", plot, i)))
	}
	return all
}

// publish writes entries as a static log, with a checkpoint that the first
// `witnesses` witnesses cosigned.
func (l *liar) publish(t testing.TB, dir string, entries [][]byte, witnesses int) {
	t.Helper()
	size := int64(len(entries))
	for r := range tile.Bundles(0, size) {
		first := r.Index * tile.Width
		save(t, dir, r, tile.FormatBundle(entries[first:first+int64(r.Width)]))
	}
	level := make([]tlog.Hash, size)
	for i, e := range entries {
		level[i] = tlog.RecordHash(e)
	}
	root := treeRoot(level)
	for n := 0; len(level) > 0; n++ {
		var above []tlog.Hash
		for r := range tile.Tiles(n, 0, size) {
			hashes := level[r.Index*tile.Width:][:r.Width]
			var b []byte
			for _, h := range hashes {
				b = append(b, h[:]...)
			}
			save(t, dir, r, b)
			if r.Width == tile.Width {
				above = append(above, treeRoot(hashes))
			}
		}
		level = above
	}
	l.sign(t, dir, l.log.Name(), size, root, witnesses)
}

func (l *liar) sign(t testing.TB, dir, origin string, size int64, root tlog.Hash, witnesses int) {
	t.Helper()
	text := fmt.Sprintf("%s\n%d\n%s\n", origin, size, base64.StdEncoding.EncodeToString(root[:]))
	raw, err := note.Sign(&note.Note{Text: text}, append([]note.Signer{l.log}, l.witnesses[:witnesses]...)...)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "checkpoint"), raw, 0o644); err != nil {
		t.Fatal(err)
	}
}

// treeRoot is RFC 6962, section 2.1, word for word: an independent second opinion.
func treeRoot(hashes []tlog.Hash) tlog.Hash {
	switch len(hashes) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return hashes[0]
	}
	k := 1
	for k*2 < len(hashes) {
		k *= 2
	}
	return tlog.NodeHash(treeRoot(hashes[:k]), treeRoot(hashes[k:]))
}

func save(t testing.TB, dir string, r tile.Ref, b []byte) {
	t.Helper()
	name := filepath.Join(dir, r.Path())
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// edit changes one file of a log.
func edit(t testing.TB, dir, name string, change func([]byte) []byte) {
	t.Helper()
	path := filepath.Join(dir, name)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(b), 0o644); err != nil {
		t.Fatal(err)
	}
}

func fileNames(t testing.TB, dir string) string {
	t.Helper()
	var names []string
	filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			names = append(names, strings.TrimPrefix(path, dir))
		}
		return nil
	})
	return strings.Join(names, "\n")
}
