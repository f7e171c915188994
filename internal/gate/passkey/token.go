package passkey

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"

	"clerestory.dev/clerestory/internal/base/fault"
)

// Token is a secret of 256 random bits: an invitation, a ceremony or a session.
// Its text is 43 letters of base64url.
type Token [32]byte

// String is the token's one text.
func (t Token) String() string { return base64.RawURLEncoding.EncodeToString(t[:]) }

// ParseToken reads a token's text; only the exact text that String makes.
func ParseToken(text string) (Token, error) {
	var t Token
	if len(text) != base64.RawURLEncoding.EncodedLen(len(t)) {
		return t, fault.Denied.New("this is not a token")
	}
	n, err := base64.RawURLEncoding.Strict().Decode(t[:], []byte(text))
	// Go's decoder skips line breaks, so the length is checked as well.
	if err != nil || n != len(t) {
		return Token{}, fault.Denied.New("this is not a token")
	}
	return t, nil
}

func newToken(random io.Reader) (Token, error) {
	var t Token
	if _, err := io.ReadFull(random, t[:]); err != nil {
		return Token{}, fmt.Errorf("making a token: %w", err)
	}
	return t, nil
}

// hash is how the database knows a token. The purpose keeps an invitation from
// being taken for a session. No salt: 256 random bits can not be guessed.
func (t Token) hash(purpose string) string {
	sum := sha256.Sum256([]byte("clerestory.dev/token/v1\n" + purpose + "\n" + string(t[:])))
	return hex.EncodeToString(sum[:])
}

func sameHash(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
