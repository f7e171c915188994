//go:build !js

package statement

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"errors"
)

// Crypto is the key as the standard library has it: an ed25519.PublicKey or an
// *ecdsa.PublicKey. In a browser there is no such function.
func (k PublicKey) Crypto() (crypto.PublicKey, error) {
	if err := k.Check(); err != nil {
		return nil, err
	}
	if k.Algorithm() == ed25519Scheme {
		return ed25519.PublicKey(k), nil
	}
	return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), k)
}

// RawKey is the raw form of a key of the standard library.
func RawKey(key crypto.PublicKey) (PublicKey, error) {
	switch k := key.(type) {
	case ed25519.PublicKey:
		return PublicKey(k), nil
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return k.Bytes()
		}
	}
	return nil, errors.New("only Ed25519 and ECDSA P-256 keys can sign here")
}

func (k PublicKey) onCurve() bool {
	_, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), k)
	return err == nil
}

func (k PublicKey) verifyP256(hash, sig []byte) bool {
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), k)
	return err == nil && ecdsa.VerifyASN1(key, hash, sig)
}
