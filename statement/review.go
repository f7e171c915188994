package statement

import (
	"errors"
	"fmt"
)

// ReviewType names review statements.
const ReviewType = "https://clerestory.dev/review/v1"

// What a review came to.
const (
	ReviewUpheld   = "upheld"   // it was right to release this
	ReviewObjected = "objected" // it was not; Findings says what follows from it
)

// Review says what came of looking at a release after it was published: due for
// every release that went the emergency path. It is signed by the role
// "reviewer", by a holder who has not signed the release. Its one subject is
// "entry:<Entry>" with the SHA-256 of that entry's envelope.
type Review struct {
	Entry    int64  `json:"entry"` // log entry of the release
	Product  string `json:"product"`
	Version  string `json:"version"`
	Outcome  string `json:"outcome"`  // upheld or objected
	Findings string `json:"findings"` // what was found, for everybody to read
	At       string `json:"at"`
}

// PredicateType implements [Predicate].
func (*Review) PredicateType() string { return ReviewType }

// Validate implements [Predicate].
func (r *Review) Validate(subject []Subject) error {
	if len(subject) != 1 || subject[0].Name != fmt.Sprintf("entry:%d", r.Entry) || subject[0].Digest["sha256"] == "" {
		return errors.New("the subject must be entry:<number> with the sha256 of its envelope")
	}
	if r.Entry < 0 {
		return errors.New("entry must be a log entry's number")
	}
	if r.Outcome != ReviewUpheld && r.Outcome != ReviewObjected {
		return fmt.Errorf("outcome %q must be upheld or objected", clip(r.Outcome))
	}
	return firstError(CheckID("product", r.Product), CheckVersion(r.Version),
		checkText("findings", r.Findings, 1), checkTime("at", r.At))
}
