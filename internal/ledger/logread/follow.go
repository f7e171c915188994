package logread

import (
	"context"
	"errors"
	"fmt"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/ledger/tile"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// Filter says which statements are told of; empty members do not filter.
type Filter struct {
	Kind    string // short name of a kind, or a predicate type URI
	Subject string // a subject's exact name, or one of its digests in hex
	Signer  string // key id
}

// Match tells whether a statement passes.
func (f Filter) Match(e Entry) bool {
	if f.Kind != "" && f.Kind != e.Statement.Kind() && f.Kind != e.Statement.PredicateType {
		return false
	}
	signed := f.Signer == ""
	for _, s := range e.Envelope.Signatures {
		signed = signed || s.KeyID == f.Signer
	}
	about := f.Subject == ""
	for _, s := range e.Statement.Subject {
		about = about || aboutSubject(s, f.Subject)
	}
	return signed && about
}

func aboutSubject(s statement.Subject, wanted string) bool {
	for _, digest := range s.Digest {
		if digest == wanted {
			return true
		}
	}
	return s.Name == wanted
}

// Following is how a log is followed.
type Following struct {
	Memory Memory        // needed: where it goes on after a restart, and where evidence goes
	Every  time.Duration // between two looks; 0 means 30 s
	Filter Filter
	// FromNow skips what is in the log when nothing was seen of it yet; otherwise
	// it begins with entry 0.
	FromNow bool
	// Once ends after one look.
	Once bool
	// Trouble hears what will be tried again (no answer, a slow answer); it may be nil.
	Trouble func(error)
}

// Follow looks at the log again and again and yields each new statement that
// matches, in order, each at least once: what was yielded is forgotten only when
// the program dies before the whole look is done. It ends when ctx does (nil),
// when yield fails, or with Tampered when the log contradicts itself.
func Follow(ctx context.Context, src tile.Source, p *verify.Policy, f Following, yield func(Entry) error) error {
	if err := named(p); err != nil {
		return err
	}
	if f.Memory == "" {
		return fault.Invalid.New("following a log needs a folder to remember what was seen")
	}
	if f.Every <= 0 {
		f.Every = 30 * time.Second
	}
	for {
		err := look(ctx, src, p, f, yield)
		retry := errors.Is(err, fault.Unavailable) || errors.Is(err, fault.NotFound)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && (!retry || f.Once):
			return fmt.Errorf("following the log: %w", err)
		case f.Once:
			return nil
		case err != nil && f.Trouble != nil:
			f.Trouble(err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(f.Every):
		}
	}
}

func look(ctx context.Context, src tile.Source, p *verify.Policy, f Following, yield func(Entry) error) error {
	last, err := f.Memory.Last(p)
	if err != nil {
		return err
	}
	c, err := openHead(ctx, src, p)
	if err != nil {
		return err
	}
	kept := cache(src)
	if err := f.Memory.continues(ctx, kept, last, c); err != nil {
		return err
	}
	var from int64
	switch {
	case last != nil:
		from = last.Size
	case f.FromNow:
		from = c.Size
	}
	for r := range tile.Bundles(from, c.Size) {
		entries, err := readProven(ctx, kept, c, r)
		if err != nil {
			return err
		}
		for i, raw := range entries {
			n := r.Index*tile.Width + int64(i)
			if n < from {
				continue
			}
			e, err := parseEntry(n, raw)
			if err != nil {
				return err
			}
			if !f.Filter.Match(e) {
				continue
			}
			if err := yield(e); err != nil {
				return err
			}
		}
	}
	return f.Memory.keep(p, c)
}
