// Package signing carries what is to be signed to keys that never meet: a
// request is a file with the exact bytes, a signer answers it offline with a
// file that holds one signature, and whoever asked puts the answers together.
//
// It promises that a signer is shown what the bytes say, decoded from the bytes
// themselves and safe on a terminal; that an answer belongs to one request only;
// that two answers by one key, or by two keys of one holder, count once. It
// refuses to sign what it can not decode, what has expired, and what the
// request's own words are all that is known of. It does not decide whose keys
// count: the one who asked names them in [Check], and asks package verify last.
//
// Start at [Request], [Describe], [Answer] and [Check].
package signing

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/statement"
)

// Media types of the two files.
const (
	RequestType  = "application/vnd.clerestory.signing-request.v1+json"
	ResponseType = "application/vnd.clerestory.signing-response.v1+json"
)

// What a request is for. The two texts that are signed can not be taken for each
// other: one starts with "DSSEv1 ", the other with "{".
const (
	DSSE = "dsse" // an in-toto statement, signed over its pre-authentication encoding
	TUF  = "tuf"  // the signed part of TUF metadata in canonical JSON
)

// TUFPayload is the payload type of a request for TUF metadata.
const TUFPayload = "application/vnd.tuf+json"

// Limits are the caps on what comes from outside, in one place.
var Limits = struct {
	Request  int           // bytes of a request file
	Response int           // bytes of a response file
	Payload  int           // bytes of TUF metadata; a statement has its own limit
	Keys     int           // keys that may answer
	What     int           // bytes of the sentence
	Life     time.Duration // how far ahead a request may expire
}{Request: 12 << 20, Response: 8 << 10, Payload: 8 << 20, Keys: 64, What: 1000, Life: 90 * 24 * time.Hour}

// Request asks for signatures over Payload. Fill it and call Format.
type Request struct {
	MediaType   string `json:"mediaType"` // set by Format
	Purpose     string `json:"purpose"`   // DSSE or TUF
	What        string `json:"what"`      // one plain sentence; nobody vouches for it
	PayloadType string `json:"payloadType"`
	Payload     []byte `json:"payload"`
	// Keys are the ids of the keys that may answer.
	Keys []string `json:"keys"`
	// Threshold is how many of them must, each of another holder.
	Threshold int    `json:"threshold"`
	Expires   string `json:"expires"` // RFC 3339, UTC, whole seconds
}

// Response is one key's answer to one request.
type Response struct {
	MediaType string `json:"mediaType"` // set by Format
	Request   string `json:"request"`   // SHA-256 of the request file, hex
	KeyID     string `json:"keyid"`
	Sig       []byte `json:"sig"`
}

// Format gives a request's one encoding: the file's bytes. What ParseRequest
// would refuse is not formatted.
func (r *Request) Format() ([]byte, error) {
	r.MediaType = RequestType
	if err := r.check(); err != nil {
		return nil, fault.Invalid.New("making a signing request: %w", err)
	}
	return encode(r)
}

// ParseRequest reads a request file and refuses every encoding but Format's.
func ParseRequest(file []byte) (*Request, error) {
	r := &Request{}
	err := decode(file, Limits.Request, r)
	if err == nil {
		err = r.check()
	}
	if err != nil {
		return nil, fault.Invalid.New("reading the signing request: %w", err)
	}
	return r, nil
}

// Hash is the SHA-256 of the request's file in hex: what an answer names. The
// payload is not judged again, as it was when the request was made or read.
func (r *Request) Hash() (string, error) {
	r.MediaType = RequestType
	file, err := encode(r)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(file)
	return hex.EncodeToString(sum[:]), nil
}

// Message is the exact text that a key signs.
func (r *Request) Message() []byte {
	if r.Purpose == DSSE {
		return statement.PAE(r.PayloadType, r.Payload)
	}
	return r.Payload
}

// Expired tells whether the request has run out at now.
func (r *Request) Expired(now time.Time) bool {
	at, err := time.Parse(time.RFC3339, r.Expires)
	return err != nil || now.After(at)
}

