package verify_test

import (
	"bytes"
	"slices"
	"strings"

	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
	"clerestory.dev/clerestory/verify/verifytest"
)

// bundleWith is a good release whose bundle is changed.
func bundleWith(change func(b *verify.Bundle)) func(v *verifytest.Vendor) input {
	return func(v *verifytest.Vendor) input {
		v.Release(verifytest.Plan{})
		b := v.Bundle()
		change(b)
		return in(v, b)
	}
}

// bundleText is a good release whose bundle's text is changed.
func bundleText(old, new string) func(v *verifytest.Vendor) input {
	return func(v *verifytest.Vendor) input {
		i := released(v)
		if !bytes.Contains(i.bundle, []byte(old)) {
			panic(old + " is not in the bundle")
		}
		i.bundle = bytes.Replace(i.bundle, []byte(old), []byte(new), 1)
		return i
	}
}

var bundleCases = []attack{
	{"file-changed", "One byte of the file was changed.", verify.Refused, verify.CodeOtherFile, func(v *verifytest.Vendor) input {
		i := released(v)
		i.file = verifytest.Artifact("lantern", "the Program")
		return i
	}},
	{"file-emptied", "The download broke off at once.", verify.Refused, verify.CodeOtherFile, func(v *verifytest.Vendor) input {
		v.Release(verifytest.Plan{Files: map[string]string{"lantern": "the program"}})
		i := in(v, v.Bundle())
		i.file = verifytest.Artifact("lantern", "")
		return i
	}},
	{"bundle-of-another-file", "The bundle belongs to another file.", verify.Refused, verify.CodeOtherFile, func(v *verifytest.Vendor) input {
		v.Release(verifytest.Plan{Files: map[string]string{"other": "other"}})
		return in(v, v.Bundle())
	}},
	{"bundle-truncated", "The bundle's last byte that matters is missing.", verify.Refused, verify.CodeBundle, func(v *verifytest.Vendor) input {
		i := released(v)
		i.bundle = i.bundle[:len(i.bundle)-2]
		return i
	}},
	{"bundle-with-text-after", "Something follows the bundle.", verify.Refused, verify.CodeBundle, func(v *verifytest.Vendor) input {
		i := released(v)
		i.bundle = append(i.bundle, '{', '}')
		return i
	}},
	{"bundle-member-twice", "The member entries stands twice.", verify.Refused, verify.CodeBundle, bundleText(`"entries":`, `"entries": [], "entries":`)},
	{"bundle-member-in-other-case", "The member Entries, which some readers take for entries.", verify.Refused, verify.CodeBundle, bundleText(`"entries":`, `"Entries": [], "entries":`)},
	{"bundle-member-with-long-s", "The member entrieſ (U+017F), which folds to entries.", verify.Refused, verify.CodeBundle, bundleText(`"entries":`, "\"entrie\u017f\": [], \"entries\":")},
	{"bundle-member-null", "The member roots is null.", verify.Refused, verify.CodeBundle, bundleText(`"entries":`, `"roots": null, "entries":`)},
	{"bundle-half-surrogate", "A string that is not Unicode.", verify.Refused, verify.CodeBundle, bundleText(`"entries":`, `"note": "\ud800", "entries":`)},
	{"bundle-not-utf8", "A byte that is not UTF-8.", verify.Refused, verify.CodeBundle, bundleText(`"entries":`, "\"note\": \"\xff\", \"entries\":")},
	{"bundle-too-deep", "Values nested 25 deep.", verify.Refused, verify.CodeBundle, bundleText(`"entries":`, `"note": `+strings.Repeat("[", 25)+strings.Repeat("]", 25)+`, "entries":`)},
	{"bundle-of-another-type", "The media type is of another version.", verify.Refused, verify.CodeBundle, bundleText("bundle.v1+json", "bundle.v2+json")},
	{"bundle-without-entries", "No entry at all.", verify.Refused, verify.CodeBundle, bundleWith(func(b *verify.Bundle) { b.Entries = []verify.BundleEntry{} })},
	{"bundle-out-of-order", "The entries are not in the log's order.", verify.Refused, verify.CodeBundle, bundleWith(func(b *verify.Bundle) { slices.Reverse(b.Entries) })},
	{"bundle-entry-twice", "One entry stands twice.", verify.Refused, verify.CodeBundle, bundleWith(func(b *verify.Bundle) { b.Entries = append(b.Entries, b.Entries[len(b.Entries)-1]) })},
	{"bundle-of-two-checkpoints", "One proof leads to another checkpoint of the same log.", verify.Refused, verify.CodeBundle, func(v *verifytest.Vendor) input {
		v.Release(verifytest.Plan{})
		older := v.Bundle()
		v.Grant(verifytest.NewKey("later"), "source", "later", "*")
		b := v.Bundle()
		b.Entries[1] = older.Entries[1]
		return in(v, b)
	}},
}

