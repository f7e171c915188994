package keyring

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// RootPlan is what a new root of trust names.
type RootPlan struct {
	Vendor    string
	Policy    string // C2SP tlog-policy, with the log line
	Approvals int
	// ReleaseKeys say how many holders of the role release must sign, from where on.
	ReleaseKeys []verify.ReleaseRule
	Threshold   int       // how many root keys must sign
	Expires     time.Time // a root that is not renewed by then is not believed
	Online      []Public  // keys of the TUF roles snapshot and timestamp
}

// NewRoot makes version 1 of trusted_root.json, signed by all of its keys.
func NewRoot(plan RootPlan, keys []*Key) ([]byte, error) {
	root := describe(plan, PublicOf(keys))
	root.Version = 1
	return signRoot(root, keys)
}

// PublicOf gives the public parts of keys.
func PublicOf(keys []*Key) []Public {
	var all []Public
	for _, k := range keys {
		all = append(all, k.Public)
	}
	return all
}

// RotateRoot makes the version after old: plan and keys take effect, and key
// statements below entry until stay valid under the old root keys. signers are
// enough of the old and of the new root keys to meet both thresholds (TUF 1.0,
// section 6.1); one that is in both counts for both.
func RotateRoot(old *verify.Trust, plan RootPlan, keys []Public, signers []*Key, until int64) ([]byte, error) {
	root, err := PlanRoot(old, plan, keys, until)
	if err != nil {
		return nil, err
	}
	file, err := signRoot(root, signers)
	if err != nil {
		return nil, err
	}
	if _, err := old.Rotate(file); err != nil {
		return nil, fault.Invalid.New("the new root would not be believed: %w", err)
	}
	return file, nil
}

// PlanRoot is the root that follows old, to be signed: by RotateRoot, or by keys
// that never meet, from whose signatures FinishRoot makes the file.
func PlanRoot(old *verify.Trust, plan RootPlan, keys []Public, until int64) (verify.Root, error) {
	root := describe(plan, keys)
	root.Version = old.Root.Version + 1
	root.Clerestory.Formerly = append(root.Clerestory.Formerly, old.Root.Clerestory.Formerly...)
	role := old.Root.Roles["root"]
	if now := root.Roles["root"]; !slices.Equal(slices.Sorted(slices.Values(now.KeyIDs)), slices.Sorted(slices.Values(role.KeyIDs))) || now.Threshold > role.Threshold {
		former := verify.FormerRoot{Threshold: role.Threshold, Until: until}
		for _, id := range role.KeyIDs {
			public, err := old.Root.Keys[id].Raw()
			if err != nil {
				return root, fmt.Errorf("reading the old root key %s: %w", id, err)
			}
			former.Keys = append(former.Keys, hex.EncodeToString(public))
		}
		root.Clerestory.Formerly = append(root.Clerestory.Formerly, former)
	}
	return root, nil
}

// RootText is what root keys sign: the root in canonical JSON.
func RootText(root verify.Root) ([]byte, error) {
	signed, err := json.Marshal(root)
	if err != nil {
		return nil, fmt.Errorf("encoding the root: %w", err)
	}
	return verify.SignedText(signed)
}

// FinishRoot makes the file of the root that follows old from its text, as plain
// JSON, and signatures by key id. Too few of them are Denied.
func FinishRoot(old *verify.Trust, signed []byte, sigs []statement.Signature) ([]byte, error) {
	var root verify.Root
	if err := statement.Decode(signed, &root); err != nil {
		return nil, fault.Invalid.New("reading the new root: %w", err)
	}
	file, err := verify.FormatRoot(root, func([]byte) (map[string][]byte, error) {
		by := map[string][]byte{}
		for _, s := range sigs {
			by[s.KeyID] = s.Sig
		}
		return by, nil
	})
	if err != nil {
		return nil, err
	}
	if _, err := old.Rotate(file); err != nil {
		return nil, fault.Denied.New("the new root would not be believed: %w", err)
	}
	return file, nil
}

func describe(plan RootPlan, keys []Public) verify.Root {
	r := verify.Root{
		Type: "root", SpecVersion: "1.0.31", ConsistentSnapshot: true,
		Expires: plan.Expires.UTC().Truncate(time.Second),
		Keys:    map[string]verify.RootKey{},
		Clerestory: &verify.Extension{
			Vendor: plan.Vendor, Policy: plan.Policy, Approvals: plan.Approvals, ReleaseKeys: plan.ReleaseKeys,
		},
	}
	add := func(public []byte, id string) { r.Keys[id] = verify.NewRootKey(public) }
	rootRole := verify.RootRole{Threshold: plan.Threshold}
	for _, k := range keys {
		add(k.Public, k.KeyID)
		rootRole.KeyIDs = append(rootRole.KeyIDs, k.KeyID)
	}
	online := verify.RootRole{Threshold: 1}
	for _, k := range plan.Online {
		add(k.Public, k.KeyID)
		online.KeyIDs = append(online.KeyIDs, k.KeyID)
	}
	// The targets role is offline like the root, and has the same keys.
	r.Roles = map[string]verify.RootRole{"root": rootRole, "targets": rootRole, "snapshot": online, "timestamp": online}
	return r
}

func signRoot(root verify.Root, keys []*Key) ([]byte, error) {
	file, err := verify.FormatRoot(root, func(text []byte) (map[string][]byte, error) {
		sigs := map[string][]byte{}
		for _, k := range keys {
			sig, err := k.Sign(text)
			if err != nil {
				return nil, err
			}
			sigs[k.KeyID()] = sig
		}
		return sigs, nil
	})
	if err != nil {
		return nil, err
	}
	if root.Version == 1 {
		if _, err := verify.ParseTrust(file); err != nil {
			return nil, fault.Invalid.New("the new root would not be believed: %w", err)
		}
	}
	return file, nil
}
