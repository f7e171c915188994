package verify

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"

	"clerestory.dev/clerestory/statement"
)

// Root is the signed part of trusted_root.json: a TUF root (TUF 1.0, section
// 4.3) whose keys are Ed25519 or ECDSA P-256, with one more member.
type Root struct {
	Type               string              `json:"_type"`
	SpecVersion        string              `json:"spec_version"`
	Version            int64               `json:"version"`
	Expires            time.Time           `json:"expires"`
	ConsistentSnapshot bool                `json:"consistent_snapshot"`
	Keys               map[string]RootKey  `json:"keys"`
	Roles              map[string]RootRole `json:"roles"`
	Clerestory         *Extension          `json:"x-clerestory"`
}

// RootKey is a TUF key.
type RootKey struct {
	KeyType string `json:"keytype"`
	Scheme  string `json:"scheme"`
	KeyVal  struct {
		Public string `json:"public"` // as [statement.PublicKey.Text] has it
	} `json:"keyval"`
}

// NewRootKey is the TUF key of a public key.
func NewRootKey(public []byte) RootKey {
	k := statement.PublicKey(public)
	key := RootKey{KeyType: "ed25519", Scheme: k.Algorithm()}
	if key.Scheme != "ed25519" {
		key.KeyType = "ecdsa"
	}
	key.KeyVal.Public = k.Text()
	return key
}

// Raw is the public key in a TUF key, which must be in the form of NewRootKey.
func (k RootKey) Raw() (statement.PublicKey, error) {
	text := k.KeyVal.Public
	raw, err := hex.DecodeString(text)
	if k.KeyType == "ecdsa" {
		lines := strings.Split(text, "\n") // a PEM block of two lines
		if len(lines) != 5 {
			return nil, fmt.Errorf("it must be a PEM block of a P-256 key")
		}
		raw, err = statement.Base64.DecodeString(lines[1] + lines[2])
		raw = raw[min(26, len(raw)):] // what stands before the point of P-256
	}
	// Only the one form leads back to itself: type, scheme and text.
	if pub := statement.PublicKey(raw); err == nil && pub.Check() == nil && NewRootKey(pub) == k {
		return pub, nil
	}
	return nil, fmt.Errorf("it must be an Ed25519 or ECDSA P-256 key in its one form")
}

// RootRole is a TUF role: how many of which keys.
type RootRole struct {
	KeyIDs    []string `json:"keyids"`
	Threshold int      `json:"threshold"`
}

// Extension is what Clerestory adds to the TUF root.
type Extension struct {
	Vendor string `json:"vendor"` // id of the vendor's programme
	// Policy is a C2SP tlog-policy file: the log's key and URL, its witnesses and
	// the quorum of them that a checkpoint needs.
	Policy string `json:"policy"`
	// Approvals is how many different people must have approved a release.
	Approvals int `json:"approvals"`
	// ReleaseKeys say how many different holders must sign a release with the role
	// release; without a rule it is one.
	ReleaseKeys []ReleaseRule `json:"releaseKeys,omitempty"`
	// Formerly lists the root keys before this version: key statements up to an
	// entry may carry their signatures instead. Oldest first.
	Formerly []FormerRoot `json:"formerly,omitempty"`
}

// FormerRoot is an earlier set of root keys, believed for key statements at log
// entries below Until.
type FormerRoot struct {
	Keys      []string `json:"keys"` // public keys, hex
	Threshold int      `json:"threshold"`
	Until     int64    `json:"until"`
}

// Trust is a trusted root that was checked: all that a verifier believes.
type Trust struct {
	Root      Root
	Policy    *Policy
	file      []byte
	canonical []byte
	keys      map[string]statement.PublicKey // the root role's keys, by key id
	former    []former
}

type former struct {
	keys      map[string]statement.PublicKey
	threshold int
	until     int64
}

type rootFile struct {
	Signatures []rootSignature `json:"signatures"`
	Signed     json.RawMessage `json:"signed"`
}

type rootSignature struct {
	KeyID string `json:"keyid"`
	Sig   string `json:"sig"` // hex
}

// ParseTrust reads trusted_root.json. The file must be signed by its own root
// threshold; that it is the right one is for the reader to know, by its
// [Trust.Fingerprint].
func ParseTrust(file []byte) (*Trust, error) {
	t, sigs, err := parseRoot(file)
	if err != nil {
		return nil, refuse(CodeTrust, "reading the trusted root: %v", err)
	}
	if err := t.signedBy(t, sigs); err != nil {
		return nil, refuse(CodeTrust, "the trusted root is not signed by its own root keys: %v", err)
	}
	return t, nil
}