// Format gives a response's one encoding: the file's bytes.
func (r *Response) Format() ([]byte, error) {
	r.MediaType = ResponseType
	if err := r.check(); err != nil {
		return nil, fault.Invalid.New("making a signing response: %w", err)
	}
	return encode(r)
}

// ParseResponse reads a response file and refuses every encoding but Format's.
func ParseResponse(file []byte) (*Response, error) {
	r := &Response{}
	err := decode(file, Limits.Response, r)
	if err == nil {
		err = r.check()
	}
	if err != nil {
		return nil, fault.Invalid.New("reading the signing response: %w", err)
	}
	return r, nil
}

func (r *Request) check() error {
	expires, err := time.Parse(time.RFC3339, r.Expires)
	switch {
	case r.MediaType != RequestType:
		return fmt.Errorf("mediaType is %s; expected %q", Printable(r.MediaType, 80), RequestType)
	case r.Purpose != DSSE && r.Purpose != TUF:
		return fmt.Errorf("purpose is %s; expected %q or %q", Printable(r.Purpose, 80), DSSE, TUF)
	case r.Purpose == DSSE && r.PayloadType != statement.PayloadType:
		return fmt.Errorf("payloadType is %s; expected %q", Printable(r.PayloadType, 80), statement.PayloadType)
	case r.Purpose == TUF && r.PayloadType != TUFPayload:
		return fmt.Errorf("payloadType is %s; expected %q", Printable(r.PayloadType, 80), TUFPayload)
	case r.Purpose == DSSE && len(r.Payload) > statement.Limits.Envelope, len(r.Payload) > Limits.Payload:
		return fmt.Errorf("the payload has %d bytes, which is too many", len(r.Payload))
	case len(r.What) == 0 || len(r.What) > Limits.What:
		return fmt.Errorf("what must have 1 to %d bytes", Limits.What)
	case len(r.Keys) == 0 || len(r.Keys) > Limits.Keys:
		return fmt.Errorf("keys must name 1 to %d keys", Limits.Keys)
	case r.Threshold < 1 || r.Threshold > len(r.Keys):
		return errors.New("threshold must be 1 to the number of keys")
	case err != nil || expires.UTC().Format(time.RFC3339) != r.Expires:
		return errors.New("expires must be a time like 2026-01-31T12:00:00Z, in UTC")
	}
	for i, id := range r.Keys {
		if !isHash(id) || slices.Contains(r.Keys[:i], id) {
			return fmt.Errorf("keys[%d] is no key id, or stands twice", i)
		}
	}
	_, err = Describe(r)
	return err
}

func (r *Response) check() error {
	switch {
	case r.MediaType != ResponseType:
		return fmt.Errorf("mediaType is %s; expected %q", Printable(r.MediaType, 80), ResponseType)
	case !isHash(r.Request):
		return errors.New("request must be a SHA-256 in lower-case hex")
	case !isHash(r.KeyID):
		return errors.New("keyid must be 64 lower-case hex digits")
	case len(r.Sig) == 0 || len(r.Sig) > 128:
		return errors.New("sig must have 1 to 128 bytes")
	}
	return nil
}

func isHash(s string) bool {
	raw, err := hex.DecodeString(s)
	return err == nil && len(raw) == sha256.Size && hex.EncodeToString(raw) == s
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encoding a signing file: %w", err)
	}
	return b.Bytes(), nil
}

// decode reads a file in the one form that encode gives.
func decode(file []byte, limit int, v any) error {
	if len(file) > limit {
		return fmt.Errorf("it has %d bytes; at most %d are allowed", len(file), limit)
	}
	if err := statement.Decode(file, v); err != nil {
		return err
	}
	if again, err := encode(v); err != nil || !bytes.Equal(again, file) {
		return errors.New("it is not as it was written: unknown members, another order, or other spaces")
	}
	return nil
}
