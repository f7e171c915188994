package ledger

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/window/portal/frame"
	"clerestory.dev/clerestory/internal/window/portal/record"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// Detail is one statement as data.
type Detail struct {
	Row
	PredicateType string          `json:"predicateType"`
	Predicate     json.RawMessage `json:"predicate"`
	Keys          []string        `json:"keys"`     // ids of the keys that signed
	Envelope      string          `json:"envelope"` // exactly as logged
	Proof         string          `json:"proof,omitempty"`
	Waiting       bool            `json:"waiting"` // not in a witnessed checkpoint yet
}

// detail is what the page of a statement shows.
type detail struct {
	s       *record.Statement
	title   string
	facts   []Fact
	rest    string // members that this version does not know, as JSON
	payload string // the whole statement, indented
	covered *verify.Proof
	waiting bool
	url     string
}

func (m *Room) show(r *frame.Request) (*frame.Answer, error) {
	n, err := number(r)
	if err != nil {
		return nil, err
	}
	s, err := m.Read.At(r.Ctx(), n)
	if err != nil {
		return nil, err
	}
	if r.Format == "dsse" {
		return &frame.Answer{Bytes: s.Raw, Type: "application/vnd.dsse.envelope.v1+json", Name: fmt.Sprintf("statement-%d.dsse.json", n)}, nil
	}
	proof, err := m.Read.Proof(r.Ctx(), n)
	if err != nil {
		return nil, err
	}
	if r.Format == "proof" {
		if proof == nil {
			return nil, fault.Unavailable.New("statement %d is not in a witnessed checkpoint yet; try again in a few seconds", n)
		}
		return &frame.Answer{Bytes: proof.Format(), Type: "text/plain; charset=utf-8", Name: fmt.Sprintf("statement-%d.tlog-proof", n)}, nil
	}
	page := detail{s: s, title: titleOf(s.Kind), covered: proof, waiting: proof == nil, url: m.URL}
	data := Detail{Row: row(s), Envelope: string(s.Raw), Waiting: proof == nil, Keys: append([]string{}, s.Keys...), Predicate: json.RawMessage("null")}
	if proof != nil {
		data.Proof = string(proof.Format())
	}
	if s.Said != nil {
		page.facts, page.rest = facts(s.Said)
		page.payload = indented(s.Said)
		data.PredicateType, data.Predicate = s.Said.PredicateType, s.Said.Predicate
	}
	return &frame.Answer{Title: fmt.Sprintf("Statement %d", n), Section: "/statements", Data: data, Body: statementPage(page)}, nil
}

func titleOf(kind string) string {
	for _, k := range statement.Kinds {
		if k.Name == kind {
			return k.Title
		}
	}
	return "A statement of a kind that this version does not know"
}

func indented(s *statement.Statement) string {
	raw, err := json.Marshal(s)
	if err != nil {
		return ""
	}
	return indent(raw)
}

// indent sets JSON for reading. Characters that can not be seen, or that turn
// the direction of writing, are written as escapes, which means the same.
func indent(raw []byte) string {
	var b bytes.Buffer
	if json.Indent(&b, raw, "", "  ") != nil {
		return string(raw)
	}
	var out strings.Builder
	for _, r := range b.String() {
		if r > 0x7e && frame.Unseen(r) {
			if r > 0xffff {
				hi, lo := (r-0x10000)>>10+0xd800, (r-0x10000)&0x3ff+0xdc00
				fmt.Fprintf(&out, `\u%04x\u%04x`, hi, lo)
			} else {
				fmt.Fprintf(&out, `\u%04x`, r)
			}
			continue
		}
		out.WriteRune(r)
	}
	return out.String()
}

// sorted walks a map in the order of its keys.
func sorted[V any](m map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}

// signedBy says in words who signed.
func signedBy(s *record.Statement) string {
	var words []string
	for _, signer := range s.Signers {
		w := signer.Holder + " (" + signer.Role + ")"
		if signer.Role == "root" {
			w = "the root keys"
		}
		if !slices.Contains(words, w) {
			words = append(words, w)
		}
	}
	if len(words) == 0 {
		return "nobody whose key had a role at this place in the log"
	}
	return strings.Join(words, ", ")
}

func entry(n int64) string { return strconv.FormatInt(n, 10) }

// checkpointOf is the signed note in a proof.
func checkpointOf(p *verify.Proof) string { return string(p.Checkpoint) }
