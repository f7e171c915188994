package verify_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
	"clerestory.dev/clerestory/verify/verifytest"
)

// cards gives the release key's holder and an approver keys on cards (ECDSA
// P-256), and releases with them.
func cards(v *verifytest.Vendor) *verifytest.Released {
	for _, g := range [][2]string{{"rel", "release"}, {"ada", "approver"}} {
		v.Keys[g[0]] = verifytest.NewCard(g[0])
		v.Grant(v.Keys[g[0]], g[1], g[0], verifytest.Product)
	}
	return v.Release(verifytest.Plan{})
}

// resigned is a release by cards whose first signature, of the release key, is
// changed.
func resigned(change func(v *verifytest.Vendor, e *statement.Envelope)) func(v *verifytest.Vendor) input {
	return func(v *verifytest.Vendor) input {
		fork := *v.Log
		fork.Entries = append([][]byte{}, v.Log.Entries...)
		r := cards(v)
		var e statement.Envelope
		if err := json.Unmarshal(v.Log.Entries[r.Release], &e); err != nil {
			panic(err)
		}
		change(v, &e)
		raw, err := json.Marshal(&e)
		if err != nil {
			panic(err)
		}
		// The log is made again up to the release, which is then another one.
		before := v.Log.Entries[len(fork.Entries):r.Release]
		v.Log = &fork
		for _, entry := range append(before, raw) {
			v.Log.Add(entry)
		}
		return in(v, v.Bundle())
	}
}

// twin is the other signature that anybody can make from one: (r, n-s).
func twin(sig []byte) []byte {
	at := 4 + int(sig[3])
	n := []byte("\xff\xff\xff\xff\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xbc\xe6\xfa\xad\xa7\x17\x9e\x84\xf3\xb9\xca\xc2\xfc\x63\x25\x51")
	s := sig[at+2:]
	s = append(make([]byte, 33-len(s)), s...)[1:]
	other, borrow := make([]byte, 32), 0
	for i := 31; i >= 0; i-- {
		d := int(n[i]) - int(s[i]) - borrow
		borrow = d >> 8 & 1
		other[i] = byte(d)
	}
	return statement.JoinP256(sig[4:at], other)
}

// badCard is a root-signed grant of a key that is none.
func badCard(public []byte) func(v *verifytest.Vendor) input {
	return func(v *verifytest.Vendor) input {
		k := verifytest.NewCard("eve")
		s := &statement.Key{Action: "grant", KeyID: k.KeyID(), Public: k.Public(), Role: "approver", Holder: "eve", Products: []string{"*"}, At: verifytest.At}
		payload, err := statement.New([]statement.Subject{statement.KeySubject(k.Public())}, s)
		if err != nil {
			panic(err)
		}
		for old, new := range map[string]string{
			statement.Base64.EncodeToString(k.Public()): statement.Base64.EncodeToString(public),
			k.KeyID(): statement.KeyID(public), statement.HashOf(k.Public()): statement.HashOf(public),
		} {
			payload = bytes.ReplaceAll(payload, []byte(old), []byte(new))
		}
		v.Log.Add(v.Envelope(payload, v.RootKeys[:2]...))
		return released(v)
	}
}

func offCurve() []byte {
	public := bytes.Clone(verifytest.NewCard("eve").Public())
	public[64] ^= 1
	return public
}

