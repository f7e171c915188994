package release

import (
	"context"
	"fmt"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/statement"
)

// Approve adds a person's signature to a proposal. payloadHash is the hash of
// what the person has seen: when the proposal has changed since, the approval
// is Stale and does not count for the new text.
func (s *Service) Approve(ctx context.Context, product, version, payloadHash string, signer statement.Signer) (*Release, error) {
	what := label(product, version)
	rel, err := s.Show(ctx, product, version)
	if err != nil {
		return nil, fmt.Errorf("approving: %w", err)
	}
	if rel.State != Proposed {
		return nil, fault.Conflict.New("approving %s: it is %s already", what, rel.State)
	}
	if rel.PayloadHash != payloadHash {
		return nil, fault.Stale.New("approving %s: the proposal has changed since you looked at it; look again (its hash is now %s)", what, rel.PayloadHash)
	}
	holder, public, err := s.mayApprove(ctx, signer.KeyID(), product)
	if err != nil {
		return nil, fmt.Errorf("approving %s: %w", what, err)
	}
	if holder == rel.ProposedBy {
		return nil, fault.Denied.New("approving %s: %s proposed it, and nobody approves their own proposal", what, holder)
	}
	e, err := statement.Sign(rel.Payload, signer)
	if err != nil {
		return nil, fmt.Errorf("approving %s: %w", what, err)
	}
	if !e.SignedBy(public, e.Signatures[0]) {
		return nil, fault.Denied.New("approving %s: the signature is not by key %s", what, signer.KeyID())
	}
	err = s.DB.Write(ctx, func(tx *store.Tx) error {
		// The proposal may change between our look and this write: the insert
		// happens only while it still has the payload that was signed.
		res, err := tx.ExecContext(ctx, `INSERT INTO release_approval (release_id, holder, keyid, payload_hash, sig, at)
			SELECT id, $2, $3, payload_hash, $4, $5 FROM release WHERE id = $1 AND payload_hash = $6 AND state = $7
			ON CONFLICT (release_id, holder) DO NOTHING`,
			rel.ID, holder, signer.KeyID(), e.Signatures[0].Sig, s.Now().UnixMilli(), payloadHash, Proposed)
		if err != nil {
			return fmt.Errorf("writing the approval: %w", err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return fault.Conflict.New("%s has approved it already, or it has changed meanwhile", holder)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("approving %s: %w", what, err)
	}
	return s.Show(ctx, product, version)
}
