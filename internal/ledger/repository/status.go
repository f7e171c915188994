package repository

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/update"
)

// Status is all that people need to see of a repository.
type Status struct {
	Heads    []*update.Head `json:"heads"`    // as they were decided, signed or not
	Unstaged bool           `json:"unstaged"` // something was decided since the last stage
	Staged   bool           `json:"staged"`
	Waiting  []Waiting      `json:"waiting"` // for signatures
	Expiries []Expiry       `json:"expiries"`
}

// Status tells what is offered, what waits for whom and what expires.
func (s *Service) Status(ctx context.Context) (*Status, error) {
	st := &Status{Waiting: []Waiting{}}
	var err error
	if st.Heads, err = s.Heads(ctx); err != nil {
		return nil, err
	}
	if st.Expiries, err = s.Expiries(ctx); err != nil {
		return nil, err
	}
	stage, err := s.Staged(ctx)
	switch {
	case errors.Is(err, fault.NotFound):
		st.Unstaged, err = s.undecided(ctx)
		return st, err
	case err != nil:
		return nil, err
	}
	if err := s.void(ctx, stage); errors.Is(err, fault.Stale) {
		st.Unstaged = true
		return st, nil
	} else if err != nil {
		return nil, err
	}
	p, err := s.progress(ctx, stage)
	if err != nil {
		return nil, err
	}
	st.Staged, st.Waiting = true, append(st.Waiting, p.Waiting...)
	return st, nil
}

// undecided tells whether there is something to sign that nobody was asked for.
func (s *Service) undecided(ctx context.Context) (bool, error) {
	due, _, err := s.due(ctx)
	return len(due) > 0, err
}

// Expiry is when a role's published metadata expires.
type Expiry struct {
	Role    string    `json:"role"`
	Version int64     `json:"version"`
	At      time.Time `json:"at"`
	Online  bool      `json:"online"` // renewed by itself where the online key is present
	Soon    bool      `json:"soon"`   // less than a third of its time is left
}

// Expiries lists all that clients get now, what expires first first: for metrics
// and warnings. The root is among them.
func (s *Service) Expiries(ctx context.Context) ([]Expiry, error) {
	trust, _, err := s.trust()
	if err != nil {
		return nil, err
	}
	before, err := s.published(ctx)
	if err != nil {
		return nil, err
	}
	p, now := s.Policy.filled(), s.now()
	all := []Expiry{{Role: metadata.ROOT, Version: trust.Root.Version, At: trust.Root.Expires, Soon: trust.Root.Expires.Sub(now) < 60*24*time.Hour}}
	live := inForce(before)
	for name, f := range before {
		if f.file != nil && !live[name] {
			continue
		}
		x := Expiry{Role: name, Version: f.version, At: f.expires, Online: true}
		life := p.Snapshot
		switch name {
		case metadata.SNAPSHOT, stopRole:
		case metadata.TIMESTAMP:
			life = p.Timestamp
		case metadata.TARGETS:
			life, x.Online = p.Targets, false
		default:
			life, x.Online = p.Product, false
		}
		x.Soon = f.expires.Sub(now) < life/3
		all = append(all, x)
	}
	slices.SortFunc(all, func(a, b Expiry) int {
		if c := a.At.Compare(b.At); c != 0 {
			return c
		}
		return slices.Compare([]string{a.Role}, []string{b.Role})
	})
	return all, nil
}
