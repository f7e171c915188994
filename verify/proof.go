package verify

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// Proof is a C2SP tlog-proof: where an entry stands, and the checkpoint that
// covers it. Only what Check has accepted may be relied on; Extra is never.
type Proof struct {
	Index      int64
	Hashes     []tlog.Hash
	Checkpoint []byte
}

const proofHeader = "c2sp.org/tlog-proof@v1\n"

// ParseProof reads a tlog-proof, strictly: an index without leading zeros, hashes
// in padded base64, nothing between.
func ParseProof(b []byte) (*Proof, error) {
	rest, ok := strings.CutPrefix(string(b), proofHeader)
	if !ok || len(b) > Limits.Checkpoint+(Limits.Proof+4)*64 {
		return nil, refuse(CodeProof, "this is not a tlog-proof")
	}
	p := &Proof{}
	line, rest, _ := strings.Cut(rest, "\n")
	if strings.HasPrefix(line, "extra ") {
		line, rest, _ = strings.Cut(rest, "\n")
	}
	number, ok := strings.CutPrefix(line, "index ")
	index, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil || index < 0 || strconv.FormatInt(index, 10) != number {
		return nil, refuse(CodeProof, "the proof has no proper index line")
	}
	p.Index = index
	for {
		line, rest, ok = strings.Cut(rest, "\n")
		if !ok {
			return nil, refuse(CodeProof, "the proof ends before its checkpoint")
		}
		if line == "" {
			break
		}
		raw, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil || len(raw) != tlog.HashSize || len(line) != base64.StdEncoding.EncodedLen(tlog.HashSize) || len(p.Hashes) == Limits.Proof {
			return nil, refuse(CodeProof, "the proof has a line that is no hash, or too many")
		}
		p.Hashes = append(p.Hashes, tlog.Hash(raw))
	}
	p.Checkpoint = []byte(rest)
	return p, nil
}

// Format is the proof's text, without extra data.
func (p *Proof) Format() []byte {
	b := fmt.Appendf([]byte(proofHeader), "index %d\n", p.Index)
	for _, h := range p.Hashes {
		b = append(base64.StdEncoding.AppendEncode(b, h[:]), '\n')
	}
	return append(append(b, '\n'), p.Checkpoint...)
}

// Check proves that entry is entry p.Index of the log with checkpoint c
// (RFC 6962, section 2.1.1). The caller has opened c from p.Checkpoint.
func (p *Proof) Check(c *Checkpoint, entry []byte) error {
	if p.Index >= c.Size {
		return refuse(CodeProof, "entry %d is not covered by a checkpoint of size %d", p.Index, c.Size)
	}
	if err := tlog.CheckRecord(p.Hashes, c.Size, c.Root, p.Index, tlog.RecordHash(entry)); err != nil {
		return refuse(CodeProof, "entry %d is not in the log's state with %d entries", p.Index, c.Size)
	}
	return nil
}
