package release

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/ledger/signing"
	"clerestory.dev/clerestory/statement"
)

// The roles that sign a release.
const (
	ByRelease  = "release"  // the release keys
	ByApprover = "approver" // people
)

// Sign adds a release key's signature to an approved release. A key that has
// signed it already does not sign again.
func (s *Service) Sign(ctx context.Context, product, version string, signer statement.Signer) (*Release, error) {
	rel, err := s.Show(ctx, product, version)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	e, err := statement.Sign(rel.Payload, signer)
	if err != nil {
		return nil, fmt.Errorf("signing %s: %w", label(product, version), err)
	}
	return s.AddSignature(ctx, product, version, rel.PayloadHash, e.Signatures[0])
}

// AddSignature adds a release key's signature that was made elsewhere.
func (s *Service) AddSignature(ctx context.Context, product, version, payloadHash string, sig statement.Signature) (*Release, error) {
	what, holder := label(product, version), ""
	rel, err := s.change(ctx, product, version, itself, func(tx *store.Tx, l *law, rel *Release) error {
		k, ok := key(l.releasers, sig.KeyID)
		holder = k.Holder
		switch {
		case rel.State.Said():
			return fault.Conflict.New("it is %s already", rel.State)
		case rel.PayloadHash != payloadHash:
			return changed(rel)
		case !ok:
			return fault.Denied.New("key %s has not the role release for %s in the log (clerestory key list shows what each key may do)", sig.KeyID, product)
		case rel.State != Approved && rel.State != Signed:
			return fault.Denied.New("it is %s, not approved: %s", rel.State, needText(l.needs(rel)))
		}
		public := statement.PublicKey(k.Public)
		sig.Sig = public.Canonical(sig.Sig)
		if !public.Verify(statement.PAE(statement.PayloadType, rel.Payload), sig.Sig) {
			return fault.Denied.New("the signature is not by key %s over this release", sig.KeyID)
		}
		if err := s.audited(ctx, tx, holder, "sign", rel, true); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO release_signature (release_id, keyid, payload_hash, sig, at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (release_id, keyid) DO NOTHING`, rel.ID, sig.KeyID, rel.PayloadHash, sig.Sig, s.Now().UnixMilli())
		if err != nil {
			return fmt.Errorf("writing the signature: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, s.refused(ctx, product, version, holder, "sign", fmt.Errorf("signing %s: %w", what, err))
	}
	return rel, nil
}

// Request makes a signing request for keys that are elsewhere: the release keys,
// or the approvers'. It is kept, so that answers can be compared with it.
func (s *Service) Request(ctx context.Context, product, version, role string, life time.Duration) (*signing.Request, error) {
	what := label(product, version)
	rel, err := s.Show(ctx, product, version)
	if err != nil {
		return nil, fmt.Errorf("asking for signatures: %w", err)
	}
	l, err := s.lawOf(ctx, rel)
	if err != nil {
		return nil, fmt.Errorf("asking for signatures of %s: %w", what, err)
	}
	keys, need, sentence := l.approvers, l.trust.Root.Clerestory.Approvals, "Approve the release of "
	if role == ByRelease {
		keys, need, sentence = l.releasers, l.rule.Signatures, "Sign the approved release of "
	}
	switch {
	case role != ByRelease && role != ByApprover:
		return nil, fault.Invalid.New("asking for signatures of %s: the role %q does not sign releases; use release or approver", what, role)
	case rel.State.Said() || rel.State == Drafted:
		return nil, fault.Conflict.New("asking for signatures of %s: it is %s", what, rel.State)
	case role == ByRelease && !l.holds(rel, Approved):
		return nil, fault.Denied.New("asking for signatures of %s: it is not approved: %s", what, needText(l.needs(rel)))
	case life <= 0 || life > signing.Limits.Life:
		return nil, fault.Invalid.New("asking for signatures of %s: a request can wait for up to %d days", what, int(signing.Limits.Life.Hours()/24))
	}
	r := &signing.Request{
		Purpose: signing.DSSE, What: sentence + what + " on channel " + rel.Statement.Channel + ".", PayloadType: statement.PayloadType, Payload: rel.Payload,
		Expires: s.Now().Add(life).UTC().Truncate(time.Second).Format(time.RFC3339),
	}
	for _, k := range keys {
		if role == ByRelease || !l.author(rel, k.Holder) {
			r.Keys = append(r.Keys, k.KeyID)
		}
	}
	// Fewer keys than are needed is no reason to refuse: more may be granted yet.
	r.Threshold = min(need, max(len(r.Keys), 1))
	return r, s.keep(ctx, rel, r, role)
}

func (s *Service) keep(ctx context.Context, rel *Release, r *signing.Request, role string) error {
	file, err := r.Format()
	if err != nil {
		return err
	}
	sum := sha256.Sum256(file)
	return s.DB.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO release_request (hash, release_id, role, file, at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (hash) DO NOTHING",
			hex.EncodeToString(sum[:]), rel.ID, role, file, s.Now().UnixMilli())
		if err != nil {
			return fmt.Errorf("keeping the signing request: %w", err)
		}
		return nil
	})
}

// Assemble adds answers to signing requests, each on its own: one that is not
// good is an error, and those before it stay. An answer to another release's
// request, or to one that ran out, is refused.
func (s *Service) Assemble(ctx context.Context, product, version string, answers []*signing.Response) (*Release, error) {
	rel, err := s.Show(ctx, product, version)
	if err != nil {
		return nil, fmt.Errorf("putting signatures together: %w", err)
	}
	for _, a := range answers {
		if rel, err = s.accept(ctx, rel, a); err != nil {
			return nil, fmt.Errorf("putting signatures together for %s: %w", label(product, version), err)
		}
	}
	return rel, nil
}

func (s *Service) accept(ctx context.Context, rel *Release, a *signing.Response) (*Release, error) {
	var file []byte
	var role, id string
	err := s.DB.QueryRow(ctx, "SELECT file, role, release_id FROM release_request WHERE hash = $1", a.Request).Scan(&file, &role, &id)
	if errors.Is(err, sql.ErrNoRows) || err == nil && id != rel.ID {
		return nil, fault.Denied.New("the answer by key %s is to another request than those made for this release", a.KeyID)
	}
	if err != nil {
		return nil, fmt.Errorf("finding the signing request: %w", err)
	}
	r, err := signing.ParseRequest(file)
	if err != nil {
		return nil, err
	}
	if r.Expired(s.Now()) {
		return nil, fault.Stale.New("the request that key %s answers expired at %s; ask for a new one", a.KeyID, r.Expires)
	}
	l, err := s.lawOf(ctx, rel)
	if err != nil {
		return nil, err
	}
	keys := l.approvers
	if role == ByRelease {
		keys = l.releasers
	}
	var parties []signing.Party
	for _, k := range keys {
		parties = append(parties, signing.Party{Public: k.Public, Holder: k.Holder})
	}
	sig, err := signing.Accept(r, a, parties)
	if err != nil {
		return nil, err
	}
	p, v, hash := rel.Statement.Product, rel.Statement.Version, statement.HashOf(r.Payload)
	if role == ByRelease {
		return s.AddSignature(ctx, p, v, hash, sig)
	}
	return s.AddApproval(ctx, p, v, hash, sig)
}
