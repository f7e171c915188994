package release

import (
	"context"
	"fmt"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
)

// way is the states that a release walks through by itself, as soon as what they
// stand for is the case, and back when it no longer is.
var way = []State{Proposed, Reviewed, Tested, Approved, Signed}

// walk brings a release that is not said yet to the state that is the case. by is
// who gave the occasion.
func (s *Service) walk(ctx context.Context, tx *store.Tx, l *law, rel *Release, by string) error {
	for {
		to, ok := next(l, rel)
		if !ok {
			return nil
		}
		m, _ := moveOf(rel.State, to)
		if err := s.step(ctx, tx, rel, to, by, m.When, nil); err != nil {
			return err
		}
	}
}

// next is the state that a release moves to, if any: first back, when something
// before no longer holds, then on.
func next(l *law, rel *Release) (State, bool) {
	for i, state := range way {
		if rel.State != state {
			continue
		}
		for _, earlier := range way[:i+1] {
			if !l.holds(rel, earlier) {
				return way[i-1], true
			}
		}
		if i+1 < len(way) && l.holds(rel, way[i+1]) {
			return way[i+1], true
		}
	}
	return "", false
}

// change runs a deed on a release that is not said yet. The release is read in
// the transaction and walked before and after. A refusal that the deed returns
// undoes the deed, but not what the walk before it found: an approval that ran
// out has run out, whoever asked.
func (s *Service) change(ctx context.Context, product, version, by string, deed func(tx *store.Tx, l *law, rel *Release) error) (*Release, error) {
	seen, err := s.Show(ctx, product, version)
	if err != nil {
		return nil, err
	}
	l, err := s.lawOf(ctx, seen)
	if err != nil {
		return nil, err
	}
	if err := s.settled(ctx, l, seen); err != nil {
		return nil, err
	}
	err = s.DB.Write(ctx, func(tx *store.Tx) error {
		// Two who approve at once are asked one after the other, on PostgreSQL too.
		if _, err := tx.ExecContext(ctx, "UPDATE release SET state = state WHERE id = $1", seen.ID); err != nil {
			return fmt.Errorf("taking its turn: %w", err)
		}
		rel, err := s.read(ctx, tx.QueryContext, product, version)
		if err != nil {
			return err
		}
		// The gates that were read are those of the files that were seen.
		if rel.PayloadHash != seen.PayloadHash {
			return fault.Conflict.New("it was proposed anew at the same moment: look again")
		}
		if !rel.State.Said() {
			if err := s.walk(ctx, tx, l, rel, by); err != nil {
				return err
			}
		}
		if err := deed(tx, l, rel); err != nil {
			return err
		}
		if rel, err = s.read(ctx, tx.QueryContext, product, version); err != nil || rel.State.Said() {
			return err
		}
		return s.walk(ctx, tx, l, rel, by)
	})
	if err != nil {
		return nil, err
	}
	return s.Show(ctx, product, version)
}

// settled writes down that a release fell back, in a transaction of its own.
func (s *Service) settled(ctx context.Context, l *law, seen *Release) error {
	to, ok := next(l, seen)
	if !ok || !to.Before(seen.State) {
		return nil
	}
	return s.DB.Write(ctx, func(tx *store.Tx) error {
		rel, err := s.read(ctx, tx.QueryContext, seen.Statement.Product, seen.Statement.Version)
		if err != nil || rel.State.Said() || rel.PayloadHash != seen.PayloadHash {
			return err
		}
		return s.walk(ctx, tx, l, rel, itself)
	})
}
