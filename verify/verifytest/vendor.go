// Package verifytest makes a whole vendor in memory for tests: root keys (two of
// three), a log, three witnesses (two must cosign), role keys and releases, all
// from fixed seeds and times, so that the same calls give the same bytes.
//
// It promises nothing about safety: every private key follows from its name. Its
// methods do what they are told, so that tests can make what an attacker would;
// they end the test when they can not.
//
// Start at [New], [Vendor.Release] and [Vendor.Bundle].
package verifytest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// Product is what the vendor makes; Commit and Tree are where it comes from.
const (
	Product = "lantern"
	Commit  = "1f0c6d3e8a5b4c2d9e7f60718293a4b5c6d7e8f9"
	Tree    = "9a8b7c6d5e4f30213243546576879801a2b3c4d5"
	At      = "2026-03-01T09:00:00Z"
)

// Vendor is a vendor with everything it signs with.
type Vendor struct {
	T         testing.TB
	RootKeys  []*Key
	Log       *Log
	Witnesses []*Witness
	// Keys hold the role keys by holder: src, bld, reb, rel, ada, boris.
	Keys map[string]*Key
	Root verify.Root
	Now  time.Time // two minutes after the witnesses' time, Seen
	Seen time.Time
}

// New makes a vendor whose log holds the grants of its role keys.
func New(t testing.TB) *Vendor {
	t.Helper()
	v := &Vendor{T: t, Keys: map[string]*Key{}, Log: NewLog(t, "log.lantern.example")}
	v.Seen = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	v.Now = v.Seen.Add(2 * time.Minute)
	for i := range 3 {
		v.RootKeys = append(v.RootKeys, NewKey(fmt.Sprint("root ", i)))
		name := fmt.Sprintf("witness%d.example", i+1)
		v.Witnesses = append(v.Witnesses, &Witness{name, NewKey(name)})
	}
	v.Root = v.NewRoot(1, v.RootKeys...)
	for _, g := range [][2]string{{"src", "source"}, {"bld", "builder"}, {"reb", "rebuilder"}, {"rel", "release"}, {"ada", "approver"}, {"boris", "approver"}} {
		v.Keys[g[0]] = NewKey(g[0])
		v.Grant(v.Keys[g[0]], g[1], g[0], Product)
	}
	return v
}

// NewRoot describes a root with these keys, two of which must sign.
func (v *Vendor) NewRoot(version int64, keys ...*Key) verify.Root {
	r := verify.Root{
		Type: "root", SpecVersion: "1.0.31", Version: version, ConsistentSnapshot: true,
		Expires: time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC),
		Keys:    map[string]verify.RootKey{}, Roles: map[string]verify.RootRole{},
		Clerestory: &verify.Extension{Vendor: "lantern-works", Policy: v.Policy(), Approvals: 2},
	}
	var ids []string
	for _, k := range keys {
		r.Keys[k.KeyID()] = verify.NewRootKey(k.Public())
		ids = append(ids, k.KeyID())
	}
	slices.Sort(ids)
	r.Roles["root"] = verify.RootRole{KeyIDs: ids, Threshold: 2}
	for _, role := range []string{"targets", "snapshot", "timestamp"} {
		r.Roles[role] = verify.RootRole{KeyIDs: ids[:1], Threshold: 1}
	}
	return r
}

// Policy is the vendor's witness policy: any two of its three witnesses.
func (v *Vendor) Policy() string {
	p := "log " + v.Log.VKey() + " https://" + v.Log.Origin + "/\n"
	names := ""
	for _, w := range v.Witnesses {
		p += fmt.Sprintf("witness %s %s https://%s/\n", w.Name, w.VKey(), w.Name)
		names += " " + w.Name
	}
	return p + "group quorum2 2" + names + "\nquorum quorum2\n"
}

// SignRoot makes trusted_root.json from a root, signed by keys.
func (v *Vendor) SignRoot(r verify.Root, keys ...*Key) []byte {
	v.T.Helper()
	b, err := verify.FormatRoot(r, func(text []byte) (map[string][]byte, error) {
		sigs := map[string][]byte{}
		for _, k := range keys {
			sigs[k.KeyID()], _ = k.Sign(text)
		}
		return sigs, nil
	})
	check(v.T, err)
	return b
}

// TrustFile is the trusted root, signed by two of three.
func (v *Vendor) TrustFile() []byte {
	v.T.Helper()
	return v.SignRoot(v.Root, v.RootKeys[0], v.RootKeys[1])
}