// proofText is a good release in whose last proof a text is replaced.
func proofText(old, new string) func(v *verifytest.Vendor) input {
	return bundleWith(func(b *verify.Bundle) {
		e := &b.Entries[len(b.Entries)-1]
		if !strings.Contains(e.Proof, old) {
			panic(old + " is not in the proof")
		}
		e.Proof = strings.Replace(e.Proof, old, new, 1)
	})
}

// logged is a log with one entry of these bytes before a good release.
func logged(raw func(v *verifytest.Vendor) []byte) func(v *verifytest.Vendor) input {
	return func(v *verifytest.Vendor) input {
		v.Log.Add(raw(v))
		return released(v)
	}
}

// saying logs a payload, signed by the source key, before a good release.
func saying(payload string) func(v *verifytest.Vendor) input {
	return logged(func(v *verifytest.Vendor) []byte { return v.Envelope([]byte(payload), v.Keys["src"]) })
}

func sourcePayload(old, new string) func(v *verifytest.Vendor) input {
	return logged(func(v *verifytest.Vendor) []byte {
		src := &statement.Source{Product: verifytest.Product, Repository: "r", Commit: verifytest.Commit, Tree: verifytest.Tree, Files: 7, At: verifytest.At}
		sub := []statement.Subject{{Name: "r", Digest: map[string]string{"gitCommit": src.Commit, "gitTree": src.Tree}}}
		return v.Envelope(edited(v, sub, src, old, new), v.Keys["src"])
	})
}

const shortPayload = `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"x","digest":{"sha256":"ab"}}],"predicateType":"TYPE","predicate":{}}`

