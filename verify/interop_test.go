package verify_test

import (
	"bytes"
	"crypto"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"
	fnote "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/formats/proof"
	"github.com/transparency-dev/formats/witness"
	"golang.org/x/mod/sumdb/note"

	"clerestory.dev/clerestory/verify"
	"clerestory.dev/clerestory/verify/verifytest"
)

func TestOurRootIsATUFRoot(t *testing.T) {
	v := verifytest.New(t)
	root, err := metadata.Root().FromBytes(v.TrustFile())
	if err != nil {
		t.Fatal(err)
	}
	if err := root.VerifyDelegate("root", root); err != nil {
		t.Errorf("go-tuf does not believe our root: %v", err)
	}
	if ext, ok := root.Signed.UnrecognizedFields["x-clerestory"].(map[string]any); !ok || ext["vendor"] != "lantern-works" {
		t.Errorf("go-tuf lost what we added: %v", root.Signed.UnrecognizedFields)
	}
	again, err := root.ToBytes(true)
	if err != nil {
		t.Fatal(err)
	}
	trust, err := verify.ParseTrust(again)
	if err != nil || trust.Fingerprint() != v.Trust().Fingerprint() {
		t.Errorf("our root, written again by go-tuf: %v", err)
	}
}

func TestATUFRootIsOurRoot(t *testing.T) {
	v := verifytest.New(t)
	root := metadata.Root(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))
	ext, err := json.Marshal(v.Root.Clerestory)
	if err != nil {
		t.Fatal(err)
	}
	var free map[string]any
	if err := json.Unmarshal(ext, &free); err != nil {
		t.Fatal(err)
	}
	root.Signed.UnrecognizedFields = map[string]any{"x-clerestory": free}
	for _, k := range v.RootKeys {
		key, err := metadata.KeyFromPublicKey(k.Private.Public())
		if err != nil {
			t.Fatal(err)
		}
		if err := root.Signed.AddKey(key, "root"); err != nil {
			t.Fatal(err)
		}
	}
	root.Signed.Roles["root"].Threshold = 2
	for i, k := range v.RootKeys[:2] {
		if file, err := root.ToBytes(false); err != nil {
			t.Fatal(err)
		} else if _, err := verify.ParseTrust(file); err == nil {
			t.Errorf("believed with %d signatures", i)
		}
		signer, err := signature.LoadSigner(k.Private, crypto.Hash(0))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := root.Sign(signer); err != nil {
			t.Fatal(err)
		}
	}
	for _, pretty := range []bool{false, true} {
		file, err := root.ToBytes(pretty)
		if err != nil {
			t.Fatal(err)
		}
		trust, err := verify.ParseTrust(file)
		if err != nil {
			t.Fatal(err)
		}
		i := released(v)
		if r := verify.JudgeBundle(file, i.bundle, i.file, i.now); r.Verdict != verify.Verified {
			t.Errorf("under root %s: %s", trust.Fingerprint(), r.Reason)
		}
	}
}

// A key on a card has line ends in its TUF form: both must sign the same bytes.
func TestARootWithACardIsATUFRoot(t *testing.T) {
	v := verifytest.New(t)
	keys := []*verifytest.Key{verifytest.NewCard("a"), verifytest.NewCard("b"), v.RootKeys[0]}
	for i := range keys {
		signers := []*verifytest.Key{keys[i], keys[(i+1)%3]}
		file := v.SignRoot(v.NewRoot(1, keys...), signers...)
		if _, err := verify.ParseTrust(file); err != nil {
			t.Fatal(err)
		}
		root, err := metadata.Root().FromBytes(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := root.VerifyDelegate("root", root); err != nil {
			t.Errorf("go-tuf: %v", err)
		}
	}
}

func TestCosignaturesOfOthers(t *testing.T) {
	v := verifytest.New(t)
	text := v.Log.Text(v.Log.Size())
	// Ours verify with theirs.
	for _, w := range v.Witnesses {
		theirs, err := fnote.NewVerifierForCosignatureV1(w.VKey())
		if err != nil {
			t.Fatal(err)
		}
		n, err := note.Open(v.Log.Sign(text, v.Seen, w), note.VerifierList(theirs))
		if err != nil || len(n.Sigs) != 1 {
			t.Fatalf("%s: %v", w.Name, err)
		}
		if at, err := fnote.CoSigV1Timestamp(n.Sigs[0]); err != nil || !at.Equal(v.Seen) {
			t.Errorf("%s cosigned at %v (%v)", w.Name, at, err)
		}
	}
	// Theirs verify with ours.
	cp := v.Log.Sign(text, v.Seen)
	known, err := note.NewVerifier(v.Log.VKey())
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range v.Witnesses[1:] {
		signer, err := fnote.NewSignerForCosignatureV1(w.SKey())
		if err != nil {
			t.Fatal(err)
		}
		n, err := note.Open(cp, note.VerifierList(known))
		if err != nil {
			t.Fatal(err)
		}
		if cp, err = note.Sign(n, signer); err != nil {
			t.Fatal(err)
		}
	}
	got, err := v.Trust().Policy.Open(cp)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Cosigned) != 2 || got.Size != v.Log.Size() || time.Since(got.Time()) > time.Minute {
		t.Errorf("opened as %+v", got)
	}
}

