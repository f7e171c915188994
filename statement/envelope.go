package statement

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// PayloadType is the DSSE payload type of an in-toto Statement.
const PayloadType = "application/vnd.in-toto+json"

// Envelope is a DSSE envelope (secure-systems-lab/dsse, envelope.md) in the one
// form that is accepted here: compact JSON, padded standard base64, no other
// members. So an envelope has exactly one encoding, and its bytes can be hashed.
type Envelope struct {
	PayloadType string      `json:"payloadType"`
	Payload     []byte      `json:"payload"`
	Signatures  []Signature `json:"signatures"`
}

// Signature is one signature of an envelope; KeyID names the key (see [KeyID]).
type Signature struct {
	KeyID string `json:"keyid"`
	Sig   []byte `json:"sig"`
}

// PAE is the DSSE pre-authentication encoding: the bytes that are signed
// (dsse protocol.md, "Signature Definition").
func PAE(payloadType string, payload []byte) []byte {
	b := make([]byte, 0, len(payload)+len(payloadType)+32)
	b = append(b, "DSSEv1 "...)
	b = strconv.AppendInt(b, int64(len(payloadType)), 10)
	b = append(b, ' ')
	b = append(b, payloadType...)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(len(payload)), 10)
	b = append(b, ' ')
	return append(b, payload...)
}

// Signer makes one DSSE signature. Implementations hold the private key in
// memory, in an agent or in hardware; Sign may be called concurrently.
type Signer interface {
	KeyID() string
	// Sign signs message, which is already the pre-authentication encoding.
	Sign(message []byte) ([]byte, error)
}

// Sign makes an envelope over payload with one signature per signer, in order.
func Sign(payload []byte, signers ...Signer) (*Envelope, error) {
	e := &Envelope{PayloadType: PayloadType, Payload: payload}
	for _, s := range signers {
		if err := e.AddSignature(s); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// AddSignature signs the envelope's payload once more. A key signs only once.
func (e *Envelope) AddSignature(s Signer) error {
	for _, have := range e.Signatures {
		if have.KeyID == s.KeyID() {
			return fmt.Errorf("key %s has signed this already", s.KeyID())
		}
	}
	sig, err := s.Sign(PAE(e.PayloadType, e.Payload))
	if err != nil {
		return fmt.Errorf("signing with key %s: %w", s.KeyID(), err)
	}
	e.Signatures = append(e.Signatures, Signature{KeyID: s.KeyID(), Sig: sig})
	return nil
}

// SignedBy tells whether sig is public's signature over the envelope's payload.
func (e *Envelope) SignedBy(public []byte, sig Signature) bool {
	return sig.KeyID == KeyID(public) && PublicKey(public).Verify(PAE(e.PayloadType, e.Payload), sig.Sig)
}

// Format returns the envelope's one encoding: a log entry's bytes. What
// ParseEnvelope would refuse is not formatted.
func (e *Envelope) Format() ([]byte, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	b, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encoding the envelope: %w", err)
	}
	if len(b) > Limits.Envelope {
		return nil, fmt.Errorf("the envelope has %d bytes; a log entry holds at most %d", len(b), Limits.Envelope)
	}
	return b, nil
}

// ParseEnvelope reads an envelope and refuses every encoding but the one that
// Format gives. It checks no signature.
func ParseEnvelope(b []byte) (*Envelope, error) {
	if len(b) > Limits.Envelope {
		return nil, fmt.Errorf("the envelope has %d bytes; at most %d are allowed", len(b), Limits.Envelope)
	}
	var e Envelope
	if err := json.Unmarshal(b, &e); err != nil {
		return nil, fmt.Errorf("reading the envelope: %w", jsonError(err))
	}
	if again, err := json.Marshal(&e); err != nil || !bytes.Equal(again, b) {
		return nil, errors.New("the envelope is not in canonical form (compact JSON, members payloadType, payload, signatures, padded base64)")
	}
	return &e, e.check()
}

// check says what is wrong with an envelope's members, or nil.
func (e *Envelope) check() error {
	if e.PayloadType != PayloadType {
		return fmt.Errorf("payloadType is %q; expected %q", clip(e.PayloadType), PayloadType)
	}
	if n := len(e.Signatures); n == 0 || n > Limits.Signatures {
		return fmt.Errorf("an envelope has 1 to %d signatures; this one has %d", Limits.Signatures, n)
	}
	if len(e.Payload) == 0 {
		return errors.New("the payload is empty")
	}
	for i, s := range e.Signatures {
		if err := checkHex("keyid", s.KeyID, sha256.Size); err != nil {
			return fmt.Errorf("signatures[%d]: %w", i, err)
		}
		// A key that stands twice could be counted twice.
		if slices.ContainsFunc(e.Signatures[:i], func(o Signature) bool { return o.KeyID == s.KeyID }) {
			return fmt.Errorf("signatures[%d]: key %s stands twice", i, s.KeyID)
		}
		if len(s.Sig) != ed25519.SignatureSize && !isLowS(s.Sig) {
			return fmt.Errorf("signatures[%d]: neither an Ed25519 signature (64 bytes) nor a P-256 one (DER, low s); it has %d bytes", i, len(s.Sig))
		}
	}
	return nil
}

// HashOf is the SHA-256 of an encoded envelope in hex: how statements name each
// other. It is not the log's leaf hash, which has a prefix byte.
func HashOf(envelope []byte) string {
	sum := sha256.Sum256(envelope)
	return hex.EncodeToString(sum[:])
}

// Base64 is the padded standard alphabet that envelopes and keys use.
var Base64 = base64.StdEncoding