// Rotate follows the root to its next version (TUF 1.0, section 5.3): next must
// be signed by the threshold of this root and by its own, and its version must
// be one higher.
func (t *Trust) Rotate(next []byte) (*Trust, error) {
	n, sigs, err := parseRoot(next)
	if err != nil {
		return nil, refuse(CodeTrust, "reading root version %d: %v", t.Root.Version+1, err)
	}
	if n.Root.Version != t.Root.Version+1 {
		return nil, refuse(CodeTrust, "the next root has version %d; expected %d", n.Root.Version, t.Root.Version+1)
	}
	for _, by := range []*Trust{t, n} {
		if err := n.signedBy(by, sigs); err != nil {
			return nil, refuse(CodeTrust, "root version %d is not signed by the keys of version %d: %v", n.Root.Version, by.Root.Version, err)
		}
	}
	return n, nil
}

// File is the trusted root's bytes as they were parsed.
func (t *Trust) File() []byte { return t.file }

// Fingerprint is the SHA-256 of the root's signed part in canonical JSON, in
// hex: what two people compare to know that they trust the same.
func (t *Trust) Fingerprint() string {
	sum := sha256.Sum256(t.canonical)
	return hex.EncodeToString(sum[:])
}

// SignedText is what root keys sign: the signed part of file in canonical JSON.
func SignedText(signed []byte) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(signed))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	return cjson.EncodeCanonical(v)
}

// FormatRoot makes the file from a root and its signatures by key id.
func FormatRoot(r Root, sign func(text []byte) (map[string][]byte, error)) ([]byte, error) {
	signed, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encoding the root: %w", err)
	}
	text, err := SignedText(signed)
	if err != nil {
		return nil, fmt.Errorf("encoding the root: %w", err)
	}
	sigs, err := sign(text)
	if err != nil {
		return nil, fmt.Errorf("signing the root: %w", err)
	}
	file := rootFile{Signed: signed}
	for _, id := range slices.Sorted(maps.Keys(sigs)) {
		file.Signatures = append(file.Signatures, rootSignature{id, hex.EncodeToString(sigs[id])})
	}
	b, err := json.MarshalIndent(file, "", " ")
	if err != nil {
		return nil, fmt.Errorf("encoding the root: %w", err)
	}
	return append(b, '\n'), nil
}

func parseRoot(file []byte) (*Trust, []rootSignature, error) {
	if len(file) > Limits.Trust {
		return nil, nil, fmt.Errorf("it has %d bytes; at most %d are allowed", len(file), Limits.Trust)
	}
	var f rootFile
	if err := statement.Decode(file, &f); err != nil {
		return nil, nil, err
	}
	t := &Trust{file: file}
	if err := statement.Decode(f.Signed, &t.Root); err != nil {
		return nil, nil, err
	}
	err := checkExpires(f.Signed)
	if err != nil {
		return nil, nil, err
	}
	if t.canonical, err = SignedText(f.Signed); err != nil {
		return nil, nil, err
	}
	if err := t.check(); err != nil {
		return nil, nil, err
	}
	return t, f.Signatures, nil
}

// checkExpires asks for the one form that TUF gives the time (TUF 1.0, section
// 4.2.2): another encoder would write another form differently, and sign that.
func checkExpires(signed []byte) error {
	var r struct {
		Expires string `json:"expires"`
	}
	if err := json.Unmarshal(signed, &r); err != nil {
		return err
	}
	const form = "2006-01-02T15:04:05Z"
	if at, err := time.Parse(form, r.Expires); err != nil || at.Format(form) != r.Expires {
		return fmt.Errorf("expires must be a time like 2027-01-31T12:00:00Z")
	}
	return nil
}

