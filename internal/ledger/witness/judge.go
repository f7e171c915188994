package witness

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"clerestory.dev/clerestory/internal/base/fault"
)

// record is where a log stood when the witness last cosigned it. The zero
// record is the empty tree: a log that was never cosigned.
type record struct {
	size int64
	root tlog.Hash
	note []byte // with the witness's own cosignature
}

// staleError tells the client the size from which its proof must start.
type staleError struct{ size int64 }

func (e *staleError) Error() string {
	return fmt.Sprintf("the last checkpoint cosigned here has size %d: send a proof from there", e.size)
}

func (e *staleError) Unwrap() error { return fault.Stale }

var (
	errFork  = fault.Tampered.New("the log has shown this witness a different tree of the same size")
	errProof = fault.Tampered.New("the consistency proof does not hold: this tree is not the cosigned one, grown")
	errEmpty = fault.Tampered.New("the root of an empty tree must be the hash of the empty string")
)

// judge decides whether a checkpoint that its log has signed may be cosigned
// after last. The steps are those of docs/spec/witness.md, 4 to 8.
func judge(r request, c checkpoint, last record) error {
	if r.old > c.size {
		return fault.Invalid.New("the old size %d is larger than the checkpoint's %d", r.old, c.size)
	}
	if r.old != last.size { // a shrink always ends here: its old size is too small, or above
		return &staleError{last.size}
	}
	if c.size == 0 && c.root != tlog.Hash(sha256.Sum256(nil)) {
		return errEmpty
	}
	if r.old == c.size && c.size > 0 && c.root != last.root {
		return errFork
	}
	if r.old == 0 { // every tree grows from the empty one; there is nothing to prove
		if len(r.proof) > 0 {
			return errProof
		}
		return nil
	}
	if tlog.CheckTree(r.proof, c.size, c.root, last.size, last.root) != nil {
		return errProof
	}
	return nil
}

// openRecord reads a kept checkpoint and insists on the witness's own
// cosignature. The log's signature is not asked for, so that a log may change
// its key.
func openRecord(raw []byte, origin string, own *Key, limits Limits) (record, error) {
	n, err := note.Open(raw, note.VerifierList(cosigner{own}))
	if err != nil {
		return record{}, err
	}
	c, err := parseCheckpoint([]byte(n.Text), limits)
	if err != nil {
		return record{}, errors.New("it is not a checkpoint")
	}
	if c.origin != origin {
		return record{}, fmt.Errorf("it is of log %q", c.origin)
	}
	return record{size: c.size, root: c.root, note: raw}, nil
}
