package verify

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Checkpoint is a log's state that was signed by its key and cosigned by enough
// witnesses.
type Checkpoint struct {
	Origin   string
	Size     int64
	Root     tlog.Hash
	Cosigned []Cosignature // in the policy's order
	Raw      []byte
}

// Cosignature says that a witness has seen the checkpoint, and when.
type Cosignature struct {
	Witness string // its name in the policy
	Time    time.Time
}

// Time is when the checkpoint existed at the latest: the earliest time that a
// witness put beside it. Zero when no witness cosigned.
func (c *Checkpoint) Time() time.Time {
	var first time.Time
	for _, s := range c.Cosigned {
		if first.IsZero() || s.Time.Before(first) {
			first = s.Time
		}
	}
	return first
}

// Open checks a checkpoint (C2SP tlog-checkpoint): the signature of the policy's
// log, its origin, and the quorum of witnesses.
func (p *Policy) Open(raw []byte) (*Checkpoint, error) {
	if len(raw) > Limits.Checkpoint {
		return nil, refuse(CodeCheckpoint, "the checkpoint has %d bytes; at most %d are allowed", len(raw), Limits.Checkpoint)
	}
	if p.Log == nil {
		return nil, refuse(CodeCheckpoint, "the policy names no log")
	}
	known := []note.Verifier{p.Log.verifier}
	for _, w := range p.Witnesses {
		known = append(known, w.verifier)
	}
	n, err := note.Open(raw, note.VerifierList(known...))
	if bad, ok := errors.AsType[*note.InvalidSignatureError](err); ok {
		return nil, refuse(CodeCheckpoint, "the checkpoint has a wrong signature by %q", bad.Name)
	}
	if err != nil {
		return nil, refuse(CodeCheckpoint, "the checkpoint is not signed by log %q: %v", p.Log.Origin(), err)
	}
	c, err := parseCheckpointText(n.Text)
	if err != nil {
		return nil, refuse(CodeCheckpoint, "reading the checkpoint: %v", err)
	}
	c.Raw = raw
	if c.Origin != p.Log.Origin() {
		return nil, refuse(CodeCheckpoint, "the checkpoint is of log %q; expected %q", c.Origin, p.Log.Origin())
	}
	byLog, signed := false, map[string]bool{}
	for _, s := range n.Sigs {
		byLog = byLog || s.Name == p.Log.verifier.Name() && s.Hash == p.Log.verifier.KeyHash()
		for _, w := range p.Witnesses {
			if s.Name == w.verifier.name && s.Hash == w.verifier.hash {
				signed[w.Name] = true
				c.Cosigned = append(c.Cosigned, Cosignature{w.Name, cosignedAt(s.Base64)})
			}
		}
	}
	if !byLog {
		return nil, refuse(CodeCheckpoint, "the checkpoint is not signed by log %q", p.Log.Origin())
	}
	if p.quorum != nil && !p.quorum(signed) {
		return nil, refuse(CodeQuorum, "the checkpoint of size %d is cosigned by %d of the policy's witnesses, which is not a quorum (one from before a change asks other witnesses: get a new bundle, or leave it out and read the log)", c.Size, len(signed))
	}
	return c, nil
}

// parseCheckpointText reads origin, size and root hash; extension lines may
// follow (C2SP tlog-checkpoint, "Note text").
func parseCheckpointText(text string) (*Checkpoint, error) {
	lines := strings.SplitN(text, "\n", 4)
	if len(lines) < 4 || lines[0] == "" {
		return nil, fmt.Errorf("it needs three lines: origin, size, root hash")
	}
	if strings.HasPrefix(lines[3], "\n") || strings.Contains(lines[3], "\n\n") {
		return nil, fmt.Errorf("an extension line is empty")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return nil, fmt.Errorf("the size is not a number")
	}
	// The arithmetic of Merkle proofs in int64 would not end near 2^62.
	if size > Limits.Size {
		return nil, fmt.Errorf("the size is %d; a log has at most %d entries", size, Limits.Size)
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize || strings.Contains(lines[2], "\r") {
		return nil, fmt.Errorf("the root hash is not 32 bytes of base64")
	}
	return &Checkpoint{Origin: lines[0], Size: size, Root: tlog.Hash(root)}, nil
}

// cosigner verifies Ed25519 cosignatures with a time (C2SP tlog-cosignature,
// "cosignature/v1"); its key has signature type 0x04.
type cosigner struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

const cosignatureV1 = 0x04

func newCosigner(vkey string) (*cosigner, error) {
	name, rest, _ := strings.Cut(vkey, "+")
	hash16, key64, _ := strings.Cut(rest, "+")
	key, err := base64.StdEncoding.Strict().DecodeString(key64)
	if err != nil || len(key) != 1+ed25519.PublicKeySize || key[0] != cosignatureV1 || name == "" || strings.ContainsAny(name, " \t\n+") {
		return nil, fmt.Errorf("%q is not a verifier key of type 4 (timestamped Ed25519 cosignatures)", vkey)
	}
	sum := sha256.Sum256(append([]byte(name+"\n"), key...))
	if hex.EncodeToString(sum[:4]) != hash16 {
		return nil, fmt.Errorf("the key hash in %q is wrong", vkey)
	}
	return &cosigner{name, binary.BigEndian.Uint32(sum[:]), key[1:]}, nil
}

// Name, KeyHash and Verify implement note.Verifier.
func (c *cosigner) Name() string    { return c.name }
func (c *cosigner) KeyHash() uint32 { return c.hash }
func (c *cosigner) Verify(msg, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	at := binary.BigEndian.Uint64(sig)
	if at == 0 || at > 1<<40 {
		return false
	}
	text := append(fmt.Appendf(nil, "cosignature/v1\ntime %d\n", at), msg...)
	return ed25519.Verify(c.key, text, sig[8:])
}

// cosignedAt reads the time of a cosignature that was verified: 4 bytes key
// hash, 8 bytes Unix seconds, signature.
func cosignedAt(sig64 string) time.Time {
	raw, err := base64.StdEncoding.DecodeString(sig64)
	if err != nil || len(raw) < 12 {
		return time.Time{}
	}
	return time.Unix(int64(binary.BigEndian.Uint64(raw[4:])), 0).UTC()
}

// CheckGrowth checks that newer is a later state of the same log as older: the
// proof is an RFC 6962 consistency proof. Both were opened by one policy.
func CheckGrowth(older, newer *Checkpoint, proof []tlog.Hash) error {
	switch {
	case older.Size > newer.Size:
		return refuse(CodeFork, "the log shrank from %d entries to %d", older.Size, newer.Size)
	case older.Size == newer.Size && older.Root != newer.Root:
		return refuse(CodeFork, "the log shows two different states with %d entries", older.Size)
	case older.Size == newer.Size || older.Size == 0:
		return nil
	}
	if err := tlog.CheckTree(proof, newer.Size, newer.Root, older.Size, older.Root); err != nil {
		return refuse(CodeFork, "the log's state with %d entries is not a prefix of that with %d", older.Size, newer.Size)
	}
	return nil
}
