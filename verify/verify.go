// Package verify is how anyone checks what a vendor claims, offline: signatures,
// log proofs, witnesses, approvals, revocations. It is the one implementation
// that the command line, the update client, the server's self-check and the
// browser (as WASM) use.
//
// It promises to believe nothing but one file, the trusted root: a statement is
// believed when its signatures are by keys that were valid at its position in
// the log, when it is proven to be in a checkpoint of the log that the trusted
// root names, with the quorum of witnesses that it names, and when nothing that
// was seen of the log revokes it. A [Report] says what was checked, and what was
// not and why; what could not be checked never looks like success.
//
// It does no input or output and reads no clock: bytes and a time come in, a
// decision goes out. The limits of what it accepts are in [Limits]. The steps
// are those of docs/spec/verify.md, with the same numbers.
//
// Start at [ParseTrust], [ParseBundle] and [Trust.Judge].
package verify

import (
	"errors"
	"fmt"
)

// Limits are the caps on what comes from outside, in one place.
var Limits = struct {
	Trust      int   // bytes of a trusted root
	Bundle     int   // bytes of a bundle
	Checkpoint int   // bytes of a checkpoint
	Size       int64 // entries of a log
	Policy     int   // bytes of a witness policy
	Witnesses  int   // witnesses and groups of a policy
	Proof      int   // hashes of an inclusion proof: a log of 2^63 entries has 63
	Entries    int   // entries of a bundle
	Roots      int   // root rotations in a bundle
}{Trust: 256 << 10, Bundle: 8 << 20, Checkpoint: 32 << 10, Size: 1 << 48, Policy: 64 << 10, Witnesses: 64, Proof: 63, Entries: 256, Roots: 64}

// Refusal is a definite no: something was checked and is wrong. Code is stable
// and one of those in docs/spec/verify.md.
type Refusal struct {
	Code string
	Text string
}

// Error implements error.
func (r *Refusal) Error() string { return r.Text }

func refuse(code, format string, args ...any) error {
	return &Refusal{code, fmt.Sprintf(format, args...)}
}

// CodeOf gives the code of a refusal anywhere in err's tree, or "".
func CodeOf(err error) string {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r.Code
	}
	return ""
}

// The codes of refusals.
const (
	CodeTrust      = "bad-trusted-root"  // the trusted root, or a rotation of it
	CodeBundle     = "bad-bundle"        // the bundle is damaged
	CodeCheckpoint = "bad-checkpoint"    // not a checkpoint of this log
	CodeQuorum     = "too-few-witnesses" // the witness policy is not met
	CodeProof      = "bad-proof"         // the entry is not where the proof says
	CodeStatement  = "bad-statement"     // not a statement, or against its kind's rules
	CodeSignature  = "bad-signature"     // not signed by keys that may say this
	CodeSigners    = "too-few-signers"   // fewer holders of the role release than the trusted root asks for
	CodeApprovals  = "too-few-approvals" // fewer people than the trusted root asks for
	CodeOtherFile  = "not-released"      // nothing released has these bytes
	CodeProvenance = "bad-provenance"    // source, build and release do not fit together
	CodeRevoked    = "revoked"           // the release was taken back
	CodeFork       = "fork"              // two checkpoints that can not both be true
)
