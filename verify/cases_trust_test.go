package verify_test

import (
	"bytes"
	"fmt"
	"strings"

	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
	"clerestory.dev/clerestory/verify/verifytest"
)

// under is a good release whose proofs lead to a checkpoint that is made by hand.
func under(checkpoint func(v *verifytest.Vendor, text string) []byte) func(v *verifytest.Vendor) input {
	return func(v *verifytest.Vendor) input {
		v.Release(verifytest.Plan{})
		return in(v, v.BundleUnder(checkpoint(v, v.Log.Text(v.Log.Size()))))
	}
}

var checkpointCases = []attack{
	{"good-witness-line-twice", "A cosignature stands twice, and a stranger's is beside them: two witnesses have signed.", verify.Verified, "", under(func(v *verifytest.Vendor, text string) []byte {
		w, stranger := v.Witnesses, &verifytest.Witness{Name: "stranger.example", Key: verifytest.NewKey("stranger")}
		return v.Log.Sign(text, v.Seen, w[2], w[2], stranger, w[0])
	})},
	{"good-checkpoint-with-extension", "The checkpoint has an extension line.", verify.Verified, "", under(func(v *verifytest.Vendor, text string) []byte {
		return v.Log.Sign(text+"an extension\n", v.Seen, v.Witnesses...)
	})},
	{"checkpoint-too-few-witnesses", "One witness where two are needed.", verify.Refused, verify.CodeQuorum, under(func(v *verifytest.Vendor, text string) []byte {
		return v.Log.Sign(text, v.Seen, v.Witnesses[1])
	})},
	{"checkpoint-no-witness", "No witness at all.", verify.Refused, verify.CodeQuorum, under(func(v *verifytest.Vendor, text string) []byte {
		return v.Log.Sign(text, v.Seen)
	})},
	{"checkpoint-same-witness-twice", "One witness twice, at two times, is one witness.", verify.Refused, verify.CodeQuorum, under(func(v *verifytest.Vendor, text string) []byte {
		return append(v.Log.Sign(text, v.Seen, v.Witnesses[0]), v.Witnesses[0].Cosign([]byte(text), v.Now)...)
	})},
	{"checkpoint-witness-key-under-another-name", "A witness's key under a name that the policy does not know.", verify.Refused, verify.CodeQuorum, under(func(v *verifytest.Vendor, text string) []byte {
		return v.Log.Sign(text, v.Seen, v.Witnesses[0], &verifytest.Witness{Name: "other.example", Key: v.Witnesses[1].Key})
	})},
	{"checkpoint-wrong-cosignature", "A witness of the policy has signed something else.", verify.Refused, verify.CodeCheckpoint, under(func(v *verifytest.Vendor, text string) []byte {
		return append(v.Log.Sign(text, v.Seen, v.Witnesses[:2]...), v.Witnesses[2].Cosign([]byte("else"), v.Seen)...)
	})},
	{"checkpoint-without-log-signature", "Three witnesses, but not the log itself.", verify.Refused, verify.CodeCheckpoint, under(func(v *verifytest.Vendor, text string) []byte {
		cp := []byte(text + "\n")
		for _, w := range v.Witnesses {
			cp = append(cp, w.Cosign([]byte(text), v.Seen)...)
		}
		return cp
	})},
	{"checkpoint-changed", "The size was changed after signing.", verify.Refused, verify.CodeCheckpoint, under(func(v *verifytest.Vendor, text string) []byte {
		return bytes.Replace(v.Log.Sign(text, v.Seen, v.Witnesses...), []byte("\n10\n"), []byte("\n11\n"), 1)
	})},
	{"checkpoint-size-not-canonical", "The log signed a size with a leading zero.", verify.Refused, verify.CodeCheckpoint, under(func(v *verifytest.Vendor, text string) []byte {
		return v.Log.Sign(strings.Replace(text, "\n10\n", "\n010\n", 1), v.Seen, v.Witnesses...)
	})},
	{"checkpoint-of-endless-size", "The log claims a size at which proof arithmetic would not end.", verify.Refused, verify.CodeCheckpoint, under(func(v *verifytest.Vendor, text string) []byte {
		return v.Log.Sign(strings.Replace(text, fmt.Sprintf("\n%d\n", v.Log.Size()), "\n4611686018427387909\n", 1), v.Seen, v.Witnesses...)
	})},
	{"checkpoint-of-another-origin", "The log's key signed for another log.", verify.Refused, verify.CodeCheckpoint, under(func(v *verifytest.Vendor, text string) []byte {
		return v.Log.Sign("other."+text, v.Seen, v.Witnesses...)
	})},
	{"checkpoint-truncated", "The checkpoint has no signatures.", verify.Refused, verify.CodeCheckpoint, under(func(v *verifytest.Vendor, text string) []byte { return []byte(text) })},
	{"checkpoint-too-big", "A checkpoint of more than 32 KiB.", verify.Refused, verify.CodeCheckpoint, under(func(v *verifytest.Vendor, text string) []byte {
		return v.Log.Sign(text+strings.Repeat("extension\n", 3300), v.Seen, v.Witnesses...)
	})},
	{"checkpoint-of-another-log", "Everything is proven, in a log that the root does not name.", verify.Refused, verify.CodeCheckpoint, func(v *verifytest.Vendor) input {
		trust := v.TrustFile()
		v.Log.Origin, v.Log.Key = "other.example", verifytest.NewKey("other log")
		i := released(v)
		i.trust = trust
		return i
	}},
	{"checkpoint-of-a-fork", "The proofs are of a fork: another history under the same checkpoint.", verify.Refused, verify.CodeProof, func(v *verifytest.Vendor) input {
		fork := *v.Log
		fork.Entries = append([][]byte{}, v.Log.Entries...)
		v.Release(verifytest.Plan{})
		cp := v.Checkpoint()
		v.Log = &fork
		v.Release(verifytest.Plan{Approved: "rel boris ada"})
		return in(v, v.BundleUnder(cp))
	}},
}

