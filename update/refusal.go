package update

import (
	"errors"
	"fmt"

	"clerestory.dev/clerestory/verify"
)

// Code says which kind of refusal it is. Codes are stable; each is also an error
// that errors.Is finds: errors.Is(err, update.Rollback).
type Code string

// Error implements error.
func (c Code) Error() string { return string(c) }

// The codes of what is definitely wrong.
const (
	Rollback        Code = "rollback"          // an older state than this client has seen
	Freeze          Code = "freeze"            // a state that has expired: a mirror that stands still
	MixAndMatch     Code = "mix-and-match"     // parts that never belonged together
	EndlessData     Code = "endless-data"      // more bytes than there may be
	Slow            Code = "slow"              // so slow that it would never end
	WrongLength     Code = "wrong-length"      // fewer bytes than announced
	WrongHash       Code = "wrong-hash"        // other bytes than announced
	Malformed       Code = "malformed"         // not what it should be
	TooFewSigned    Code = "too-few-signed"    // fewer good signatures than the threshold
	SameKeyTwice    Code = "same-key-twice"    // one key counted twice
	RoleRevoked     Code = "role-revoked"      // signed by a role or key that was taken away
	RoleExpired     Code = "role-expired"      // a role's authority has run out
	TooFewWitnesses Code = "too-few-witnesses" // no quorum of witnesses
	NotInLog        Code = "not-in-log"        // not proven to be in the vendor's log
	Fork            Code = "fork"              // two states of the log that can not both be true
	Revoked         Code = "revoked"           // the release was taken back
	BadProvenance   Code = "bad-provenance"    // source, build and release do not fit together
	NotReproducible Code = "not-reproducible"  // the version before was rebuilt by others, this one was not
	TooFewBuilders  Code = "too-few-builders"  // fewer builders got the same bytes than the policy asks for
	NotOffered      Code = "not-offered"       // the vendor has no such product or channel
	BadDelta        Code = "bad-delta"         // a delta that does not lead to the file
	HealthFailed    Code = "health-failed"     // the product's own check failed; the version before is back
)

// The codes of what could not be checked or done now.
const (
	Unreachable Code = "unreachable" // the repository or the log did not answer
	Disk        Code = "disk"        // this machine could not store or read it
	Busy        Code = "busy"        // another update of this folder is running
	Stopped     Code = "stopped"     // the caller ended it
)

// Refusal is why nothing was installed: Text is one plain line.
type Refusal struct {
	Code Code
	Text string
	err  error
}

// Error implements error.
func (r *Refusal) Error() string { return r.Text }

// Unwrap gives the code, and what was underneath.
func (r *Refusal) Unwrap() []error {
	if r.err == nil {
		return []error{r.Code}
	}
	return []error{r.Code, r.err}
}

// CodeOf is the code of a refusal anywhere in err's tree, or "".
func CodeOf(err error) Code {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r.Code
	}
	return ""
}

// Definite tells whether err is a definite no, rather than something that could
// not be checked or done this time.
func Definite(err error) bool {
	switch CodeOf(err) {
	case "", Unreachable, Disk, Busy, Stopped:
		return false
	}
	return true
}

func refuse(code Code, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &Refusal{code, err.Error(), errors.Unwrap(err)}
}

// disk says that this machine failed, not the vendor.
func disk(act string, err error) error {
	if err == nil || CodeOf(err) != "" {
		return err
	}
	return refuse(Disk, "%s: %w", act, err)
}

// fromVerify gives a refusal of package verify its code here.
func fromVerify(what string, err error) error {
	if err == nil || CodeOf(err) != "" {
		return err
	}
	return refuse(codeFor(verify.CodeOf(err)), "%s: %w", what, err)
}

func codeFor(code string) Code {
	switch code {
	case verify.CodeQuorum:
		return TooFewWitnesses
	case verify.CodeSignature, verify.CodeApprovals, verify.CodeTrust:
		return TooFewSigned
	case verify.CodeProvenance:
		return BadProvenance
	case verify.CodeRevoked:
		return Revoked
	case verify.CodeFork:
		return Fork
	}
	return NotInLog
}
