// Package answer is what the browser verifier answers: package verify's
// decisions as JSON, in functions that take text and return text.
//
// It promises an answer to whatever comes in: hostile roots, bundles and
// checkpoints give a sentence, never a panic and never a success. It decides
// nothing itself; every decision is package verify's, so the browser and the
// command line cannot disagree. It does no input or output and reads no clock,
// so it is tested without a browser; package wasm only hands it to JavaScript.
//
// Start at [Judge].
package answer

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// Failure is the answer when there is nothing else to say. Code is one of
// package verify's codes, or empty when something could not be checked.
type Failure struct {
	Code  string `json:"code"`
	Error string `json:"error"`
}

// Judged is the report on a file, with what the page needs to go on: the
// bundle's checkpoint, to compare with others, and the root in force, because a
// bundle may rotate the one that was given.
type Judged struct {
	Report     *verify.Report `json:"report"`
	Checkpoint string         `json:"checkpoint"`
	Trust      string         `json:"trust"`
}

// Judge judges a file by its bundle.
func Judge(trust, bundle string, file verify.Artifact, now time.Time) string {
	return safely(func() (any, error) {
		j := Judged{Report: verify.JudgeBundle([]byte(trust), []byte(bundle), file, now)}
		j.Checkpoint, j.Trust = inForce(trust, bundle)
		return j, nil
	})
}

// inForce gives a bundle's checkpoint and the root in force after its rotations,
// or nothing when they do not prove: then the report says why.
func inForce(trust, bundle string) (checkpoint, root string) {
	t, err := verify.ParseTrust([]byte(trust))
	if err != nil {
		return "", ""
	}
	b, err := verify.ParseBundle([]byte(bundle))
	if err != nil {
		return "", ""
	}
	t, ev, err := t.Prove(b)
	if err != nil {
		return "", ""
	}
	return string(ev.Checkpoint.Raw), string(t.File())
}

// TrustBrief says what a trusted root makes its holder believe.
type TrustBrief struct {
	Vendor      string    `json:"vendor"`
	Fingerprint string    `json:"fingerprint"`
	Version     int64     `json:"version"`
	Expires     time.Time `json:"expires"`
	Expired     bool      `json:"expired"`
	Approvals   int       `json:"approvals"`
	Origin      string    `json:"origin"`
	// OriginSHA256 is under which name witnesses serve their copies, in hex.
	OriginSHA256 string    `json:"originSHA256"`
	Witnesses    []Witness `json:"witnesses"`
}

// Witness is a witness that the trusted root names, and where it serves its copy.
type Witness struct {
	Name string `json:"name"`
	URL  string `json:"url"` // "" when the root names no address
}

// Trust reads a trusted root.
func Trust(trust string, now time.Time) string {
	return safely(func() (any, error) {
		t, err := verify.ParseTrust([]byte(trust))
		if err != nil {
			return nil, err
		}
		b := TrustBrief{
			Vendor: t.Root.Clerestory.Vendor, Fingerprint: t.Fingerprint(), Version: t.Root.Version,
			Expires: t.Root.Expires, Expired: now.After(t.Root.Expires), Approvals: t.Root.Clerestory.Approvals,
			Origin: t.Policy.Log.Origin(), Witnesses: []Witness{},
			OriginSHA256: statement.HashOf([]byte(t.Policy.Log.Origin())),
		}
		for _, w := range t.Policy.Witnesses {
			b.Witnesses = append(b.Witnesses, Witness{w.Name, w.URL})
		}
		return b, nil
	})
}

// State is a checkpoint that was opened.
type State struct {
	Origin    string    `json:"origin"`
	Size      int64     `json:"size"`
	Root      string    `json:"root"` // base64
	Time      time.Time `json:"time"` // zero when no known witness cosigned
	Witnesses []string  `json:"witnesses"`
}

// Checkpoint opens a checkpoint with the trusted root's policy: the log's
// signature and the quorum of witnesses.
func Checkpoint(trust, checkpoint string) string {
	return safely(func() (any, error) {
		t, err := verify.ParseTrust([]byte(trust))
		if err != nil {
			return nil, err
		}
		c, err := t.Policy.Open([]byte(checkpoint))
		if err != nil {
			return nil, err
		}
		return stateOf(c), nil
	})
}

func stateOf(c *verify.Checkpoint) State {
	s := State{Origin: c.Origin, Size: c.Size, Root: c.Root.String(), Time: c.Time(), Witnesses: []string{}}
	for _, w := range c.Cosigned {
		s.Witnesses = append(s.Witnesses, w.Witness)
	}
	return s
}