// root is a good release judged by a root that is changed and signed by keys.
func root(change func(v *verifytest.Vendor, r *verify.Root), keys ...int) func(v *verifytest.Vendor) input {
	return func(v *verifytest.Vendor) input {
		i := released(v)
		change(v, &v.Root)
		var by []*verifytest.Key
		for _, k := range keys {
			by = append(by, v.RootKeys[k])
		}
		i.trust = v.SignRoot(v.Root, by...)
		return i
	}
}

func asItIs(*verifytest.Vendor, *verify.Root) {}

// policy is a good release judged by a root with another policy.
func policy(change func(v *verifytest.Vendor, p string) string) func(v *verifytest.Vendor) input {
	return root(func(v *verifytest.Vendor, r *verify.Root) {
		r.Clerestory.Policy = change(v, r.Clerestory.Policy)
	}, 0, 1)
}

// rotated holds version 1 and gets later versions in the bundle.
func rotated(roots func(v *verifytest.Vendor, v2 verify.Root, fresh []*verifytest.Key) [][]byte) func(v *verifytest.Vendor) input {
	return func(v *verifytest.Vendor) input {
		i := released(v)
		fresh := []*verifytest.Key{verifytest.NewKey("fresh 0"), verifytest.NewKey("fresh 1"), v.RootKeys[2]}
		v2 := v.NewRoot(2, fresh...)
		former := verify.FormerRoot{Threshold: 2, Until: 6}
		for _, k := range v.RootKeys {
			former.Keys = append(former.Keys, v.Root.Keys[k.KeyID()].KeyVal.Public)
		}
		v2.Clerestory.Formerly = []verify.FormerRoot{former}
		b := v.Bundle()
		for _, r := range roots(v, v2, fresh) {
			b.Roots = append(b.Roots, string(r))
		}
		i.bundle = format(b)
		return i
	}
}

