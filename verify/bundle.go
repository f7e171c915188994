package verify

import (
	"bytes"
	"encoding/json"
	"fmt"

	"clerestory.dev/clerestory/statement"
)

// BundleType is the media type of a bundle.
const BundleType = "application/vnd.clerestory.bundle.v1+json"

// Bundle is FILE.clerestory: everything that is needed to verify one file
// offline, but the trusted root.
type Bundle struct {
	MediaType string `json:"mediaType"`
	// Roots are the versions of the trusted root since version 2, for a verifier
	// that holds an older one: exact files, in order.
	Roots   []string      `json:"roots,omitempty"`
	Entries []BundleEntry `json:"entries"`
	// Member proves that the file is in the release's manifest, where the release
	// has too many files to name them all.
	Member *Member `json:"member,omitempty"`
}

// BundleEntry is a log entry with its proof. Both are exact texts.
type BundleEntry struct {
	Envelope string `json:"envelope"`
	Proof    string `json:"proof"` // C2SP tlog-proof; the checkpoint is the same in all
}

// ParseBundle reads a bundle and checks its form. It proves nothing yet.
func ParseBundle(b []byte) (*Bundle, error) {
	if len(b) > Limits.Bundle {
		return nil, refuse(CodeBundle, "the bundle has %d bytes; at most %d are allowed", len(b), Limits.Bundle)
	}
	var bundle Bundle
	if err := statement.Decode(b, &bundle); err != nil {
		return nil, refuse(CodeBundle, "reading the bundle: %v", err)
	}
	if bundle.MediaType != BundleType {
		return nil, refuse(CodeBundle, "this is not a bundle: mediaType must be %q", BundleType)
	}
	if n := len(bundle.Entries); n == 0 || n > Limits.Entries || len(bundle.Roots) > Limits.Roots {
		return nil, refuse(CodeBundle, "a bundle has 1 to %d entries and at most %d roots", Limits.Entries, Limits.Roots)
	}
	return &bundle, nil
}

// Format encodes a bundle.
func (b *Bundle) Format() ([]byte, error) {
	b.MediaType = BundleType
	if b.Member != nil && b.Member.Hashes == nil {
		b.Member.Hashes = []string{} // null would not be read again
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(b); err != nil {
		return nil, fmt.Errorf("encoding the bundle: %w", err)
	}
	return buf.Bytes(), nil
}

// Evidence is a set of log entries that were proven to stand in the log.
type Evidence struct {
	Checkpoint *Checkpoint
	Entries    []Entry // by ascending index, each index once
	Member     *Member
	// Complete tells that Entries hold every key and revocation statement up to
	// the checkpoint, because the whole log was read; a bundle can not show that.
	Complete bool
}

// Entry is one log entry, parsed.
type Entry struct {
	Index     int64
	Raw       []byte
	Envelope  *statement.Envelope
	Statement *statement.Statement
}

// ParseEntry reads the bytes of log entry index.
func ParseEntry(index int64, raw []byte) (Entry, error) {
	e, err := statement.ParseEnvelope(raw)
	if err != nil {
		return Entry{}, refuse(CodeStatement, "entry %d: %v", index, err)
	}
	s, err := statement.Parse(e.Payload)
	if err != nil {
		return Entry{}, refuse(CodeStatement, "entry %d: %v", index, err)
	}
	return Entry{index, raw, e, s}, nil
}

// Prove checks a bundle's proofs (steps 3 to 5 of docs/spec/verify.md): it follows the root's rotations, opens the
// checkpoint and proves every entry. The trust that results is the root in force.
func (t *Trust) Prove(b *Bundle) (*Trust, *Evidence, error) {
	for _, next := range b.Roots { // step 3
		n, _, err := parseRoot([]byte(next))
		if err == nil && n.Root.Version <= t.Root.Version {
			continue // older than what the verifier holds
		}
		if t, err = t.Rotate([]byte(next)); err != nil {
			return nil, nil, err
		}
	}
	ev := &Evidence{Member: b.Member}
	for i, be := range b.Entries {
		p, err := ParseProof([]byte(be.Proof))
		if err != nil {
			return nil, nil, err
		}
		if ev.Checkpoint == nil {
			if ev.Checkpoint, err = t.Policy.Open(p.Checkpoint); err != nil { // step 4
				return nil, nil, err
			}
		} else if !bytes.Equal(p.Checkpoint, ev.Checkpoint.Raw) {
			return nil, nil, refuse(CodeBundle, "the bundle's proofs lead to different checkpoints")
		}
		if i > 0 && p.Index <= ev.Entries[i-1].Index {
			return nil, nil, refuse(CodeBundle, "the bundle's entries are not in the log's order")
		}
		if err := p.Check(ev.Checkpoint, []byte(be.Envelope)); err != nil { // step 5
			return nil, nil, err
		}
		e, err := ParseEntry(p.Index, []byte(be.Envelope))
		if err != nil {
			return nil, nil, err
		}
		ev.Entries = append(ev.Entries, e)
	}
	return t, ev, nil
}