var cardCases = []attack{
	{"good-card", "The release key and an approver's key are on cards: ECDSA P-256 beside Ed25519.", verify.Verified, "", func(v *verifytest.Vendor) input {
		cards(v)
		return in(v, v.Bundle())
	}},
	{"good-card-root", "A root key is on a card.", verify.Verified, "", func(v *verifytest.Vendor) input {
		card := verifytest.NewCard("root 1")
		fresh := []*verifytest.Key{v.RootKeys[0], card, v.RootKeys[2]}
		v.RootKeys, v.Root = fresh, v.NewRoot(1, fresh...)
		v.Grant(v.Keys["ada"], "approver", "ada", verifytest.Product)
		former := verify.FormerRoot{Threshold: 1, Until: 6}
		for _, k := range []*verifytest.Key{fresh[0], card} {
			former.Keys = append(former.Keys, fmt.Sprintf("%x", k.Public()))
		}
		v.Root.Clerestory.Formerly = []verify.FormerRoot{former}
		return released(v)
	}},
	{"card-signature-is-the-twin", "Anybody can make a second ECDSA signature from a first one; only the smaller s is accepted.", verify.Refused, verify.CodeStatement, resigned(func(_ *verifytest.Vendor, e *statement.Envelope) {
		e.Signatures[0].Sig = twin(e.Signatures[0].Sig)
	})},
	{"card-signature-padded", "An ECDSA signature with a zero more than DER allows.", verify.Refused, verify.CodeStatement, resigned(func(_ *verifytest.Vendor, e *statement.Envelope) {
		s := e.Signatures[0].Sig
		e.Signatures[0].Sig = append([]byte{0x30, s[1] + 1, 2, s[3] + 1, 0}, s[4:]...)
	})},
	{"card-signature-as-64-bytes", "r and s side by side, as JOSE writes them.", verify.Refused, verify.CodeSignature, resigned(func(_ *verifytest.Vendor, e *statement.Envelope) {
		s := e.Signatures[0].Sig
		at := 4 + int(s[3])
		r, ss := bytes.TrimLeft(s[4:at], "\x00"), bytes.TrimLeft(s[at+2:], "\x00")
		e.Signatures[0].Sig = append(append(make([]byte, 32-len(r)), r...), append(make([]byte, 32-len(ss)), ss...)...)
	})},
	{"card-signature-of-something-else", "A card's good signature over another text.", verify.Refused, verify.CodeSignature, resigned(func(v *verifytest.Vendor, e *statement.Envelope) {
		e.Signatures[0].Sig, _ = v.Keys["rel"].Sign([]byte("else"))
	})},
	{"card-signature-without-encoding", "A card signed the payload itself, not its DSSE encoding.", verify.Refused, verify.CodeSignature, resigned(func(v *verifytest.Vendor, e *statement.Envelope) {
		e.Signatures[0].Sig, _ = v.Keys["rel"].Sign(e.Payload)
	})},
	{"card-key-off-the-curve", "A key statement gives a role to a point that is not on the curve.", verify.Refused, verify.CodeStatement, badCard(offCurve())},
	{"card-key-compressed", "A key statement has a point in compressed form: one key would have two ids.", verify.Refused, verify.CodeStatement, badCard(append([]byte{2}, verifytest.NewCard("eve").Public()[1:33]...))},
	{"card-root-key-in-another-text", "A root key's PEM block has other line ends: one key would have two ids.", verify.Refused, verify.CodeTrust, func(v *verifytest.Vendor) input {
		card := verifytest.NewCard("root 1")
		keys := []*verifytest.Key{v.RootKeys[0], card, v.RootKeys[2]}
		i := released(v)
		r := v.NewRoot(1, keys...)
		key := r.Keys[card.KeyID()]
		key.KeyVal.Public = strings.ReplaceAll(key.KeyVal.Public, "\n", "\r\n")
		r.Keys[card.KeyID()] = key
		i.trust = v.SignRoot(r, keys[:2]...)
		return i
	}},
	{"card-root-signature-is-the-twin", "A root is signed with the larger s.", verify.Refused, verify.CodeTrust, func(v *verifytest.Vendor) input {
		card := verifytest.NewCard("root 1")
		i := released(v)
		i.trust = v.SignRoot(v.NewRoot(1, v.RootKeys[0], card, v.RootKeys[2]), v.RootKeys[0], card)
		_, rest, _ := strings.Cut(string(i.trust), card.KeyID()+"\",\n   \"sig\": \"")
		text, _, _ := strings.Cut(rest, `"`)
		var sig []byte
		if _, err := fmt.Sscanf(text, "%x", &sig); err != nil {
			panic(err)
		}
		i.trust = bytes.Replace(i.trust, []byte(text), fmt.Appendf(nil, "%x", twin(sig)), 1)
		return i
	}},
}