func TestProofsOfOthers(t *testing.T) {
	v := verifytest.New(t)
	released(v)
	cp := v.Checkpoint()
	for i := range v.Log.Size() {
		ours := v.Log.Prove(i, v.Log.Size(), cp)
		var theirs proof.TLogProof
		if err := theirs.Unmarshal(ours); err != nil {
			t.Fatal(err)
		}
		if again := theirs.Marshal(); !bytes.Equal(again, ours) {
			t.Errorf("they write our proof as %q", again)
		}
		theirs.ExtraData = []byte("more")
		p, err := verify.ParseProof(theirs.Marshal())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(p.Format(), ours) {
			t.Errorf("we read their proof as %q", p.Format())
		}
	}
}

func TestPoliciesOfOthers(t *testing.T) {
	v := verifytest.New(t)
	w := []string{v.Witnesses[0].VKey() + " https://a.example/x", v.Witnesses[1].VKey() + " https://b.example/", v.Witnesses[2].VKey() + " http://127.0.0.1:8080"}
	names := []string{"one", "two", "three"}
	all := "log " + v.Log.VKey() + " https://log.example/\n"
	for i := range w {
		all += "\twitness  " + names[i] + "\t" + w[i] + "\n"
	}
	for name, tail := range map[string]string{
		"one witness": "quorum two\n", "none": "quorum none\n", "any": "group g any one two three\nquorum g\n",
		"all": "group g all one two\nquorum g", "number": "# two of three\n\n  # more\ngroup g 2 one two three\nquorum g\n",
		"groups of groups": "group x any one two\ngroup y all x three\nquorum y\n",
		"log after quorum": "quorum one\n",
	} {
		text := all + tail
		if name == "log after quorum" {
			first, rest, _ := strings.Cut(all, "\n")
			text = rest + tail + first + "\n"
		}
		theirs, err := witness.ParsePolicy([]byte(text))
		if err != nil {
			t.Fatalf("%s: formats/witness: %v", name, err)
		}
		ours, err := verify.ParsePolicy([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		// Both say the same of every set of witnesses.
		for set := range 8 {
			var by []*verifytest.Witness
			for i, x := range v.Witnesses {
				if set>>i&1 == 1 {
					by = append(by, x)
				}
			}
			cp := v.Log.Sign(v.Log.Text(v.Log.Size()), v.Seen, by...)
			if _, err := ours.Open(cp); (err == nil) != theirs.Satisfied(cp) {
				t.Errorf("%s, witnesses %03b: %v", name, set, err)
			}
		}
	}
}

func TestPoliciesThatAreRefused(t *testing.T) {
	v := verifytest.New(t)
	log, w := "log "+v.Log.VKey()+"\n", "witness a "+v.Witnesses[0].VKey()+"\n"
	for name, text := range map[string]string{
		"no quorum": log + w, "unknown quorum": log + w + "quorum b\n", "a name twice": w + w + "quorum a\n", "a keyword as a name": strings.Replace(w, " a ", " any ", 1) + "quorum none\n",
		"none in a group": w + "group g any a none\nquorum g\n", "a group before its member": "group g any a\n" + w + "quorum g\n", "itself": w + "group g any g\nquorum g\n",
		"threshold 0": w + "group g 0 a\nquorum g\n", "threshold 01": w + "group g 01 a\nquorum g\n", "threshold huge": w + "group g 99999999999999999999 a\nquorum g\n",
		"a log key as witness": "witness a " + v.Log.VKey() + "\nquorum a\n", "a witness key as log": "log " + v.Witnesses[0].VKey() + "\nquorum none\n",
		"two logs": log + log + "quorum none\n", "a control character": "quorum none\r\n", "other white space": "quorum\u00a0none\n", "an unknown word": "quota none\n",
		"a comment at the end": "quorum none # why\n", "a bad URL": strings.Replace(w, "\n", " ftp://a\n", 1) + "quorum a\n", "nothing": "", "too long": "quorum none\n" + strings.Repeat("#\n", 40000),
		"a wrong key hash": strings.Replace(w, "witness1.example+", "witness1.example+0", 1) + "quorum a\n",
	} {
		if _, err := verify.ParsePolicy([]byte(text)); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if _, err := (&verify.Policy{}).Open(v.Checkpoint()); verify.CodeOf(err) != verify.CodeCheckpoint {
		t.Errorf("a policy without a log: %v", err)
	}
}
