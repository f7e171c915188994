package release

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/statement"
)

// Look notes that somebody has looked at a proposal: its first step towards a
// release. payloadHash is the hash of what was seen. Whoever approves has looked.
func (s *Service) Look(ctx context.Context, product, version, payloadHash, by, note string) (*Release, error) {
	what := label(product, version)
	rel, err := s.change(ctx, product, version, by, func(tx *store.Tx, l *law, rel *Release) error {
		if rel.State.Said() || rel.State == Drafted {
			return fault.Conflict.New("it is %s", rel.State)
		}
		if rel.PayloadHash != payloadHash {
			return changed(rel)
		}
		return s.look(ctx, tx, l, rel, by, note)
	})
	if err != nil {
		return nil, s.refused(ctx, product, version, by, "review", fmt.Errorf("reviewing %s: %w", what, err))
	}
	return rel, nil
}

// look writes a review. Another one by the same person takes its place.
func (s *Service) look(ctx context.Context, tx *store.Tx, l *law, rel *Release, by, note string) error {
	if _, known := l.person(by); !known {
		return fault.Denied.New("the programme in force names no person %q", by)
	}
	if l.author(rel, by) {
		return fault.Denied.New("%s proposed it, and nobody reviews their own proposal", rel.ProposedBy)
	}
	if len(note) > statement.Limits.Text || !utf8.ValidString(note) || strings.ContainsFunc(note, unicode.IsControl) {
		return fault.Invalid.New("the note must be one line of at most %d bytes", statement.Limits.Text)
	}
	if err := s.audited(ctx, tx, by, "review", rel, true); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO release_review (release_id, holder, payload_hash, note, at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (release_id, holder) DO UPDATE SET payload_hash = excluded.payload_hash, note = excluded.note, at = excluded.at`,
		rel.ID, by, rel.PayloadHash, note, s.Now().UnixMilli())
	if err != nil {
		return fmt.Errorf("writing the review: %w", err)
	}
	return nil
}

func changed(rel *Release) error {
	return fault.Stale.New("the proposal has changed since you looked at it; look again (its hash is now %s)", rel.PayloadHash)
}

// Approve adds a person's signature to a proposal whose gates are green.
// payloadHash is the hash of what the person has seen: when the proposal has
// changed since, the approval is Stale and does not count for the new text.
func (s *Service) Approve(ctx context.Context, product, version, payloadHash string, signer statement.Signer) (*Release, error) {
	rel, err := s.Show(ctx, product, version)
	if err != nil {
		return nil, fmt.Errorf("approving: %w", err)
	}
	if rel.PayloadHash != payloadHash {
		return nil, fmt.Errorf("approving %s: %w", label(product, version), changed(rel))
	}
	e, err := statement.Sign(rel.Payload, signer)
	if err != nil {
		return nil, fmt.Errorf("approving %s: %w", label(product, version), err)
	}
	return s.AddApproval(ctx, product, version, payloadHash, e.Signatures[0])
}

// AddApproval adds a signature that was made elsewhere: on a card, or offline
// from a signing request. One that was made over another release is Denied.
func (s *Service) AddApproval(ctx context.Context, product, version, payloadHash string, sig statement.Signature) (*Release, error) {
	what, holder := label(product, version), ""
	rel, err := s.change(ctx, product, version, itself, func(tx *store.Tx, l *law, rel *Release) (err error) {
		holder, err = s.approve(ctx, tx, l, rel, payloadHash, sig)
		return err
	})
	if err != nil {
		return nil, s.refused(ctx, product, version, holder, "approve", fmt.Errorf("approving %s: %w", what, err))
	}
	return rel, nil
}

func (s *Service) approve(ctx context.Context, tx *store.Tx, l *law, rel *Release, payloadHash string, sig statement.Signature) (holder string, err error) {
	if rel.State.Said() {
		return "", fault.Conflict.New("it is %s already", rel.State)
	}
	if rel.State == Drafted {
		return "", fault.Conflict.New("it is a draft, which its author (%s) has not handed in", rel.ProposedBy)
	}
	if rel.PayloadHash != payloadHash {
		return "", changed(rel)
	}
	k, ok := key(l.approvers, sig.KeyID)
	a := Approval{Holder: k.Holder, KeyID: sig.KeyID, At: l.now, sig: sig.Sig}
	if ok {
		a.sig = statement.PublicKey(k.Public).Canonical(sig.Sig)
	}
	if err := l.approvalFault(rel, a); err != nil {
		return a.Holder, err
	}
	for _, b := range l.approvals(rel) {
		if b.Holder == a.Holder {
			return a.Holder, fault.Conflict.New("%s has approved it already", a.Holder)
		}
		if l.accounts.one(a.Holder, b.Holder) {
			return a.Holder, fault.Denied.New("%s and %s are one person (the log gave one key to both), who has approved it already", a.Holder, b.Holder)
		}
	}
	if err := s.lookAndTest(ctx, tx, l, rel, a.Holder); err != nil {
		return a.Holder, err
	}
	if err := s.audited(ctx, tx, a.Holder, "approve", rel, true); err != nil {
		return a.Holder, err
	}
	// What stands there no longer counts: it is too old, or its key lost the role.
	_, err = tx.ExecContext(ctx, `INSERT INTO release_approval (release_id, holder, keyid, payload_hash, sig, at) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (release_id, holder) DO UPDATE SET keyid = excluded.keyid, payload_hash = excluded.payload_hash, sig = excluded.sig, at = excluded.at`,
		rel.ID, a.Holder, a.KeyID, rel.PayloadHash, a.sig, a.At.UnixMilli())
	if err != nil {
		return a.Holder, fmt.Errorf("writing the approval: %w", err)
	}
	return a.Holder, nil
}

// lookAndTest brings a release to where it can be approved: the approver has
// looked, and the gates must be green.
func (s *Service) lookAndTest(ctx context.Context, tx *store.Tx, l *law, rel *Release, by string) error {
	if !slices.ContainsFunc(rel.Reviews, func(r Review) bool { return r.Holder == by }) {
		if err := s.look(ctx, tx, l, rel, by, ""); err != nil {
			return err
		}
		rel.Reviews = append(rel.Reviews, Review{Holder: by, At: l.now})
	}
	if red := l.red(); len(red) > 0 {
		return fault.Conflict.New("it can not be approved yet: %s", red[0].text())
	}
	return s.walk(ctx, tx, l, rel, by)
}

// text is what is wrong with a gate that is not green.
func (g Gate) text() string {
	if g.Result == "" {
		return fmt.Sprintf("gate %s has not been tested on exactly these files", g.Name)
	}
	return fmt.Sprintf("gate %s is %s on these files, says entry %d", g.Name, g.Result, g.Entry)
}

// refused leaves a record of what somebody was denied, and returns the denial.
func (s *Service) refused(ctx context.Context, product, version, by, what string, denial error) error {
	if !errors.Is(denial, fault.Denied) || statement.CheckID("product", product) != nil || statement.CheckVersion(version) != nil || by != "" && statement.CheckID("person", by) != nil {
		return denial
	}
	rel := &Release{Statement: statement.Release{Product: product, Version: version}}
	return errors.Join(denial, s.audited(ctx, nil, by, what, rel, false))
}
