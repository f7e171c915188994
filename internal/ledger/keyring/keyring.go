// Package keyring keeps signing keys, one file a key, and makes the root of
// trust and the key statements that follow from it.
//
// It promises that a private key is on disk only encrypted with a passphrase
// (age, scrypt), or not at all: then it is with an SSH agent, and maybe on a card
// behind it, and the file says which one. A key file is written whole or not at
// all, and a key statement it makes is one that package verify believes. It
// refuses to overwrite a key. It does not decide who may use a key: whoever knows
// the passphrase, or reaches the agent, does.
//
// Start at [Ring.Create], [Ring.Adopt], [Ring.Unlock], [Agent] and [NewRoot].
package keyring

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"
	"golang.org/x/mod/sumdb/note"

	"clerestory.dev/clerestory/internal/base/atomicfile"
	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/statement"
)

// WorkFactor is the scrypt cost (log2) of new key files: 18 costs about a second
// per guess. A program that makes its own random passphrase may use less.
const WorkFactor = 18

// maxKeyFile bounds what is read from a key file, in bytes.
const maxKeyFile = 64 << 10

// Ring is a folder of key files. Its methods may be called concurrently.
type Ring struct {
	Dir        string
	WorkFactor int // scrypt cost of new keys; 0 means WorkFactor
	// Agent is asked for the keys whose private part it holds.
	Agent Agent
}

// Public is the part of a key file that is not secret.
type Public struct {
	Name   string `json:"name"`
	Role   string `json:"role"`   // what it is meant for; key statements decide
	Holder string `json:"holder"` // programme id of the person or machine
	KeyID  string `json:"keyid"`
	Public []byte `json:"publicKey"` // raw: see [statement.PublicKey]
	// Agent is the fingerprint of a key whose private part an SSH agent holds.
	Agent string `json:"agent,omitempty"`
}

type keyFile struct {
	Public
	// Secret is the Ed25519 seed, age-encrypted and armoured; an agent's key has none.
	Secret string `json:"secret,omitempty"`
}

// Key is an unlocked key. It implements [statement.Signer].
type Key struct {
	Public
	private ed25519.PrivateKey
	agent   *AgentKey // instead of private
}

// KeyID implements [statement.Signer].
func (k *Key) KeyID() string { return k.Public.KeyID }

// Sign implements [statement.Signer].
func (k *Key) Sign(message []byte) ([]byte, error) {
	if k.agent != nil {
		return k.agent.Sign(message)
	}
	return ed25519.Sign(k.private, message), nil
}

// Note gives the key as a signer of notes (C2SP signed-note) named origin, and
// the verifier key that belongs to it.
func (k *Key) Note(origin string) (note.Signer, string, error) {
	if k.agent != nil {
		return nil, "", fault.Invalid.New("using key %s for the log: an SSH agent holds it, and the log signs too often for that", k.Name)
	}
	vkey, err := note.NewEd25519VerifierKey(origin, k.private.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, "", fault.Invalid.New("naming the log %q: %w", origin, err)
	}
	hash := strings.Split(vkey, "+")[1]
	// The text form of a signer key (x/mod note.NewSigner): algorithm 1, seed.
	skey := fmt.Sprintf("PRIVATE+KEY+%s+%s+%s", origin, hash, statement.Base64.EncodeToString(append([]byte{1}, k.private.Seed()...)))
	s, err := note.NewSigner(skey)
	if err != nil {
		return nil, "", fmt.Errorf("using key %s for the log: %w", k.Name, err)
	}
	return s, vkey, nil
}

func (r *Ring) path(name string) string { return filepath.Join(r.Dir, name+".key") }

// Create makes a key and writes its file, which must not exist yet.
func (r *Ring) Create(name, role, holder string, passphrase []byte) (*Key, error) {
	if err := errors.Join(statement.CheckID("key name", name), statement.CheckID("holder", holder)); err != nil {
		return nil, fault.Invalid.New("creating a key: %w", err)
	}
	if len(passphrase) < 8 {
		return nil, fault.Invalid.New("creating key %s: the passphrase must have at least 8 characters", name)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("creating key %s: %w", name, err)
	}
	k := &Key{Public: Public{Name: name, Role: role, Holder: holder, KeyID: statement.KeyID(public), Public: public}, private: private}
	secret, err := r.encrypt(k.private.Seed(), passphrase)
	if err != nil {
		return nil, fmt.Errorf("creating key %s: %w", name, err)
	}
	if err := r.write(keyFile{k.Public, secret}); err != nil {
		return nil, fmt.Errorf("creating key %s: %w", name, err)
	}
	return k, nil
}

// Adopt writes a key file for a key that the SSH agent holds, named by its
// fingerprint or key id: the file says what the key is for, and has no secret.
func (r *Ring) Adopt(name, role, holder, fingerprint string) (*Key, error) {
	held, err := r.Agent.Find(fingerprint)
	if err != nil {
		return nil, fmt.Errorf("adopting key %s: %w", name, err)
	}
	p, err := r.AdoptPublic(name, role, holder, held.Public, held.Fingerprint)
	return &Key{Public: p, agent: held}, err
}

// AdoptPublic writes a key file for a key that is somewhere else, of which only
// the public part is known: it can be given a role, and signs where it is.
func (r *Ring) AdoptPublic(name, role, holder string, public statement.PublicKey, fingerprint string) (Public, error) {
	p := Public{Name: name, Role: role, Holder: holder, KeyID: public.ID(), Public: public, Agent: fingerprint}
	if err := errors.Join(statement.CheckID("key name", name), statement.CheckID("holder", holder), public.Check()); err != nil {
		return p, fault.Invalid.New("adopting a key: %w", err)
	}
	if err := r.write(keyFile{Public: p}); err != nil {
		return p, fmt.Errorf("adopting key %s: %w", name, err)
	}
	return p, nil
}

