package statement

import (
	"errors"
	"fmt"
)

// RevocationType names revocation statements.
const RevocationType = "https://clerestory.dev/revocation/v1"

// Revocation takes an earlier statement back: whoever relied on it must stop.
// A release is revoked by the role "release". Its one subject is
// "entry:<Entry>" with the SHA-256 of that entry's envelope.
type Revocation struct {
	Entry   int64  `json:"entry"`
	Kind    string `json:"kind"`    // kind of the statement that is taken back
	Product string `json:"product"` // whose it was
	Reason  string `json:"reason"`
	At      string `json:"at"`
}

// PredicateType implements [Predicate].
func (*Revocation) PredicateType() string { return RevocationType }

// Validate implements [Predicate].
func (r *Revocation) Validate(subject []Subject) error {
	if len(subject) != 1 || subject[0].Name != fmt.Sprintf("entry:%d", r.Entry) || subject[0].Digest["sha256"] == "" {
		return errors.New("the subject must be entry:<number> with the sha256 of its envelope")
	}
	if r.Entry < 0 {
		return errors.New("entry must be a log entry's number")
	}
	return firstError(checkText("kind", r.Kind, 1), CheckID("product", r.Product),
		checkText("reason", r.Reason, 1), checkTime("at", r.At))
}