// How theirs stands to ours.
const (
	Same   = "same"   // one size, one root
	Ahead  = "ahead"  // theirs has more entries
	Behind = "behind" // theirs has fewer entries
	Fork   = "fork"   // both cannot be true
)

// Compared is what a comparison of two checkpoints came to.
type Compared struct {
	Relation string `json:"relation"`
	// Proven tells that the longer state was shown to contain the shorter one;
	// without that, different sizes say nothing about agreement.
	Proven bool `json:"proven"`
	// Cosigned tells that the named witness put its own signature on theirs.
	Cosigned bool   `json:"cosigned"`
	Ours     State  `json:"ours"`
	Theirs   State  `json:"theirs"`
	Reason   string `json:"reason,omitempty"` // for a fork
}

// Compare compares our checkpoint, which needs the policy's quorum, with
// theirs. With the name of a witness, theirs is that witness's copy and needs
// only the log's signature: two states signed by the log that cannot both be
// true convict it, whoever shows them. The proof is an RFC 6962 consistency
// proof, a base64 hash per line; "" for none.
func Compare(trust, ours, theirs, witness, proof string) string {
	return safely(func() (any, error) {
		t, err := verify.ParseTrust([]byte(trust))
		if err != nil {
			return nil, err
		}
		a, err := t.Policy.Open([]byte(ours))
		if err != nil {
			return nil, fmt.Errorf("our checkpoint: %w", err)
		}
		b, cosigned, err := openCopy(t.Policy, theirs, witness)
		if err != nil {
			return nil, err
		}
		hashes, err := parseProof(proof)
		if err != nil {
			return nil, err
		}
		return relate(a, b, cosigned, hashes), nil
	})
}

// openCopy opens the copy of one witness, which has its cosignature and not
// necessarily those of the others: a policy of the log and that witness alone.
func openCopy(p *verify.Policy, text, witness string) (*verify.Checkpoint, bool, error) {
	if witness == "" {
		c, err := p.Open([]byte(text))
		return c, false, err
	}
	for _, w := range p.Witnesses {
		if w.Name != witness {
			continue
		}
		only := fmt.Sprintf("log %s\nwitness %s %s\nquorum none\n", p.Log.VKey, w.Name, w.VKey)
		alone, err := verify.ParsePolicy([]byte(only))
		if err != nil {
			return nil, false, fmt.Errorf("the policy of witness %s: %w", w.Name, err)
		}
		c, err := alone.Open([]byte(text))
		if err != nil {
			return nil, false, err
		}
		return c, len(c.Cosigned) > 0, nil
	}
	return nil, false, fmt.Errorf("the trusted root names no witness %q", witness)
}

func parseProof(text string) ([]tlog.Hash, error) {
	var hashes []tlog.Hash
	for line := range strings.Lines(text) {
		if len(hashes) == verify.Limits.Proof {
			return nil, fmt.Errorf("the consistency proof has more than %d hashes", verify.Limits.Proof)
		}
		h, err := tlog.ParseHash(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, fmt.Errorf("the consistency proof has a line that is no hash")
		}
		hashes = append(hashes, h)
	}
	return hashes, nil
}

func relate(a, b *verify.Checkpoint, cosigned bool, proof []tlog.Hash) Compared {
	out := Compared{Relation: Same, Cosigned: cosigned, Ours: stateOf(a), Theirs: stateOf(b)}
	older, newer := a, b
	switch {
	case b.Size > a.Size:
		out.Relation = Ahead
	case b.Size < a.Size:
		out.Relation = Behind
		older, newer = b, a
	}
	if a.Size != b.Size && len(proof) == 0 {
		return out // nothing to check growth by, so nothing is said about it
	}
	if err := verify.CheckGrowth(older, newer, proof); err != nil {
		out.Relation, out.Reason = Fork, err.Error()
		return out
	}
	out.Proven = true
	return out
}

// safely turns an answer into JSON. A panic is a defect of ours; the visitor
// must still learn that nothing was checked.
func safely(do func() (any, error)) (text string) {
	defer func() {
		if p := recover(); p != nil {
			text = encode(Failure{Error: fmt.Sprintf("the verifier failed (%v): nothing was checked", p)})
		}
	}()
	v, err := do()
	if err != nil {
		return encode(Failure{verify.CodeOf(err), err.Error()})
	}
	return encode(v)
}

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil { // a time outside the years that JSON can say
		return `{"code":"","error":"the answer cannot be written as JSON: nothing was checked"}`
	}
	return string(b)
}

// Refuse is the answer to a call that makes no sense.
func Refuse(reason string) string { return encode(Failure{Error: reason}) }
