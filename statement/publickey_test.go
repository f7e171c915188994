//go:build !js

package statement_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"math/big"
	"testing"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify/verifytest"
)

func p256(t *testing.T) (*ecdsa.PrivateKey, statement.PublicKey) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := statement.RawKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return k, raw
}

func TestKeyIDsAreThoseOfTUF(t *testing.T) {
	_, card := p256(t)
	for _, k := range []statement.PublicKey{card, statement.PublicKey(verifytest.NewKey("a").Public())} {
		public, err := k.Crypto()
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := metadata.KeyFromPublicKey(public)
		if err != nil {
			t.Fatal(err)
		}
		id, err := theirs.ID()
		if err != nil || k.ID() != id || k.Text() != theirs.Value.PublicKey || k.Algorithm() != theirs.Scheme {
			t.Errorf("%s: id %s, theirs is %s, %v", k.Algorithm(), k.ID(), id, err)
		}
	}
}

func TestAP256SignatureHasOneForm(t *testing.T) {
	private, public := p256(t)
	message := []byte("DSSEv1 1 x 1 y")
	sum := sha256.Sum256(message)
	n := elliptic.P256().Params().N
	for range 64 { // about half of them come with the larger s
		sig, err := ecdsa.SignASN1(rand.Reader, private, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		low := public.Canonical(sig)
		if !public.Verify(message, low) {
			t.Fatalf("%x is not accepted as %x", sig, low)
		}
		if string(public.Canonical(low)) != string(low) {
			t.Fatal("the one form changes again")
		}
		r, s := halves(t, low)
		twin := statement.JoinP256(r, new(big.Int).Sub(n, new(big.Int).SetBytes(s)).Bytes())
		if !ecdsa.VerifyASN1(&private.PublicKey, sum[:], twin) {
			t.Fatal("the twin is no signature: this test shows nothing")
		}
		if public.Verify(message, twin) {
			t.Error("anybody can make a second signature from a first one")
		}
	}
}

// halves reads r and s of a signature without care.
func halves(t *testing.T, sig []byte) (r, s []byte) {
	t.Helper()
	at := 4 + int(sig[3])
	return sig[4:at], sig[at+2:]
}

func TestKeysAndSignaturesOfOtherFormsAreRefused(t *testing.T) {
	private, public := p256(t)
	message := []byte("m")
	sum := sha256.Sum256(message)
	sig, err := ecdsa.SignASN1(rand.Reader, private, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	sig = public.Canonical(sig)
	r, s := halves(t, sig)
	off := append(statement.PublicKey{}, public...)
	off[64] ^= 1
	compressed := append(statement.PublicKey{2 | public[64]&1}, public[1:33]...)
	for name, k := range map[string]statement.PublicKey{
		"a point that is not on the curve": off, "a compressed point": compressed, "none": nil, "the point at infinity": make(statement.PublicKey, 65),
	} {
		if k.Check() == nil || k.Verify(message, sig) {
			t.Errorf("%s was accepted as a key", name)
		}
	}
	long := append([]byte{0x30, 0x81, byte(len(sig) - 2)}, sig[2:]...)
	padded := append([]byte{0x30, byte(len(sig) - 1), 0x02, byte(len(r) + 1), 0}, append(append(append([]byte{}, r...), 0x02, byte(len(s))), s...)...)
	for name, bad := range map[string][]byte{
		"a long length": long, "a padded r": padded, "more behind it": append(append([]byte{}, sig...), 0), "raw r and s": append(append([]byte{}, r...), s...),
		"nothing": nil, "zeros": statement.JoinP256([]byte{0}, []byte{0}), "cut short": sig[:len(sig)-1],
	} {
		if public.Verify(message, bad) {
			t.Errorf("%s was accepted as a signature", name)
		}
	}
	if !public.Verify(message, sig) || public.Verify([]byte("other"), sig) {
		t.Error("the good signature does not tell messages apart")
	}
}

func FuzzP256Signature(f *testing.F) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	sum := sha256.Sum256([]byte("m"))
	public, _ := statement.RawKey(private.Public())
	for range 3 {
		sig, _ := ecdsa.SignASN1(rand.Reader, private, sum[:])
		f.Add(sig)
	}
	f.Fuzz(func(t *testing.T, sig []byte) {
		// What passes here passes the standard library, and its one form too.
		if public.Verify([]byte("m"), sig) && !ecdsa.VerifyASN1(&private.PublicKey, sum[:], sig) {
			t.Fatalf("%x", sig)
		}
		if ecdsa.VerifyASN1(&private.PublicKey, sum[:], sig) != public.Verify([]byte("m"), public.Canonical(sig)) {
			t.Fatalf("the one form of %x is judged differently", sig)
		}
	})
}
