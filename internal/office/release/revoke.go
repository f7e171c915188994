package release

import (
	"context"
	"fmt"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/statement"
)

// Revoke takes a release that was said back: from the statement on, whoever
// verifies its files is told to stop. It does not wait for witnesses, windows or
// approvals: to stop is always possible.
func (s *Service) Revoke(ctx context.Context, product, version, reason string, signer statement.Signer) (*Release, error) {
	what := label(product, version)
	seen, err := s.Show(ctx, product, version)
	if err != nil {
		return nil, fmt.Errorf("revoking: %w", err)
	}
	if _, ok := moveOf(seen.State, Revoked); !ok {
		return nil, fault.Conflict.New("revoking %s: it is %s, not published", what, seen.State)
	}
	said, err := s.DB.SaidAt(ctx, seen.Entry)
	if err != nil {
		return nil, fmt.Errorf("revoking %s: %w", what, err)
	}
	payload, err := statement.New(
		[]statement.Subject{{Name: fmt.Sprintf("entry:%d", seen.Entry), Digest: map[string]string{"sha256": statement.HashOf(said.Envelope)}}},
		&statement.Revocation{Entry: seen.Entry, Kind: "release", Product: product, Reason: reason, At: s.stamp()})
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
	holder := itself
	if next, err := s.DB.Next(ctx); err == nil {
		if k, ok := key(a.KeysFor("release", product, next), signer.KeyID()); ok {
			holder = k.Holder
		}
	}
	err = s.DB.Write(ctx, func(tx *store.Tx) error {
		rel, err := s.read(ctx, tx.QueryContext, product, version)
		if err != nil {
			return err
		}
		return s.step(ctx, tx, rel, Revoked, holder, reason, func() error {
			entry, err := s.say(ctx, tx, a, e)
			if err != nil {
				return err
			}
			return revokedBy(ctx, tx, rel, entry.Index)
		})
	})
	if err != nil {
		return nil, fmt.Errorf("revoking %s: %w", what, err)
	}
	return s.Show(ctx, product, version)
}

func revokedBy(ctx context.Context, tx *store.Tx, rel *Release, entry int64) error {
	if _, err := tx.ExecContext(ctx, "UPDATE release SET revoked_by = $1 WHERE id = $2", entry, rel.ID); err != nil {
		return fmt.Errorf("noting its revocation: %w", err)
	}
	return nil
}