func (t *Trust) check() error {
	r := t.Root
	ext := r.Clerestory
	switch {
	case r.Type != "root":
		return fmt.Errorf("_type is %q; expected \"root\"", r.Type)
	case !strings.HasPrefix(r.SpecVersion, "1."):
		return fmt.Errorf("spec_version is %q; expected TUF 1", r.SpecVersion)
	case r.Version < 1 || r.Expires.IsZero():
		return fmt.Errorf("version and expires must be set")
	case ext == nil:
		return fmt.Errorf("member x-clerestory is missing: this is a TUF root, but not one that names a log")
	case ext.Approvals < 1 || ext.Approvals > 16:
		return fmt.Errorf("x-clerestory.approvals must be 1 to 16")
	}
	role, ok := r.Roles["root"]
	if !ok || role.Threshold < 1 || role.Threshold > len(role.KeyIDs) {
		return fmt.Errorf("roles.root needs a threshold of 1 to its number of keys")
	}
	t.keys = map[string]statement.PublicKey{}
	for _, id := range role.KeyIDs {
		pub, err := r.Keys[id].Raw()
		if err != nil {
			return fmt.Errorf("key %s: %w", id, err)
		}
		if pub.ID() != id {
			return fmt.Errorf("key id %s does not belong to its key", id)
		}
		t.keys[id] = pub
	}
	if len(t.keys) != len(role.KeyIDs) {
		return fmt.Errorf("roles.root names a key twice")
	}
	if err := checkReleaseKeys(ext.ReleaseKeys); err != nil {
		return err
	}
	for i, f := range ext.Formerly {
		fm, err := parseFormer(f)
		if err != nil {
			return err
		}
		if i > 0 && f.Until < ext.Formerly[i-1].Until {
			return fmt.Errorf("x-clerestory.formerly must stand oldest first")
		}
		t.former = append(t.former, fm)
	}
	var err error
	if t.Policy, err = ParsePolicy([]byte(ext.Policy)); err != nil {
		return fmt.Errorf("x-clerestory.policy: %w", err)
	}
	if t.Policy.Log == nil {
		return fmt.Errorf("x-clerestory.policy has no log line")
	}
	return statement.CheckID("x-clerestory.vendor", ext.Vendor)
}

func parseFormer(f FormerRoot) (former, error) {
	fm := former{keys: map[string]statement.PublicKey{}, threshold: f.Threshold, until: f.Until}
	for _, k := range f.Keys {
		raw, err := hex.DecodeString(k)
		pub := statement.PublicKey(raw)
		if err != nil || pub.Check() != nil || hex.EncodeToString(raw) != k {
			return fm, fmt.Errorf("x-clerestory.formerly: a key is not a raw public key in hex")
		}
		fm.keys[pub.ID()] = pub
	}
	if f.Threshold < 1 || f.Threshold > len(fm.keys) || f.Until < 0 {
		return fm, fmt.Errorf("x-clerestory.formerly: threshold or until is out of range")
	}
	return fm, nil
}

// signedBy checks that enough different root keys of by have signed t.
func (t *Trust) signedBy(by *Trust, sigs []rootSignature) error {
	good := map[string]bool{}
	for _, s := range sigs {
		raw, err := hex.DecodeString(s.Sig)
		lower := err == nil && hex.EncodeToString(raw) == s.Sig
		if pub, ok := by.keys[s.KeyID]; ok && lower && pub.Verify(t.canonical, raw) {
			good[s.KeyID] = true
		}
	}
	if need := by.Root.Roles["root"].Threshold; len(good) < need {
		return fmt.Errorf("%d good signatures, %d needed", len(good), need)
	}
	return nil
}

// rootSigned checks a key statement's signatures: the threshold of the root in
// force, or of a former one for that position in the log.
func (t *Trust) rootSigned(e *statement.Envelope, index int64) error {
	if t.rootSigners(e, index) == nil {
		return refuse(CodeSignature, "the key statement at entry %d is not signed by %d of the root keys", index, t.Root.Roles["root"].Threshold)
	}
	return nil
}

// rootSigners lists the root keys that have signed e, if they meet the threshold
// of the root in force or of a former one that was in force at index.
func (t *Trust) rootSigners(e *statement.Envelope, index int64) []string {
	sets := []former{{keys: t.keys, threshold: t.Root.Roles["root"].Threshold, until: math.MaxInt64}}
	for _, set := range append(sets, t.former...) {
		var good []string
		for _, s := range e.Signatures {
			if pub, ok := set.keys[s.KeyID]; ok && index < set.until && e.SignedBy(pub, s) && !slices.Contains(good, s.KeyID) {
				good = append(good, s.KeyID)
			}
		}
		if len(good) >= set.threshold {
			return good
		}
	}
	return nil
}
