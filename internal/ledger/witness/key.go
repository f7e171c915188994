package witness

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"clerestory.dev/clerestory/internal/base/atomicfile"
	"clerestory.dev/clerestory/internal/base/fault"
)

// Key types of signed notes (c2sp.org/signed-note).
const (
	typeEd25519     = 0x01
	typeCosignature = 0x04
)

const maxKeyFile = 4 << 10

// Key is a witness's Ed25519 signing key and name.
//
// The key file is plain text: a witness starts unattended, and a stolen witness
// key alone forges nothing, because a reader also needs the log's signature and
// the rest of the quorum. Keep it on the witness's own machine, readable by its
// account only.
type Key struct {
	name    string
	private ed25519.PrivateKey
}

// MakeKey makes a key and writes it to a new file that only its owner can read.
// An existing file is never overwritten: it would be another witness's end.
func MakeKey(file, name string, random io.Reader) (*Key, error) {
	if !validName(name) {
		return nil, fault.Invalid.New("witness name %.80q must be a word without spaces and '+', such as witness.example.org/w1", name)
	}
	seed := make([]byte, ed25519.SeedSize)
	if _, err := io.ReadFull(random, seed); err != nil {
		return nil, fmt.Errorf("making a witness key: %w", err)
	}
	k := &Key{name: name, private: ed25519.NewKeyFromSeed(seed)}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, fault.Conflict.New("key file %s exists already; a witness keeps its key for life", file)
	}
	if err != nil {
		return nil, fmt.Errorf("making key file %s: %w", file, err)
	}
	_, err = f.WriteString(k.secret() + "\n")
	if err = errors.Join(err, f.Sync(), f.Close(), atomicfile.SyncDir(filepath.Dir(file))); err != nil {
		os.Remove(file)
		return nil, fmt.Errorf("writing key file %s: %w", file, err)
	}
	return k, nil
}

// ReadKey reads a key file. One that others may read is refused, as ssh does.
func ReadKey(file string) (*Key, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.NotFound.New("reading witness key: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("reading witness key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading witness key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fault.Denied.New("key file %s can be read by others (mode %04o): chmod 600 it, and if others use this machine, make a new key",
			file, info.Mode().Perm())
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, fmt.Errorf("reading witness key %s: %w", file, err)
	}
	k, err := ParseKey(strings.TrimSuffix(string(raw), "\n"))
	if err != nil {
		return nil, fmt.Errorf("reading witness key %s: %w", file, err)
	}
	return k, nil
}

var errKey = fault.Invalid.New("not a witness key: it must read PRIVATE+KEY+<name>+<hash>+<base64 of an Ed25519 seed>")

// ParseKey reads a key in the text form of signed notes, of type Ed25519 (as
// most tools make it) or of type cosignature (as MakeKey does).
func ParseKey(skey string) (*Key, error) {
	rest, ok := strings.CutPrefix(skey, "PRIVATE+KEY+")
	name, rest, ok2 := strings.Cut(rest, "+")
	hash, b64, ok3 := strings.Cut(rest, "+")
	raw, err := base64.StdEncoding.Strict().DecodeString(b64)
	if !ok || !ok2 || !ok3 || err != nil || base64.StdEncoding.EncodeToString(raw) != b64 || len(raw) != 1+ed25519.SeedSize || !validName(name) {
		return nil, errKey
	}
	k := &Key{name: name, private: ed25519.NewKeyFromSeed(raw[1:])}
	if raw[0] != typeEd25519 && raw[0] != typeCosignature || hash != fmt.Sprintf("%08x", k.hash(raw[0])) {
		return nil, errKey
	}
	return k, nil
}

// Name is the witness's name in its signature lines.
func (k *Key) Name() string { return k.name }

// VKey is the public key as others configure it (tlog-cosignature: a vkey of
// type 0x04).
func (k *Key) VKey() string {
	return fmt.Sprintf("%s+%08x+%s", k.name, k.hash(typeCosignature),
		base64.StdEncoding.EncodeToString(append([]byte{typeCosignature}, k.public()...)))
}

func (k *Key) secret() string {
	return fmt.Sprintf("PRIVATE+KEY+%s+%08x+%s", k.name, k.hash(typeCosignature),
		base64.StdEncoding.EncodeToString(append([]byte{typeCosignature}, k.private.Seed()...)))
}

func (k *Key) public() ed25519.PublicKey { return k.private.Public().(ed25519.PublicKey) }

func (k *Key) hash(keyType byte) uint32 {
	sum := sha256.Sum256(append([]byte(k.name+"\n"), append([]byte{keyType}, k.public()...)...))
	return binary.BigEndian.Uint32(sum[:])
}

// cosign makes the signature line of an Ed25519 cosignature/v1
// (tlog-cosignature, "Ed25519 signed message").
func (k *Key) cosign(text []byte, at time.Time) ([]byte, error) {
	t := at.Unix()
	if t <= 0 {
		return nil, fault.Unavailable.New("the witness's clock stands before 1970: a cosignature needs a time")
	}
	sig := binary.BigEndian.AppendUint32(nil, k.hash(typeCosignature))
	sig = binary.BigEndian.AppendUint64(sig, uint64(t))
	sig = append(sig, ed25519.Sign(k.private, cosigned(uint64(t), text))...)
	return fmt.Appendf(nil, "— %s %s\n", k.name, base64.StdEncoding.EncodeToString(sig)), nil
}

func cosigned(t uint64, text []byte) []byte {
	return fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", t, text)
}

// cosigner lets note.Open check the witness's own cosignatures.
type cosigner struct{ key *Key }

func (c cosigner) Name() string    { return c.key.name }
func (c cosigner) KeyHash() uint32 { return c.key.hash(typeCosignature) }
func (c cosigner) Verify(text, sig []byte) bool {
	return len(sig) == 8+ed25519.SignatureSize &&
		ed25519.Verify(c.key.public(), cosigned(binary.BigEndian.Uint64(sig), text), sig[8:])
}

// publicOf is the Ed25519 key in a vkey that note.NewVerifier has accepted.
func publicOf(vkey string) ed25519.PublicKey {
	parts := strings.SplitN(vkey, "+", 3)
	raw, err := base64.StdEncoding.DecodeString(parts[len(parts)-1])
	if err != nil || len(raw) != 1+ed25519.PublicKeySize {
		return nil
	}
	return raw[1:]
}

// validName is the rule of signed-note for key names.
func validName(name string) bool {
	return name != "" && len(name) <= 255 && utf8.ValidString(name) && !strings.Contains(name, "+") &&
		strings.IndexFunc(name, func(r rune) bool { return unicode.IsSpace(r) || r < 0x20 }) < 0
}