// both signs with the old keys and the new.
func both(v *verifytest.Vendor, fresh []*verifytest.Key) []*verifytest.Key {
	return append(append([]*verifytest.Key{}, v.RootKeys[:2]...), fresh...)
}

var trustCases = []attack{
	{"root-changed", "The trusted root was changed after signing.", verify.Refused, verify.CodeTrust, func(v *verifytest.Vendor) input {
		i := released(v)
		i.trust = bytes.Replace(i.trust, []byte(`"approvals": 2`), []byte(`"approvals": 1`), 1)
		return i
	}},
	{"root-too-few-signatures", "One root key where two must sign.", verify.Refused, verify.CodeTrust, root(asItIs, 0)},
	{"root-signed-twice-by-one-key", "One root key twice is one root key.", verify.Refused, verify.CodeTrust, func(v *verifytest.Vendor) input {
		i := released(v)
		one := string(v.SignRoot(v.Root, v.RootKeys[0]))
		_, rest, _ := strings.Cut(one, `"signatures": [`)
		sig, _, _ := strings.Cut(rest, "]")
		i.trust = []byte(strings.Replace(one, `"signatures": [`, `"signatures": [`+sig+",", 1))
		return i
	}},
	{"root-one-key-under-two-ids", "One public key stands under two key ids.", verify.Refused, verify.CodeTrust, root(func(v *verifytest.Vendor, r *verify.Root) {
		role := r.Roles["root"]
		r.Keys[v.RootKeys[1].KeyID()] = r.Keys[v.RootKeys[0].KeyID()]
		r.Roles["root"] = role
	}, 0, 1)},
	{"root-threshold-zero", "A root that nobody needs to sign.", verify.Refused, verify.CodeTrust, root(func(v *verifytest.Vendor, r *verify.Root) {
		r.Roles["root"] = verify.RootRole{KeyIDs: r.Roles["root"].KeyIDs}
	})},
	{"root-without-log", "A TUF root that names no log.", verify.Refused, verify.CodeTrust, root(func(v *verifytest.Vendor, r *verify.Root) { r.Clerestory = nil }, 0, 1)},
	{"root-without-approvals", "A root that asks for no approval.", verify.Refused, verify.CodeTrust, root(func(v *verifytest.Vendor, r *verify.Root) { r.Clerestory.Approvals = 0 }, 0, 1)},
	{"root-expired", "The trusted root has expired.", verify.Unchecked, "", func(v *verifytest.Vendor) input {
		i := released(v)
		i.now = v.Root.Expires.AddDate(0, 0, 1)
		return i
	}},
	{"root-expired-and-clock-set-back", "The reader's clock is before the expiry, the witnesses' are after.", verify.Unchecked, "", func(v *verifytest.Vendor) input {
		v.Seen = v.Root.Expires.AddDate(0, 0, 1)
		return released(v)
	}},
	{"good-no-witness-asked", "A root whose policy asks for no witness: verified, and said so.", verify.Verified, "", policy(func(v *verifytest.Vendor, p string) string {
		return strings.Replace(p, "quorum quorum2", "quorum none", 1)
	})},
	{"policy-one-key-under-two-names", "A witness's key stands under two names.", verify.Refused, verify.CodeTrust, policy(func(v *verifytest.Vendor, p string) string {
		twin := &verifytest.Witness{Name: "twin.example", Key: v.Witnesses[0].Key}
		return "log " + v.Log.VKey() + "\nwitness a " + v.Witnesses[0].VKey() + "\nwitness b " + twin.VKey() + "\ngroup g 2 a b\nquorum g\n"
	})},
	{"policy-witness-in-two-groups", "A witness is a member of two groups, and would count twice.", verify.Refused, verify.CodeTrust, policy(func(v *verifytest.Vendor, p string) string {
		return "log " + v.Log.VKey() + "\nwitness a " + v.Witnesses[0].VKey() + "\ngroup g any a\ngroup h any a\ngroup q all g h\nquorum q\n"
	})},
	{"policy-log-is-its-own-witness", "The log's key is a witness's key too.", verify.Refused, verify.CodeTrust, policy(func(v *verifytest.Vendor, p string) string {
		self := &verifytest.Witness{Name: "self.example", Key: v.Log.Key}
		return "log " + v.Log.VKey() + "\nwitness a " + self.VKey() + "\nquorum a\n"
	})},
	{"policy-threshold-beyond-members", "A group that asks for more members than it has.", verify.Refused, verify.CodeTrust, policy(func(v *verifytest.Vendor, p string) string { return strings.Replace(p, "quorum2 2", "quorum2 4", 1) })},
	{"policy-two-quorums", "Two quorum lines.", verify.Refused, verify.CodeTrust, policy(func(v *verifytest.Vendor, p string) string { return p + "quorum none\n" })},
	{"good-root-rotation", "The bundle leads from version 1 to version 2 with two new keys.", verify.Verified, "", rotated(func(v *verifytest.Vendor, v2 verify.Root, fresh []*verifytest.Key) [][]byte {
		v3 := v2
		v3.Version = 3
		return [][]byte{v.SignRoot(v2, both(v, fresh)...), v.SignRoot(v3, fresh...)}
	})},
	{"good-root-older-in-bundle", "The bundle has an older root than the verifier: it is not followed back.", verify.Verified, "", func(v *verifytest.Vendor) input {
		i := released(v)
		weak := v.NewRoot(1, v.RootKeys...)
		weak.Clerestory.Approvals = 1
		v.Root.Version = 2
		b := v.Bundle()
		b.Roots = []string{string(v.SignRoot(weak, v.RootKeys...))}
		i.trust, i.bundle = v.TrustFile(), format(b)
		return i
	}},
	{"root-version-skipped", "Version 3 follows version 1.", verify.Refused, verify.CodeTrust, rotated(func(v *verifytest.Vendor, v2 verify.Root, fresh []*verifytest.Key) [][]byte {
		v2.Version = 3
		return [][]byte{v.SignRoot(v2, both(v, fresh)...)}
	})},
	{"root-not-signed-by-the-old-keys", "Version 2 is signed by its own keys only.", verify.Refused, verify.CodeTrust, rotated(func(v *verifytest.Vendor, v2 verify.Root, fresh []*verifytest.Key) [][]byte {
		return [][]byte{v.SignRoot(v2, fresh...)}
	})},
	{"root-not-signed-by-the-new-keys", "Version 2 is signed by the old keys only.", verify.Refused, verify.CodeTrust, rotated(func(v *verifytest.Vendor, v2 verify.Root, fresh []*verifytest.Key) [][]byte {
		return [][]byte{v.SignRoot(v2, v.RootKeys[:2]...)}
	})},
	{"root-forgets-the-former-keys", "After the rotation nobody vouches for the old key statements.", verify.Refused, verify.CodeSignature, rotated(func(v *verifytest.Vendor, v2 verify.Root, fresh []*verifytest.Key) [][]byte {
		v2.Clerestory.Formerly = nil
		return [][]byte{v.SignRoot(v2, both(v, fresh)...)}
	})},
	{"former-root-key-grants-later", "Root keys that were replaced sign a key statement after their time.", verify.Refused, verify.CodeSignature, func(v *verifytest.Vendor) input {
		v.Key(statement.Key{Action: "grant", Role: "approver", Holder: "eve", Products: []string{"*"}}, verifytest.NewKey("eve"), v.RootKeys[:2]...)
		return rotated(func(v *verifytest.Vendor, v2 verify.Root, fresh []*verifytest.Key) [][]byte {
			return [][]byte{v.SignRoot(v2, both(v, fresh)...)}
		})(v)
	}},
}
