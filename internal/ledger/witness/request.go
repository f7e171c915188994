package witness

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"clerestory.dev/clerestory/internal/base/fault"
)

// request is the body of add-checkpoint, taken apart.
type request struct {
	old   int64
	proof tlog.TreeProof
	note  []byte // the checkpoint, a signed note
}

// checkpoint is the first three lines of a note's text (c2sp.org/tlog-checkpoint).
type checkpoint struct {
	origin string
	size   int64
	root   tlog.Hash
}

// submission is a request whose checkpoint has been read.
type submission struct {
	request    request
	text       []byte // what is signed and cosigned, extension lines included
	checkpoint checkpoint
	logSigs    []byte // the signature lines of the log's own keys, checked
}

var errRequest = fault.Invalid.New("not an add-checkpoint request: it must be a line \"old <size>\", at most 63 lines with a base64 hash each, an empty line, and a signed checkpoint (c2sp.org/tlog-witness)")

func parseSubmission(body []byte, limits Limits) (submission, error) {
	r, err := parseRequest(body, limits)
	if err != nil {
		return submission{}, err
	}
	// A note's signatures follow its last empty line (signed-note).
	end := bytes.LastIndex(r.note, []byte("\n\n"))
	if end < 0 {
		return submission{}, errRequest
	}
	text := r.note[:end+1]
	c, err := parseCheckpoint(text, limits)
	if err != nil {
		return submission{}, err
	}
	return submission{request: r, text: text, checkpoint: c}, nil
}

// parseRequest accepts the canonical form only: what it accepts, format gives
// back byte for byte.
func parseRequest(body []byte, limits Limits) (request, error) {
	if int64(len(body)) > limits.Body {
		return request{}, fault.Invalid.New("the request is larger than %d bytes", limits.Body)
	}
	line, rest, ok := strings.Cut(string(body), "\n")
	digits, isOld := strings.CutPrefix(line, "old ")
	if !ok || !isOld {
		return request{}, errRequest
	}
	var r request
	var err error
	if r.old, err = parseSize(digits, limits); err != nil {
		return request{}, err
	}
	for {
		line, rest, ok = strings.Cut(rest, "\n")
		if !ok || len(r.proof) > limits.ProofLines {
			return request{}, errRequest
		}
		if line == "" {
			break
		}
		h, err := parseHash(line)
		if err != nil {
			return request{}, err
		}
		r.proof = append(r.proof, h)
	}
	if len(r.proof) > limits.ProofLines || rest == "" {
		return request{}, errRequest
	}
	r.note = []byte(rest)
	return r, nil
}

func (r request) format() []byte {
	b := fmt.Appendf(nil, "old %d\n", r.old)
	for _, h := range r.proof {
		b = append(base64.StdEncoding.AppendEncode(b, h[:]), '\n')
	}
	return append(append(b, '\n'), r.note...)
}

func parseCheckpoint(text []byte, limits Limits) (checkpoint, error) {
	lines := strings.SplitN(string(text), "\n", 4)
	if len(lines) < 4 || lines[0] == "" || len(lines[0]) > limits.Origin {
		return checkpoint{}, errRequest
	}
	c := checkpoint{origin: lines[0]}
	var err error
	if c.size, err = parseSize(lines[1], limits); err != nil {
		return checkpoint{}, err
	}
	if c.root, err = parseHash(lines[2]); err != nil {
		return checkpoint{}, err
	}
	// Extension lines are opaque, but never empty.
	if ext := lines[3]; strings.HasPrefix(ext, "\n") || strings.Contains(ext, "\n\n") || ext != "" && !strings.HasSuffix(ext, "\n") {
		return checkpoint{}, errRequest
	}
	return c, nil
}

func parseSize(s string, limits Limits) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != s {
		return 0, errRequest
	}
	if n > limits.TreeSize {
		return 0, fault.Invalid.New("tree size %d is larger than %d", n, limits.TreeSize)
	}
	return n, nil
}

func parseHash(s string) (h tlog.Hash, err error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(raw) != len(h) || base64.StdEncoding.EncodeToString(raw) != s {
		return h, errRequest
	}
	return tlog.Hash(raw), nil
}

// checkSignatures returns the signature lines of keys that the witness trusts
// for this log. Lines of others are dropped: it neither checks nor repeats them.
func checkSignatures(signed []byte, keys note.Verifiers) ([]byte, error) {
	n, err := note.Open(signed, keys)
	_, unsigned := errors.AsType[*note.UnverifiedNoteError](err)
	_, badSig := errors.AsType[*note.InvalidSignatureError](err)
	switch {
	case unsigned:
		return nil, fault.Denied.New("the checkpoint carries no signature of a key that this witness trusts for the log")
	case badSig:
		return nil, fault.Denied.New("the log's signature does not fit the checkpoint")
	case err != nil:
		return nil, errRequest
	}
	var lines []byte
	for _, s := range n.Sigs {
		lines = fmt.Appendf(lines, "— %s %s\n", s.Name, s.Base64)
	}
	return lines, nil
}

func joinNote(text []byte, signatures ...[]byte) []byte {
	b := append(bytes.Clone(text), '\n')
	for _, s := range signatures {
		b = append(b, s...)
	}
	return b
}