// ruled is a release signed by holders, under a root with these rules.
func ruled(holders string, rules ...verify.ReleaseRule) func(v *verifytest.Vendor) input {
	return func(v *verifytest.Vendor) input {
		v.Root.Clerestory.ReleaseKeys = rules
		v.Keys["rel2"], v.Keys["rel3"] = verifytest.NewCard("rel2"), verifytest.NewKey("rel3")
		v.Grant(v.Keys["rel2"], "release", "rel2", "*")
		v.Grant(v.Keys["rel3"], "release", "rel", "*") // a second key of the first holder
		v.Release(verifytest.Plan{Approved: holders})
		return in(v, v.Bundle())
	}
}

const one, two = "rel ada boris", "rel rel2 ada boris"

var thresholdCases = []attack{
	{"good-two-release-holders", "The root asks for two holders of the role release, and two have signed.", verify.Verified, "", ruled(two, verify.ReleaseRule{Product: verifytest.Product, Holders: 2})},
	{"release-holders-too-few", "The root asks for two holders of the role release, and one has signed.", verify.Refused, verify.CodeSigners, ruled(one, verify.ReleaseRule{Product: verifytest.Product, Holders: 2})},
	{"release-holders-one-with-two-keys", "Two release keys of one holder are one holder.", verify.Refused, verify.CodeSigners, ruled("rel rel3 ada boris", verify.ReleaseRule{Product: verifytest.Product, Holders: 2})},
	{"release-holders-of-every-product", "The rule is for every product.", verify.Refused, verify.CodeSigners, ruled(one, verify.ReleaseRule{Product: "*", Holders: 2})},
	{"release-holders-raised-before", "The number was raised before the release.", verify.Refused, verify.CodeSigners, ruled(one, verify.ReleaseRule{Product: "*", Holders: 1}, verify.ReleaseRule{Product: "*", Holders: 2, From: 10})},
	{"release-holders-of-every-product-raised-later", "A product's own rule holds, whatever comes for every product later.", verify.Refused, verify.CodeSigners,
		ruled(one, verify.ReleaseRule{Product: verifytest.Product, Holders: 2, From: 3}, verify.ReleaseRule{Product: "*", Holders: 1, From: 9})},
	{"good-release-before-the-rule", "The rule began after the release: what was released before stands.", verify.Verified, "", ruled(one, verify.ReleaseRule{Product: "*", Holders: 2, From: 12})},
	{"good-rule-of-another-product", "The rule is for another product.", verify.Verified, "", ruled(one, verify.ReleaseRule{Product: "torch", Holders: 2})},
	{"good-own-rule-first", "The product's own rule is weaker than that of every product, and goes first.", verify.Verified, "", ruled(one, verify.ReleaseRule{Product: "*", Holders: 2}, verify.ReleaseRule{Product: verifytest.Product, Holders: 1})},
	{"release-rules-out-of-order", "Two readers could take different rules as the last.", verify.Refused, verify.CodeTrust, ruled(two, verify.ReleaseRule{Product: "*", Holders: 1, From: 4}, verify.ReleaseRule{Product: "*", Holders: 2, From: 4})},
	{"release-rule-of-nobody", "A rule that asks for no holder.", verify.Refused, verify.CodeTrust, ruled(two, verify.ReleaseRule{Product: "*"})},
	{"release-rule-of-no-product", "A rule for a product that can not be.", verify.Refused, verify.CodeTrust, ruled(two, verify.ReleaseRule{Product: "Lantern", Holders: 2})},
}