func (r *Ring) write(k keyFile) error {
	b, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(r.Dir, 0o700); err != nil {
		return err
	}
	// Written beside and linked into place: whole or not at all, and never over
	// another key.
	tmp, err := os.CreateTemp(r.Dir, ".key-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(append(b, '\n'))
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Link(tmp.Name(), r.path(k.Name)); errors.Is(err, fs.ErrExist) {
		return fault.Conflict.New("there is a key of that name already: %s", r.path(k.Name))
	} else if err != nil {
		return err
	}
	return nil
}

func (r *Ring) encrypt(seed, passphrase []byte) (string, error) {
	to, err := age.NewScryptRecipient(string(passphrase))
	if err != nil {
		return "", err
	}
	factor := r.WorkFactor
	if factor == 0 {
		factor = WorkFactor
	}
	to.SetWorkFactor(factor)
	var buf bytes.Buffer
	text := armor.NewWriter(&buf)
	w, err := age.Encrypt(text, to)
	if err != nil {
		return "", err
	}
	_, err = w.Write(seed)
	if err := errors.Join(err, w.Close(), text.Close()); err != nil {
		return "", err
	}
	return buf.String(), nil
}

// Unlock decrypts a key, or finds it with the SSH agent, which needs no
// passphrase here. A wrong passphrase is Denied, a key that is not there NotFound.
func (r *Ring) Unlock(name string, passphrase []byte) (*Key, error) {
	f, err := r.read(name)
	if err != nil {
		return nil, err
	}
	if f.Agent != "" {
		held, err := r.Agent.Find(f.KeyID)
		if err != nil {
			return nil, fmt.Errorf("using key %s: %w", name, err)
		}
		return &Key{Public: f.Public, agent: held}, nil
	}
	id, err := age.NewScryptIdentity(string(passphrase))
	if err != nil {
		return nil, fault.Denied.New("unlocking key %s: %w", name, err)
	}
	plain, err := age.Decrypt(armor.NewReader(strings.NewReader(f.Secret)), id)
	if err != nil {
		return nil, fault.Denied.New("unlocking key %s: wrong passphrase, or the file is damaged", name)
	}
	seed, err := io.ReadAll(io.LimitReader(plain, ed25519.SeedSize+1))
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, fault.Tampered.New("unlocking key %s: the file holds no Ed25519 key", name)
	}
	private := ed25519.NewKeyFromSeed(seed)
	if !bytes.Equal(private.Public().(ed25519.PublicKey), f.Public.Public) {
		return nil, fault.Tampered.New("unlocking key %s: its public part was changed", name)
	}
	return &Key{Public: f.Public, private: private}, nil
}

func (r *Ring) read(name string) (*keyFile, error) {
	if err := statement.CheckID("key name", name); err != nil {
		return nil, fault.Invalid.New("opening a key: %w", err)
	}
	file, err := os.Open(r.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.NotFound.New("there is no key %q in %s (clerestory key list shows them)", name, r.Dir)
	}
	if err != nil {
		return nil, fault.Unavailable.New("opening key %s: %w", name, err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxKeyFile))
	if err != nil {
		return nil, fault.Unavailable.New("reading key %s: %w", name, err)
	}
	var f keyFile
	if err := statement.Decode(b, &f); err != nil {
		return nil, fault.Tampered.New("reading key %s: %w", name, err)
	}
	public := statement.PublicKey(f.Public.Public)
	if f.Name != name || public.Check() != nil || f.KeyID != public.ID() || (f.Agent == "") == (f.Secret == "") {
		return nil, fault.Tampered.New("reading key %s: the file is not a key file of that name", name)
	}
	return &f, nil
}

// List gives the public parts of all keys, by name.
func (r *Ring) List() ([]Public, error) {
	found, err := filepath.Glob(filepath.Join(r.Dir, "*.key"))
	if err != nil {
		return nil, fmt.Errorf("listing keys: %w", err)
	}
	slices.Sort(found)
	var all []Public
	for _, path := range found {
		f, err := r.read(strings.TrimSuffix(filepath.Base(path), ".key"))
		if err != nil {
			return nil, err
		}
		all = append(all, f.Public)
	}
	return all, nil
}

// Find gives the public part of one key.
func (r *Ring) Find(name string) (Public, error) {
	f, err := r.read(name)
	if err != nil {
		return Public{}, err
	}
	return f.Public, nil
}

// SetAside renames a key that was replaced, so that its name is free again and
// the old key is kept: name.until-<entry>.
func (r *Ring) SetAside(name string, entry int64) error {
	old, err := r.read(name)
	if err != nil {
		return err
	}
	old.Name = fmt.Sprintf("%s.until-%d", name, entry)
	b, err := json.MarshalIndent(old, "", "  ")
	if err != nil {
		return fmt.Errorf("setting key %s aside: %w", name, err)
	}
	if err := atomicfile.Write(r.path(old.Name), append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("setting key %s aside: %w", name, err)
	}
	if err := os.Remove(r.path(name)); err != nil {
		return fmt.Errorf("setting key %s aside: %w", name, err)
	}
	return nil
}

// Rename gives a key another name; used to put a new key in an old one's place.
func (r *Ring) Rename(from, to string) error {
	f, err := r.read(from)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(r.path(to)); err == nil {
		return fault.Conflict.New("there is a key %q already", to)
	}
	f.Name = to
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return fmt.Errorf("renaming key %s: %w", from, err)
	}
	if err := atomicfile.Write(r.path(to), append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("renaming key %s: %w", from, err)
	}
	return os.Remove(r.path(from))
}