var entryCases = []attack{
	{"entry-changed", "One byte of an entry was changed.", verify.Refused, verify.CodeProof, bundleWith(func(b *verify.Bundle) {
		b.Entries[2].Envelope = strings.Replace(b.Entries[2].Envelope, `"sig":"`, `"sig":"A`, 1)
	})},
	{"entry-truncated", "An entry's last byte is missing.", verify.Refused, verify.CodeProof, bundleWith(func(b *verify.Bundle) {
		b.Entries[2].Envelope = strings.TrimSuffix(b.Entries[2].Envelope, "}")
	})},
	{"entry-of-other-proof", "The proofs of two entries were swapped with their entries.", verify.Refused, verify.CodeProof, bundleWith(func(b *verify.Bundle) {
		b.Entries[2].Envelope, b.Entries[3].Envelope = b.Entries[3].Envelope, b.Entries[2].Envelope
	})},
	{"proof-index-changed", "The proof names another place.", verify.Refused, verify.CodeProof, bundleWith(func(b *verify.Bundle) {
		b.Entries = append(b.Entries[:8], b.Entries[9])
		b.Entries[8].Proof = strings.Replace(b.Entries[8].Proof, "index 9\n", "index 8\n", 1)
	})},
	{"proof-index-beyond-log", "The proof names a place that the log does not have.", verify.Refused, verify.CodeProof, proofText("index 9\n", "index 9223372036854775807\n")},
	{"proof-index-not-canonical", "The index has a leading zero.", verify.Refused, verify.CodeProof, proofText("index 9\n", "index 09\n")},
	{"proof-index-negative", "The index is negative.", verify.Refused, verify.CodeProof, proofText("index 9\n", "index -9\n")},
	{"proof-of-another-version", "The proof's first line is of another version.", verify.Refused, verify.CodeProof, proofText("@v1\n", "@v2\n")},
	{"proof-without-checkpoint", "The proof ends after its hashes.", verify.Refused, verify.CodeProof, bundleWith(func(b *verify.Bundle) {
		b.Entries[0].Proof, _, _ = strings.Cut(b.Entries[0].Proof, "\n\n")
	})},
	{"proof-hash-missing", "A hash of the proof is missing.", verify.Refused, verify.CodeProof, bundleWith(func(b *verify.Bundle) {
		lines := strings.SplitN(b.Entries[4].Proof, "\n", 4)
		b.Entries[4].Proof = lines[0] + "\n" + lines[1] + "\n" + lines[3]
	})},
	{"proof-too-many-hashes", "A proof of 64 hashes.", verify.Refused, verify.CodeProof, proofText("index 9\n", "index 9\n"+strings.Repeat(strings.Repeat("A", 43)+"=\n", 64))},
	{"statement-not-canonical", "The log holds an envelope with a space in it.", verify.Refused, verify.CodeStatement, logged(func(v *verifytest.Vendor) []byte {
		return append(v.Envelope([]byte(shortPayload), v.Keys["src"]), '\n')
	})},
	{"statement-too-big", "The log holds an envelope of more than 65535 bytes.", verify.Refused, verify.CodeStatement, saying(strings.Replace(shortPayload, "{}", `{"x":"`+strings.Repeat("x", 50_000)+`"}`, 1))},
	{"statement-truncated", "The signed payload ends early.", verify.Refused, verify.CodeStatement, saying(strings.TrimSuffix(shortPayload, "}"))},
	{"statement-empty", "The signed payload is empty.", verify.Refused, verify.CodeStatement, saying("")},
	{"statement-unsigned", "The envelope has no signature.", verify.Refused, verify.CodeStatement, logged(func(v *verifytest.Vendor) []byte {
		return []byte(strings.Replace(string(v.Envelope([]byte(shortPayload))), "null", "[]", 1))
	})},
	{"statement-signed-twice-by-one-key", "The same key stands twice in an envelope.", verify.Refused, verify.CodeStatement, logged(func(v *verifytest.Vendor) []byte {
		e, sig, _ := strings.Cut(string(v.Envelope([]byte(strings.Replace(shortPayload, "TYPE", "a:b", 1)), v.Keys["src"])), `"signatures":[`)
		sig = strings.TrimSuffix(sig, "]}")
		return []byte(e + `"signatures":[` + sig + "," + sig + "]}")
	})},
	{"statement-kind-by-short-name", "A predicate type that is the short name of a known kind.", verify.Refused, verify.CodeStatement, saying(strings.Replace(shortPayload, "TYPE", "build", 1))},
	{"statement-member-twice", "A member of a predicate stands twice.", verify.Refused, verify.CodeStatement, sourcePayload(`"files":7`, `"files":7,"files":8`)},
	{"statement-member-in-other-case", "A member that differs from a known one in case.", verify.Refused, verify.CodeStatement, sourcePayload(`"files":7`, `"files":7,"Files":8`)},
	{"statement-number-beyond-2-53", "An integer that many readers would round.", verify.Refused, verify.CodeStatement, sourcePayload(`"files":7`, `"files":9007199254740993`)},
	{"statement-number-with-exponent", "An integer written as 7e0.", verify.Refused, verify.CodeStatement, sourcePayload(`"files":7`, `"files":7e0`)},
	{"statement-number-negative", "A count below zero.", verify.Refused, verify.CodeStatement, sourcePayload(`"files":7`, `"files":-7`)},
	{"statement-member-null", "A member that is null.", verify.Refused, verify.CodeStatement, sourcePayload(`"files":7`, `"files":null`)},
	{"statement-time-with-offset", "A time that is not in UTC.", verify.Refused, verify.CodeStatement, sourcePayload(`09:00:00Z`, `09:00:00+01:00`)},
	{"statement-time-not-a-date", "The 30th of February.", verify.Refused, verify.CodeStatement, sourcePayload(`2026-03-01T`, `2026-02-30T`)},
	{"statement-control-character", "A name that turns round what follows it on a page.", verify.Refused, verify.CodeStatement, saying(strings.NewReplacer("TYPE", "a:b", `"x"`, "\"x\u202ey\"").Replace(shortPayload))},
	{"statement-of-other-subject", "The subject is not what the predicate says.", verify.Refused, verify.CodeStatement, sourcePayload(`"commit":"1f`, `"commit":"2f`)},
}
