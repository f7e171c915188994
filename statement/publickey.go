package statement

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

// PublicKey is the raw form of a key that may sign, told apart by its length: 32
// bytes are Ed25519 (RFC 8032), 65 are a point of P-256, uncompressed (SEC 1,
// section 2.3.3). Ed25519 is what our own key files hold; P-256 is what smart
// cards and security modules can do.
type PublicKey []byte

// The lengths of the raw forms, and TUF's names of what they sign with.
const (
	ed25519Key    = ed25519.PublicKeySize
	p256Key       = 65
	ed25519Scheme = "ed25519"
	p256Scheme    = "ecdsa-sha2-nistp256"
)

// Algorithm names the kind of key as TUF names its scheme, or "" for neither.
func (k PublicKey) Algorithm() string {
	switch {
	case len(k) == ed25519Key:
		return ed25519Scheme
	case len(k) == p256Key && k[0] == 4:
		return p256Scheme
	}
	return ""
}

// Check says what is wrong with a key, or nil: its length, and for P-256 that
// the point is on the curve.
func (k PublicKey) Check() error {
	switch k.Algorithm() {
	case "":
		return fmt.Errorf("a public key has %d bytes (Ed25519) or %d (P-256, uncompressed); this one has %d", ed25519Key, p256Key, len(k))
	case p256Scheme:
		if !k.onCurve() {
			return errors.New("the public key is not a point of P-256")
		}
	}
	return nil
}

// Verify tells whether sig is this key's signature over message. For P-256 it
// is ASN.1 DER over the SHA-256 of message, in its one form (see [PublicKey.Canonical]).
func (k PublicKey) Verify(message, sig []byte) bool {
	switch k.Algorithm() {
	case ed25519Scheme:
		return len(sig) == ed25519.SignatureSize && ed25519.Verify(ed25519.PublicKey(k), message, sig)
	case p256Scheme:
		sum := sha256.Sum256(message)
		return isLowS(sig) && k.verifyP256(sum[:], sig)
	}
	return false
}

// ID is the key's id: see [KeyID].
func (k PublicKey) ID() string { return KeyID(k) }

// Text is the key as the TUF key object's member "public" has it: hex for
// Ed25519, a PEM block of the SubjectPublicKeyInfo for P-256.
func (k PublicKey) Text() string {
	if k.Algorithm() != p256Scheme {
		return hex.EncodeToString(k)
	}
	text := Base64.EncodeToString(append(bytes.Clone(spkiP256), k...))
	return "-----BEGIN PUBLIC KEY-----\n" + text[:64] + "\n" + text[64:] + "\n-----END PUBLIC KEY-----\n"
}

// spkiP256 is what stands before the point in a SubjectPublicKeyInfo of P-256
// (RFC 5480). Written out, because crypto/x509 is too heavy for a browser.
var spkiP256 = []byte{0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
	0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00}

// KeyID is the TUF key id of a public key: the SHA-256 of the key object in
// canonical JSON (TUF 1.0, section 4.2), in hex. Statements and the TUF root use
// the same ids.
func KeyID(public []byte) string {
	k := PublicKey(public)
	keyType := "ed25519"
	if k.Algorithm() == p256Scheme {
		keyType = "ecdsa"
	}
	sum := sha256.Sum256([]byte(`{"keytype":"` + keyType + `","keyval":{"public":"` + k.Text() + `"},"scheme":"` + k.Algorithm() + `"}`))
	return hex.EncodeToString(sum[:])
}

// halfP256 is half the order of P-256, and orderP256 the order.
var (
	orderP256, _ = hex.DecodeString("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551")
	halfP256, _  = hex.DecodeString("7fffffff800000007fffffffffffffffde737d56d38bcf4279dce5617e3192a8")
)

// Canonical gives a signature its one form. An ECDSA signature (r, s) is as good
// as (r, n-s), which anybody can make from it, so only the one with the smaller
// s is accepted; what a card or another program gives is brought to it here.
// Other signatures are returned as they are.
func (k PublicKey) Canonical(sig []byte) []byte {
	if k.Algorithm() != p256Scheme {
		return sig
	}
	r, s, ok := splitDER(sig)
	if !ok || bytes.Compare(s, halfP256) <= 0 || bytes.Compare(s, orderP256) >= 0 {
		return sig
	}
	low, borrow := make([]byte, 32), 0
	for i := 31; i >= 0; i-- {
		d := int(orderP256[i]) - int(s[i]) - borrow
		borrow = (d >> 8) & 1
		low[i] = byte(d)
	}
	return JoinP256(r, low)
}

// isLowS tells whether sig is a P-256 signature in its one form.
func isLowS(sig []byte) bool {
	_, s, ok := splitDER(sig)
	return ok && bytes.Compare(s, halfP256) <= 0
}

// splitDER reads SEQUENCE { INTEGER r, INTEGER s } in strict DER into two times
// 32 bytes.
func splitDER(sig []byte) (r, s []byte, ok bool) {
	if len(sig) < 2 || len(sig) > 72 || sig[0] != 0x30 || int(sig[1]) != len(sig)-2 {
		return nil, nil, false
	}
	r, rest, ok := integerDER(sig[2:])
	if !ok {
		return nil, nil, false
	}
	s, rest, ok = integerDER(rest)
	return r, s, ok && len(rest) == 0
}

func integerDER(b []byte) (value, rest []byte, ok bool) {
	if len(b) < 3 || b[0] != 0x02 || int(b[1]) > len(b)-2 || b[1] == 0 {
		return nil, nil, false
	}
	v, rest := b[2:2+int(b[1])], b[2+int(b[1]):]
	switch {
	case v[0] >= 0x80: // negative
		return nil, nil, false
	case v[0] == 0 && (len(v) == 1 || v[1] < 0x80): // zero, or longer than needed
		return nil, nil, false
	case v[0] == 0:
		v = v[1:]
	}
	if len(v) > 32 {
		return nil, nil, false
	}
	return append(make([]byte, 32-len(v)), v...), rest, true
}

// JoinP256 makes the DER form of a P-256 signature from r and s, big-endian, as
// agents and cards give them; nil when one does not fit.
func JoinP256(r, s []byte) []byte {
	body := append(derInteger(r), derInteger(s)...)
	sig := append([]byte{0x30, byte(len(body))}, body...)
	if _, _, ok := splitDER(sig); !ok {
		return nil
	}
	return sig
}

func derInteger(b []byte) []byte {
	b = bytes.TrimLeft(b, "\x00")
	if len(b) > 33 {
		b = b[:33] // refused by the caller's check
	}
	if len(b) == 0 || b[0] >= 0x80 {
		b = append([]byte{0}, b...)
	}
	return append([]byte{0x02, byte(len(b))}, b...)
}