// Trust is the trusted root, parsed.
func (v *Vendor) Trust() *verify.Trust {
	v.T.Helper()
	t, err := verify.ParseTrust(v.TrustFile())
	check(v.T, err)
	return t
}

// Say signs a statement and logs it.
func (v *Vendor) Say(subject []statement.Subject, p statement.Predicate, signers ...*Key) int64 {
	v.T.Helper()
	payload, err := statement.New(subject, p)
	check(v.T, err)
	return v.Log.Add(v.Envelope(payload, signers...))
}

// Envelope signs a payload, whatever it holds.
func (v *Vendor) Envelope(payload []byte, signers ...*Key) []byte {
	v.T.Helper()
	e, err := statement.Sign(payload)
	check(v.T, err)
	for _, s := range signers {
		check(v.T, e.AddSignature(s))
	}
	b, err := json.Marshal(e) // not Format, which has a limit
	check(v.T, err)
	return b
}

// Grant says, signed by two root keys, that a key has a role from now on.
func (v *Vendor) Grant(k *Key, role, holder string, products ...string) int64 {
	v.T.Helper()
	return v.Key(statement.Key{Action: "grant", Role: role, Holder: holder, Products: products}, k, v.RootKeys[:2]...)
}

// Key logs a key statement about k; its key members and time are filled in.
func (v *Vendor) Key(s statement.Key, k *Key, signers ...*Key) int64 {
	v.T.Helper()
	s.KeyID, s.Public, s.At = k.KeyID(), k.Public(), At
	return v.Say([]statement.Subject{statement.KeySubject(k.Public())}, &s, signers...)
}

// Revoke takes an entry back.
func (v *Vendor) Revoke(entry int64, kind, product string, signers ...*Key) int64 {
	v.T.Helper()
	sub := statement.Subject{Name: fmt.Sprintf("entry:%d", entry), Digest: map[string]string{"sha256": statement.HashOf(v.Log.Entries[entry])}}
	return v.Say([]statement.Subject{sub}, &statement.Revocation{Entry: entry, Kind: kind, Product: product,
		Reason: "it deletes the wrong files", At: "2026-03-01T10:00:00Z"}, signers...)
}

// SHA256 is a file's digest in hex.
func SHA256(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

// Artifact describes a file to be judged.
func Artifact(name, content string) verify.Artifact {
	return verify.Artifact{Name: name, SHA256: SHA256(content), Size: int64(len(content))}
}

// Checkpoint is the log's state now, cosigned by the first two witnesses.
func (v *Vendor) Checkpoint() []byte {
	v.T.Helper()
	return v.Log.Sign(v.Log.Text(v.Log.Size()), v.Seen, v.Witnesses[:2]...)
}

// Bundle proves entries (all, if none is named) under the checkpoint of now.
func (v *Vendor) Bundle(entries ...int64) *verify.Bundle {
	v.T.Helper()
	return v.BundleUnder(v.Checkpoint(), entries...)
}

// BundleUnder proves entries under a checkpoint of the log's size.
func (v *Vendor) BundleUnder(checkpoint []byte, entries ...int64) *verify.Bundle {
	v.T.Helper()
	b := &verify.Bundle{MediaType: verify.BundleType}
	for i, raw := range v.Log.Entries {
		if n := int64(i); len(entries) == 0 || slices.Contains(entries, n) {
			b.Entries = append(b.Entries, verify.BundleEntry{Envelope: string(raw), Proof: string(v.Log.Prove(n, v.Log.Size(), checkpoint))})
		}
	}
	return b
}

// Files is what the vendor releases unless a test says otherwise.
func Files() map[string]string {
	return map[string]string{"lantern-1.2.0.deb": "the package", "linux/lantern": "the program", "empty.txt": ""}
}

// Manifest is the manifest of files.
func (v *Vendor) Manifest(files map[string]string) *verify.Manifest {
	v.T.Helper()
	var list []verify.File
	for name, content := range files {
		list = append(list, verify.File{Name: name, SHA256: SHA256(content)})
	}
	m, err := verify.NewManifest(list)
	check(v.T, err)
	return m
}

// holders finds role keys by their holders, separated by spaces.
func (v *Vendor) holders(names string) []*Key {
	var keys []*Key
	for name := range strings.FieldsSeq(names) {
		keys = append(keys, v.Keys[name])
	}
	return keys
}
