package verifytest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// Key is a key that follows from its seed: Ed25519, or ECDSA P-256 as a card has
// it. It implements statement.Signer.
type Key struct {
	Private ed25519.PrivateKey
	Card    *ecdsa.PrivateKey // instead of Private
}

// NewKey makes the key of a seed: the same seed, the same key.
func NewKey(seed string) *Key {
	sum := sha256.Sum256([]byte("clerestory test key " + seed))
	return &Key{Private: ed25519.NewKeyFromSeed(sum[:])}
}

// NewCard makes the P-256 key of a seed.
func NewCard(seed string) *Key {
	sum := sha256.Sum256([]byte("clerestory test card " + seed))
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), sum[:])
	if err != nil {
		panic(err) // a seed in 2^32 is no key
	}
	return &Key{Card: private}
}

// Public is the key's public half, raw.
func (k *Key) Public() []byte {
	if k.Card == nil {
		return k.Private.Public().(ed25519.PublicKey)
	}
	raw, err := k.Card.PublicKey.Bytes()
	if err != nil {
		panic(err)
	}
	return raw
}

// KeyID implements statement.Signer.
func (k *Key) KeyID() string { return statement.KeyID(k.Public()) }

// Sign implements statement.Signer.
func (k *Key) Sign(message []byte) ([]byte, error) {
	if k.Card == nil {
		return ed25519.Sign(k.Private, message), nil
	}
	sum := sha256.Sum256(message)
	sig, err := k.Card.Sign(nil, sum[:], crypto.SHA256) // without randomness: RFC 6979
	return statement.PublicKey(k.Public()).Canonical(sig), err
}

// vkey encodes the key as a C2SP signed-note verifier key of a type.
func (k *Key) vkey(name string, kind byte) (vkey string, hash []byte) {
	key := append([]byte{kind}, k.Public()...)
	sum := sha256.Sum256(append([]byte(name+"\n"), key...))
	return fmt.Sprintf("%s+%x+%s", name, sum[:4], base64.StdEncoding.EncodeToString(key)), sum[:4]
}

// Witness cosigns checkpoints at the time it is told. (The signer of
// transparency-dev/formats reads the clock; a test compares the two.)
type Witness struct {
	Name string // key name, and name in the policy
	Key  *Key
}

// VKey is the witness's verifier key.
func (w *Witness) VKey() string {
	v, _ := w.Key.vkey(w.Name, 4)
	return v
}

// SKey is the witness's signer key, as the signers of others read it.
func (w *Witness) SKey() string {
	_, hash := w.Key.vkey(w.Name, 4)
	return fmt.Sprintf("PRIVATE+KEY+%s+%x+%s", w.Name, hash, base64.StdEncoding.EncodeToString(append([]byte{4}, w.Key.Private.Seed()...)))
}

// Cosign is the witness's signature line under a checkpoint's text.
func (w *Witness) Cosign(text []byte, at time.Time) []byte {
	_, line := w.Key.vkey(w.Name, 4)
	line = binary.BigEndian.AppendUint64(line, uint64(at.Unix()))
	sig := ed25519.Sign(w.Key.Private, append(fmt.Appendf(nil, "cosignature/v1\ntime %d\n", at.Unix()), text...))
	return fmt.Appendf(nil, "— %s %s\n", w.Name, base64.StdEncoding.EncodeToString(append(line, sig...)))
}

// Log is an append-only log in memory.
type Log struct {
	Origin  string
	Key     *Key
	Entries [][]byte
	hashes  []tlog.Hash
	t       testing.TB
}

// NewLog makes an empty log.
func NewLog(t testing.TB, origin string) *Log {
	return &Log{Origin: origin, Key: NewKey("log " + origin), t: t}
}

// VKey is the log's verifier key.
func (l *Log) VKey() string {
	v, _ := l.Key.vkey(l.Origin, 1)
	return v
}

// Add appends an entry, whatever it holds.
func (l *Log) Add(raw []byte) int64 {
	l.t.Helper()
	n := int64(len(l.Entries))
	h, err := tlog.StoredHashes(n, raw, l.reader())
	check(l.t, err)
	l.hashes = append(l.hashes, h...)
	l.Entries = append(l.Entries, raw)
	return n
}

// Size is the number of entries.
func (l *Log) Size() int64 { return int64(len(l.Entries)) }

func (l *Log) reader() tlog.HashReader {
	return tlog.HashReaderFunc(func(index []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(index))
		for i, n := range index {
			out[i] = l.hashes[n]
		}
		return out, nil
	})
}

// Text is the text of the checkpoint of the first size entries.
func (l *Log) Text(size int64) string {
	l.t.Helper()
	root, err := tlog.TreeHash(size, l.reader())
	check(l.t, err)
	return fmt.Sprintf("%s\n%d\n%s\n", l.Origin, size, root)
}

// Sign makes a checkpoint from a text, cosigned at a time.
func (l *Log) Sign(text string, at time.Time, witnesses ...*Witness) []byte {
	l.t.Helper()
	_, hash := l.Key.vkey(l.Origin, 1)
	signer, err := note.NewSigner(fmt.Sprintf("PRIVATE+KEY+%s+%x+%s", l.Origin, hash,
		base64.StdEncoding.EncodeToString(append([]byte{1}, l.Key.Private.Seed()...))))
	check(l.t, err)
	cp, err := note.Sign(&note.Note{Text: text}, signer)
	check(l.t, err)
	for _, w := range witnesses {
		cp = append(cp, w.Cosign([]byte(text), at)...)
	}
	return cp
}

// Prove makes the tlog-proof of an entry under a checkpoint of size entries.
func (l *Log) Prove(index, size int64, checkpoint []byte) []byte {
	l.t.Helper()
	hashes, err := tlog.ProveRecord(size, index, l.reader())
	check(l.t, err)
	return (&verify.Proof{Index: index, Hashes: hashes, Checkpoint: checkpoint}).Format()
}

// Growth is the consistency proof between two sizes.
func (l *Log) Growth(older, newer int64) []tlog.Hash {
	l.t.Helper()
	p, err := tlog.ProveTree(newer, older, l.reader())
	check(l.t, err)
	return p
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
