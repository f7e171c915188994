package statement_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify/verifytest"
)

// theirs is a key of ours behind the interface of somebody else's DSSE.
type theirs struct{ k *verifytest.Key }

func (t theirs) KeyID() (string, error)   { return t.k.KeyID(), nil }
func (t theirs) Public() crypto.PublicKey { return t.k.Public() }
func (t theirs) Sign(_ context.Context, data []byte) ([]byte, error) {
	return t.k.Sign(data)
}
func (t theirs) Verify(_ context.Context, data, sig []byte) error {
	if !ed25519.Verify(t.k.Public(), data, sig) {
		return errors.New("wrong signature")
	}
	return nil
}

func payload(t *testing.T) []byte {
	t.Helper()
	s := &statement.Source{Product: "p", Repository: "r", Commit: verifytest.Commit, Tree: verifytest.Tree, At: verifytest.At}
	p, err := statement.New([]statement.Subject{{Name: "r", Digest: map[string]string{"gitCommit": s.Commit, "gitTree": s.Tree}}}, s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestOurEnvelopesVerifyElsewhere(t *testing.T) {
	a, b := verifytest.NewKey("a"), verifytest.NewKey("b")
	e, err := statement.Sign(payload(t), a, b)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := e.Format()
	if err != nil {
		t.Fatal(err)
	}
	var other dsse.Envelope
	if err := json.Unmarshal(raw, &other); err != nil {
		t.Fatal(err)
	}
	v, err := dsse.NewMultiEnvelopeVerifier(2, theirs{a}, theirs{b})
	if err != nil {
		t.Fatal(err)
	}
	if keys, err := v.Verify(t.Context(), &other); err != nil || len(keys) != 2 {
		t.Errorf("somebody else's DSSE: %d keys, %v", len(keys), err)
	}
}

func TestEnvelopesOfOthersVerifyHere(t *testing.T) {
	a := verifytest.NewKey("a")
	s, err := dsse.NewEnvelopeSigner(theirs{a})
	if err != nil {
		t.Fatal(err)
	}
	other, err := s.SignPayload(t.Context(), statement.PayloadType, payload(t))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(other)
	if err != nil {
		t.Fatal(err)
	}
	// Their encoder escapes differently; decoding and formatting gives our form.
	var e statement.Envelope
	if err := json.Unmarshal(raw, &e); err != nil {
		t.Fatal(err)
	}
	canonical, err := e.Format()
	if err != nil {
		t.Fatal(err)
	}
	got, err := statement.ParseEnvelope(canonical)
	if err != nil {
		t.Fatal(err)
	}
	if !got.SignedBy(a.Public(), got.Signatures[0]) {
		t.Error("the signature does not verify here")
	}
}

func TestEnvelopeHasOneEncoding(t *testing.T) {
	a, b := verifytest.NewKey("a"), verifytest.NewKey("b")
	e, err := statement.Sign([]byte("x?>"), a, b)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := e.Format()
	if err != nil {
		t.Fatal(err)
	}
	good := string(raw)
	if _, err := statement.ParseEnvelope(raw); err != nil {
		t.Fatal(err)
	}
	sigs := good[strings.Index(good, `"signatures"`):]
	for name, bad := range map[string]string{
		"a space":              strings.Replace(good, ":", ": ", 1),
		"an unknown member":    strings.Replace(good, `{"p`, `{"x":1,"p`, 1),
		"other order":          "{" + strings.TrimSuffix(sigs, "}") + `,` + strings.TrimSuffix(good[1:strings.Index(good, `"signatures"`)], ",") + "}",
		"URL base64":           strings.Replace(good, `"eD8+"`, `"eD8-"`, 1),
		"base64 without pad":   strings.Replace(good, "==", "", 1),
		"base64 with newline":  strings.Replace(good, `"eD8+"`, `"eD8+\n"`, 1),
		"an escaped character": strings.Replace(good, `"eD8+"`, `"eD8\u002b"`, 1),
		"upper-case key id":    strings.Replace(good, a.KeyID(), strings.ToUpper(a.KeyID()), 1),
		"member in other case": strings.Replace(good, `"payload":`, `"Payload":`, 1),
		"the same key twice":   strings.Replace(good, b.KeyID(), a.KeyID(), 1),
		"no signature":         good[:strings.Index(good, `"signatures"`)] + `"signatures":[]}`,
		"null payload":         strings.Replace(good, `"eD8+"`, `null`, 1),
		"other payload type":   strings.Replace(good, "in-toto", "out-toto", 1),
		"a short signature":    strings.Replace(good, `"sig":"`, `"sig":"AAAA`, 1),
		"too long":             strings.Replace(good, `"eD8+"`, `"`+strings.Repeat("A", 65536)+`"`, 1),
		"nothing":              "",
	} {
		if bad == good {
			t.Fatalf("%s changes nothing", name)
		}
		if _, err := statement.ParseEnvelope([]byte(bad)); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if err := e.AddSignature(a); err == nil {
		t.Error("one key signed twice")
	}
}

// FuzzParseEnvelope: what is accepted has one encoding, and that is it.
func FuzzParseEnvelope(f *testing.F) {
	e, err := statement.Sign([]byte("{}"), verifytest.NewKey("a"))
	if err != nil {
		f.Fatal(err)
	}
	raw, err := e.Format()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"payloadType":"application/vnd.in-toto+json","payload":"","signatures":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := statement.ParseEnvelope(b)
		if err != nil {
			return
		}
		if again, err := e.Format(); err != nil || string(again) != string(b) {
			t.Errorf("accepted %q, which encodes as %q (%v)", b, again, err)
		}
	})
}
