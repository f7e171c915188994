package release

import (
	"context"
	"fmt"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/statement"
)

// Publish signs an approved proposal with the release key and says it, with its
// approvals, to the log. Too few approvals are Denied.
func (s *Service) Publish(ctx context.Context, product, version string, signer statement.Signer) (*Release, error) {
	what := label(product, version)
	rel, err := s.Show(ctx, product, version)
	if err != nil {
		return nil, fmt.Errorf("publishing: %w", err)
	}
	if rel.State != Proposed {
		return nil, fault.Conflict.New("publishing %s: it is %s already", what, rel.State)
	}
	e, err := statement.Sign(rel.Payload, signer)
	if err != nil {
		return nil, fmt.Errorf("publishing %s: %w", what, err)
	}
	for _, a := range rel.Approvals {
		e.Signatures = append(e.Signatures, statement.Signature{KeyID: a.KeyID, Sig: a.sig})
	}
	a, err := s.authority(ctx)
	if err != nil {
		return nil, fmt.Errorf("publishing %s: %w", what, err)
	}
	err = s.DB.Write(ctx, func(tx *store.Tx) error {
		entry, err := s.say(ctx, tx, a, e)
		if err != nil {
			return err
		}
		return s.moved(ctx, tx, rel, Published, "UPDATE release SET state = $1, entry = $2, published_at = $3 WHERE id = $4 AND state = $5 AND payload_hash = $6",
			Published, entry.Index, s.Now().UnixMilli(), rel.ID, Proposed, rel.PayloadHash)
	})
	if err != nil {
		return nil, fmt.Errorf("publishing %s: %w", what, err)
	}
	return s.Show(ctx, product, version)
}

// Revoke takes a published release back: from the statement on, whoever
// verifies its files is told to stop.
func (s *Service) Revoke(ctx context.Context, product, version, reason string, signer statement.Signer) (*Release, error) {
	what := label(product, version)
	rel, err := s.Show(ctx, product, version)
	if err != nil {
		return nil, fmt.Errorf("revoking: %w", err)
	}
	if rel.State != Published {
		return nil, fault.Conflict.New("revoking %s: it is %s, not published", what, rel.State)
	}
	said, err := s.DB.SaidAt(ctx, rel.Entry)
	if err != nil {
		return nil, fmt.Errorf("revoking %s: %w", what, err)
	}
	payload, err := statement.New(
		[]statement.Subject{{Name: fmt.Sprintf("entry:%d", rel.Entry), Digest: map[string]string{"sha256": statement.HashOf(said.Envelope)}}},
		&statement.Revocation{Entry: rel.Entry, Kind: "release", Product: product, Reason: reason, At: s.stamp()})
	if err != nil {
		return nil, fault.Invalid.New("revoking %s: %w", what, err)
	}
	e, err := statement.Sign(payload, signer)
	if err != nil {
		return nil, fmt.Errorf("revoking %s: %w", what, err)
	}
	a, err := s.authority(ctx)
	if err != nil {
		return nil, fmt.Errorf("revoking %s: %w", what, err)
	}
	err = s.DB.Write(ctx, func(tx *store.Tx) error {
		entry, err := s.say(ctx, tx, a, e)
		if err != nil {
			return err
		}
		return s.moved(ctx, tx, rel, Revoked, "UPDATE release SET state = $1, revoked_by = $2 WHERE id = $3 AND state = $4", Revoked, entry.Index, rel.ID, Published)
	})
	if err != nil {
		return nil, fmt.Errorf("revoking %s: %w", what, err)
	}
	return s.Show(ctx, product, version)
}

// moved runs the update that changes a release's state, and fails when somebody
// else has changed it first, so that the statement is not said either.
func (s *Service) moved(ctx context.Context, tx *store.Tx, rel *Release, to, update string, args ...any) error {
	res, err := tx.ExecContext(ctx, update, args...)
	if err != nil {
		return fmt.Errorf("noting that it is %s: %w", to, err)
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return fault.Conflict.New("it changed while it was to become %s", to)
	}
	return nil
}
