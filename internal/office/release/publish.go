package release

import (
	"context"
	"errors"
	"fmt"

	"clerestory.dev/clerestory/internal/base/crash"
	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/statement"
)

// Publish signs an approved proposal with the release key and says it, with its
// approvals, to the log. What the rule asks for and is missing is Denied. A crash
// between the signature and the log leaves a signed release; to publish it again
// goes on from there.
func (s *Service) Publish(ctx context.Context, product, version string, signer statement.Signer) (*Release, error) {
	if _, err := s.Sign(ctx, product, version, signer); err != nil {
		return nil, fmt.Errorf("publishing: %w", err)
	}
	crash.Point("release.signed")
	return s.Log(ctx, product, version)
}

// Log says a signed release. Everything that its state stands for is weighed
// again at this moment: approvals that ran out, keys that were revoked since, and
// gates that turned red are refused, and the release falls back. It needs no key.
func (s *Service) Log(ctx context.Context, product, version string) (*Release, error) {
	what := label(product, version)
	rel, err := s.change(ctx, product, version, itself, func(tx *store.Tx, l *law, rel *Release) error {
		if rel.State.Said() {
			return fault.Conflict.New("it is %s already", rel.State)
		}
		if rel.State != Signed {
			return fault.Denied.New("it is %s, not signed: %s", rel.State, needText(l.needs(rel)))
		}
		if open, why, next := l.rule.Windows.Open(l.now); !open {
			return fault.Denied.New("it can not go out now: %s; the next time is %s", why, stampText(next))
		}
		return s.log(ctx, tx, l, rel)
	})
	if err != nil {
		return nil, s.refused(ctx, product, version, itself, "log", fmt.Errorf("publishing %s: %w", what, err))
	}
	// Where a checkpoint covers it already, it is published; else when one does.
	if err := s.publish(ctx, rel); err != nil && !errors.Is(err, fault.Unavailable) && !errors.Is(err, fault.Conflict) {
		return nil, fmt.Errorf("publishing %s: %w", what, err)
	}
	return s.Show(ctx, product, version)
}

// log says the release with the signatures and approvals that count.
func (s *Service) log(ctx context.Context, tx *store.Tx, l *law, rel *Release) error {
	e := &statement.Envelope{PayloadType: statement.PayloadType, Payload: rel.Payload}
	for _, sig := range l.signatures(rel) {
		e.Signatures = append(e.Signatures, statement.Signature{KeyID: sig.KeyID, Sig: sig.sig})
	}
	for _, a := range l.approvals(rel) {
		e.Signatures = append(e.Signatures, statement.Signature{KeyID: a.KeyID, Sig: a.sig})
	}
	m, _ := moveOf(Signed, Logged)
	return s.step(ctx, tx, rel, Logged, itself, m.When, func() error {
		entry, err := s.say(ctx, tx, l.authority, e)
		if err != nil {
			return err
		}
		if err := unchanged(ctx, tx, l.at, entry.Index); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE release SET entry = $1, published_at = $2 WHERE id = $3", entry.Index, s.Now().UnixMilli(), rel.ID); err != nil {
			return fmt.Errorf("noting its entry: %w", err)
		}
		return nil
	})
}

// unchanged refuses when somebody said something about keys, tests or revocations
// between the moment at which they were read and this entry: a key that is
// revoked in that moment must not get a release into the log.
func unchanged(ctx context.Context, tx *store.Tx, read, entry int64) error {
	var n int64
	err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM statement WHERE n >= $1 AND n < $2 AND kind IN ('key', 'revocation', 'test', 'programme')", read, entry).Scan(&n)
	if err != nil {
		return fmt.Errorf("looking what was said meanwhile: %w", err)
	}
	if n > 0 {
		return fault.Conflict.New("keys, tests or rules changed at the same moment: try again")
	}
	return nil
}

