//go:build !js

package statement

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"math/big"
	"testing"
)

// theirs is the standard library's judgement of (r, s).
func theirs(k PublicKey, hash, r, s []byte) bool {
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), k)
	return err == nil && ecdsa.Verify(key, hash, new(big.Int).SetBytes(r), new(big.Int).SetBytes(s))
}

func pad(n *big.Int) []byte { return n.FillBytes(make([]byte, 32)) }

// The browser's arithmetic agrees with the standard library on good signatures,
// changed ones, and numbers at the edges.
func TestPlainP256AgreesWithTheStandardLibrary(t *testing.T) {
	one := big.NewInt(1)
	edges := []*big.Int{new(big.Int), one, big.NewInt(2), new(big.Int).Sub(p256N, one), p256N, new(big.Int).Add(p256N, one),
		new(big.Int).Sub(p256P, one), p256P, new(big.Int).Sub(new(big.Int).Lsh(one, 256), one)}
	for i := range 20 {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		public, _ := RawKey(private.Public())
		hash := sha256.Sum256(fmt.Append(nil, i))
		r, s, err := ecdsa.Sign(rand.Reader, private, hash[:])
		if err != nil {
			t.Fatal(err)
		}
		if !plainVerify(public, hash[:], pad(r), pad(s)) {
			t.Fatalf("a good signature was refused: %x %x %x", public, r, s)
		}
		other := sha256.Sum256([]byte("other"))
		if plainVerify(public, other[:], pad(r), pad(s)) || plainVerify(public, hash[:], pad(s), pad(r)) {
			t.Fatal("a changed signature was accepted")
		}
		for _, a := range edges {
			for _, b := range append(edges, r, s) {
				if plainVerify(public, hash[:], pad(a), pad(b)) != theirs(public, hash[:], pad(a), pad(b)) ||
					plainVerify(public, hash[:], pad(b), pad(a)) != theirs(public, hash[:], pad(b), pad(a)) {
					t.Errorf("they differ on r = %x, s = %x", a, b)
				}
			}
		}
	}
}

// Keys that make the two parts of the sum meet: q = g (a doubling inside), q = -g
// (the sum is the point at infinity), q = 2g, and hashes of zero.
func TestPlainP256AtThePointsThatFormulasLeaveOut(t *testing.T) {
	n := p256N
	for _, d := range []*big.Int{big.NewInt(1), new(big.Int).Sub(n, big.NewInt(1)), big.NewInt(2), new(big.Int).Sub(n, big.NewInt(2)), big.NewInt(3)} {
		private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), pad(d))
		if err != nil {
			t.Fatal(err)
		}
		public, _ := RawKey(private.Public())
		for _, hash := range [][]byte{make([]byte, 32), pad(big.NewInt(1)), pad(n), pad(new(big.Int).Sub(n, big.NewInt(1))), pad(d)} {
			r, s, err := ecdsa.Sign(rand.Reader, private, hash)
			if err != nil {
				t.Fatal(err)
			}
			if !plainVerify(public, hash, pad(r), pad(s)) {
				t.Errorf("d = %v, hash %x: a good signature was refused", d, hash)
			}
			// u1 and u2 equal, opposite, and small.
			for _, x := range []*big.Int{new(big.Int).SetBytes(hash), big.NewInt(1), d} {
				if x.Sign() > 0 && x.Cmp(n) < 0 && plainVerify(public, hash, pad(x), pad(x)) != theirs(public, hash, pad(x), pad(x)) {
					t.Errorf("they differ on d = %v, hash %x, r = s = %v", d, hash, x)
				}
			}
		}
	}
}

func FuzzPlainP256(f *testing.F) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	public, _ := RawKey(private.Public())
	hash := sha256.Sum256([]byte("m"))
	r, s, _ := ecdsa.Sign(rand.Reader, private, hash[:])
	f.Add([]byte(public), hash[:], pad(r), pad(s))
	f.Fuzz(func(t *testing.T, k, hash, r, s []byte) {
		if len(hash) != 32 || len(r) != 32 || len(s) != 32 {
			return
		}
		if (plainPoint(k) != nil) != (PublicKey(k).Algorithm() == p256Scheme && PublicKey(k).onCurve()) {
			t.Fatalf("they differ on the key %x", k)
		}
		if PublicKey(k).Algorithm() == p256Scheme && plainVerify(k, hash, r, s) != theirs(k, hash, r, s) {
			t.Fatalf("they differ on %x %x %x %x", k, hash, r, s)
		}
	})
}
