package update

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"slices"

	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// said is what this client read of the log about keys and revocations, so that it
// reads each entry once: the file state/said.json. All of it was proven to be in
// states of the log that continue each other.
type said struct {
	From    int64       `json:"from"` // the entries from..upto were read
	Upto    int64       `json:"upto"`
	Entries []saidEntry `json:"entries"`
	parsed  []verify.Entry
}

type saidEntry struct {
	Index    int64  `json:"index"`
	Envelope string `json:"envelope"`
}

// loadSaid reads the file. What is damaged is read from the log again.
func (c *Client) loadSaid() (*said, error) {
	b, err := os.ReadFile(c.state("said.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return &said{From: -1}, nil
	}
	if err != nil {
		return nil, disk("reading what the log said", err)
	}
	var s said
	if err := statement.Decode(b, &s); err != nil {
		return &said{From: -1}, nil
	}
	for _, e := range s.Entries {
		p, err := verify.ParseEntry(e.Index, []byte(e.Envelope))
		if err != nil {
			return &said{From: -1}, nil
		}
		s.parsed = append(s.parsed, p)
	}
	return &s, nil
}

func (c *Client) keepSaid(s *said) error {
	s.Entries = nil
	for _, e := range s.parsed {
		s.Entries = append(s.Entries, saidEntry{e.Index, string(e.Raw)})
	}
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return c.write("said.json", b)
}

// add keeps a key or revocation statement.
func (s *said) add(e verify.Entry) {
	if t := e.Statement.PredicateType; t != statement.KeyType && t != statement.RevocationType {
		return
	}
	i, found := slices.BinarySearchFunc(s.parsed, e.Index, func(x verify.Entry, n int64) int { return int(x.Index - n) })
	if !found {
		s.parsed = slices.Insert(s.parsed, i, e)
	}
}

// with gives entries together with what was said, in the log's order.
func (s *said) with(entries []verify.Entry) []verify.Entry {
	all := &said{parsed: slices.Clone(entries)}
	for _, e := range s.parsed {
		all.add(e)
	}
	return all.parsed
}

// listen reads what the log says since release entry first, or since it was read
// last. A log that can not be read, or has too much to read, is told in a note:
// the vendor's head lists revoked versions too.
func (r *run) listen(ctx context.Context, first int64) error {
	s, l := r.said, r.log
	if l.head == nil {
		r.note("the log could not be read, so revocations in it were not looked for: %v", l.why)
		return nil
	}
	if s.From < 0 || first < s.From {
		s.From, s.Upto = first, first
	}
	if l.head.Size-s.Upto > r.c.cfg.Limits.LogEntries {
		r.note("the log has %d entries since this client last read it; revocations among them were not looked for", l.head.Size-s.Upto)
		return nil
	}
	err := l.entries(ctx, s.Upto, l.head.Size, func(e verify.Entry) error {
		s.add(e)
		return nil
	})
	if err != nil && !Definite(err) && CodeOf(err) != Stopped && CodeOf(err) != Disk {
		r.note("the log could not be read, so revocations in it were not looked for: %v", err)
		return nil
	}
	if err != nil {
		return err
	}
	s.Upto = max(s.Upto, l.head.Size)
	return r.c.keepSaid(s)
}

// takenBack finds a believed revocation of a release in the log.
func (r *run) takenBack(entry int64, known []verify.Entry) (string, error) {
	all := r.said.with(known)
	a, err := r.repo.trust.NewAuthority(all)
	if err != nil {
		return "", fromVerify("the log", err)
	}
	for _, e := range all {
		rev, err := statement.As(e.Statement, &statement.Revocation{})
		if err != nil || rev.Entry != entry || rev.Product != r.c.cfg.Product || rev.Kind != "release" {
			continue
		}
		if _, err := a.Believe(e); err == nil {
			return rev.Reason, nil
		}
	}
	return "", nil
}