// Settle makes every release that a witnessed checkpoint covers published, and
// what it takes the place of superseded. It returns how many it published; while
// there is no checkpoint yet it does nothing.
func (s *Service) Settle(ctx context.Context) (int, error) {
	done, before := 0, ""
	for {
		waiting, err := s.List(ctx, Filter{State: Logged, Before: before, Limit: 200})
		if err != nil {
			return done, err
		}
		for _, rel := range waiting {
			before = rel.ID
			switch err := s.publish(ctx, rel); {
			case errors.Is(err, fault.Unavailable), errors.Is(err, fault.Conflict):
			case err != nil:
				return done, fmt.Errorf("publishing %s: %w", label(rel.Statement.Product, rel.Statement.Version), err)
			default:
				done++
			}
		}
		if len(waiting) < 200 {
			return done, nil
		}
	}
}

// publish notes that the log covers a release. The proof is checked as a
// stranger would. One that is not covered yet is Unavailable.
func (s *Service) publish(ctx context.Context, rel *Release) error {
	t, err := s.trust()
	if err != nil {
		return err
	}
	raw, err := s.Ledger.Checkpoint(ctx)
	if err != nil {
		return err
	}
	c, err := t.Policy.Open(raw)
	if err != nil {
		return fault.Tampered.New("opening the newest checkpoint: %w", err)
	}
	if c.Size <= rel.Entry {
		return fault.Unavailable.New("entry %d is not in a published checkpoint yet", rel.Entry)
	}
	said, err := s.DB.SaidAt(ctx, rel.Entry)
	if err != nil {
		return err
	}
	p, err := s.Ledger.Prove(ctx, rel.Entry, raw)
	if err != nil {
		return err
	}
	if err := p.Check(c, said.Envelope); err != nil {
		return fault.Tampered.New("checking that the log holds entry %d: %w", rel.Entry, err)
	}
	return s.DB.Write(ctx, func(tx *store.Tx) error {
		// All rows that may change are taken before the audit trail is: whoever revokes
		// one of them takes both in this order, and two orders would be a deadlock.
		if _, err := tx.ExecContext(ctx, "UPDATE release SET state = state WHERE product = $1 AND channel = $2 AND state IN ($3, $4)",
			rel.Statement.Product, rel.Statement.Channel, Logged, Published); err != nil {
			return fmt.Errorf("taking its turn: %w", err)
		}
		m, _ := moveOf(Logged, Published)
		if err := s.step(ctx, tx, rel, Published, itself, m.When, nil); err != nil {
			return err
		}
		return s.supersede(ctx, tx, rel)
	})
}

// supersede marks what a published release takes the place of, or itself where a
// newer one was published first.
func (s *Service) supersede(ctx context.Context, tx *store.Tx, rel *Release) error {
	type pair struct{ version, by string }
	var older []pair
	rows, err := tx.QueryContext(ctx, `SELECT o.version, n.version FROM release o JOIN release n ON n.product = o.product AND n.channel = o.channel
		WHERE o.product = $1 AND o.channel = $2 AND o.state = $3 AND n.state = $3 AND n.entry = (
			SELECT MAX(entry) FROM release WHERE product = $1 AND channel = $2 AND state = $3) AND o.entry < n.entry`,
		rel.Statement.Product, rel.Statement.Channel, Published)
	if err != nil {
		return fmt.Errorf("looking what it supersedes: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var p pair
		if err := rows.Scan(&p.version, &p.by); err != nil {
			return fmt.Errorf("looking what it supersedes: %w", err)
		}
		older = append(older, p)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return fmt.Errorf("looking what it supersedes: %w", err)
	}
	for _, p := range older {
		old, err := s.read(ctx, tx.QueryContext, rel.Statement.Product, p.version)
		if err != nil {
			return err
		}
		if err := s.step(ctx, tx, old, Superseded, itself, "by "+p.by, func() error {
			_, err := tx.ExecContext(ctx, "UPDATE release SET superseded_by = $1 WHERE id = $2", p.by, old.ID)
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}
