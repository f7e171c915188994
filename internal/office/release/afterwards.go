package release

import (
	"context"
	"fmt"
	"slices"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/programme"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// Afterwards is the review that an emergency release owes: everybody sees that it
// is due until it is done.
type Afterwards struct {
	Due     time.Time
	Done    bool
	Overdue bool // not done, and Due is past
	// What the first review that counts says; Entry is -1 while there is none.
	Entry             int64
	Outcome, Findings string
	By                []string
	// Who may do it: people with these roles and a reviewer's key, who have neither
	// proposed nor approved the release.
	Roles, Who []string
}

// Afterwards tells how the review of an emergency release stands, from the
// statements in the log alone where they say it.
func (s *Service) Afterwards(ctx context.Context, rel *Release) (Afterwards, error) {
	af := Afterwards{Entry: -1}
	if !rel.Emergency() || !rel.State.Said() {
		return af, fault.Invalid.New("%s is no emergency release that was said", label(rel.Statement.Product, rel.Statement.Version))
	}
	af.Due = rel.PublishedAt.Add(time.Duration(rel.Statement.Emergency.ReviewHours) * time.Hour)
	af.Overdue = s.Now().After(af.Due)
	l, err := s.lawFor(ctx, rel.Statement.Product, rel.Statement.Channel)
	if err != nil {
		return af, err
	}
	af.Roles = l.rule.Emergency.ReviewBy
	for _, k := range l.authority.KeysFor("reviewer", rel.Statement.Product, l.at) {
		if l.reviewerFault(rel, k.Holder) == nil {
			af.Who = tidy(append(af.Who, k.Holder))
		}
	}
	entries, err := s.reviewsOf(ctx, l, rel)
	if err != nil || len(entries) == 0 {
		return af, err
	}
	r, err := statement.As(entries[0].Statement, &statement.Review{})
	if err != nil {
		return af, fault.Tampered.New("reading review %d: %w", entries[0].Index, err)
	}
	af.Done, af.Overdue, af.Entry, af.Outcome, af.Findings = true, false, entries[0].Index, r.Outcome, r.Findings
	signers, err := l.authority.Believe(entries[0])
	for _, by := range signers {
		af.By = append(af.By, by.Holder)
	}
	return af, err
}

// reviewsOf are the reviews of a release that count (docs/spec/review.md), in the
// log's order.
func (s *Service) reviewsOf(ctx context.Context, l *law, rel *Release) ([]verify.Entry, error) {
	said, err := s.DB.Find(ctx, store.Filter{Kind: "review", Subject: fmt.Sprintf("entry:%d", rel.Entry), Limit: 500})
	if err != nil {
		return nil, err
	}
	release, err := s.DB.SaidAt(ctx, rel.Entry)
	if err != nil {
		return nil, err
	}
	sum := statement.HashOf(release.Envelope)
	var good []verify.Entry
	for _, x := range slices.Backward(said) {
		e, err := verify.ParseEntry(x.N, x.Envelope)
		if err != nil {
			return nil, fault.Tampered.New("reading review %d: %w", x.N, err)
		}
		r, err := statement.As(e.Statement, &statement.Review{})
		if err != nil || r.Entry != rel.Entry || e.Index <= rel.Entry || e.Statement.Subject[0].Digest["sha256"] != sum ||
			r.Product != rel.Statement.Product || r.Version != rel.Statement.Version {
			continue
		}
		signers, err := l.authority.Believe(e)
		if _, revoked := l.authority.RevokedBy(e); err != nil || revoked {
			continue
		}
		if !slices.ContainsFunc(signers, func(by verify.Signer) bool { return l.involved(rel, by.Holder) }) {
			good = append(good, e)
		}
	}
	return good, nil
}

// involved tells whether a holder has proposed or approved a release, under
// whatever account: nobody reviews what he did himself.
func (l *law) involved(rel *Release, holder string) bool {
	return l.author(rel, holder) || slices.ContainsFunc(rel.Approvals, func(a Approval) bool { return l.accounts.one(a.Holder, holder) })
}

// reviewerFault says why somebody may not review a release afterwards, or nil.
func (l *law) reviewerFault(rel *Release, holder string) error {
	if l.involved(rel, holder) {
		return fault.Denied.New("%s has proposed or approved it, and nobody reviews that of himself", holder)
	}
	p, known := l.person(holder)
	if !known {
		return fault.Denied.New("the programme in force names no person %s", holder)
	}
	by := l.rule.Emergency.ReviewBy
	if l.people != nil && len(by) > 0 && programme.Unmet([]programme.Quorum{{Count: 1, Roles: by}}, []programme.Person{p}) != nil {
		return fault.Denied.New("the rule wants the review by %v, and %s is %v", by, holder, p.Roles)
	}
	return nil
}

// SayReview states what came of reviewing an emergency release afterwards, signed
// by a key with the role reviewer. It returns the log entry that it will be.
func (s *Service) SayReview(ctx context.Context, product, version, outcome, findings string, signer statement.Signer) (int64, error) {
	what := label(product, version)
	rel, err := s.Show(ctx, product, version)
	if err != nil {
		return -1, fmt.Errorf("reviewing: %w", err)
	}
	entry, holder, err := s.sayReview(ctx, rel, outcome, findings, signer)
	if err != nil {
		return -1, s.refused(ctx, product, version, holder, "afterwards", fmt.Errorf("reviewing %s afterwards: %w", what, err))
	}
	return entry, nil
}

func (s *Service) sayReview(ctx context.Context, rel *Release, outcome, findings string, signer statement.Signer) (n int64, holder string, err error) {
	if af, err := s.Afterwards(ctx, rel); err != nil {
		return -1, "", err
	} else if af.Done {
		return -1, "", fault.Conflict.New("it was reviewed already, at entry %d", af.Entry)
	}
	l, err := s.lawFor(ctx, rel.Statement.Product, rel.Statement.Channel)
	if err != nil {
		return -1, "", err
	}
	k, ok := key(l.authority.KeysFor("reviewer", rel.Statement.Product, l.at), signer.KeyID())
	if !ok {
		return -1, "", fault.Denied.New("key %s has not the role reviewer for %s in the log", signer.KeyID(), rel.Statement.Product)
	}
	if err := l.reviewerFault(rel, k.Holder); err != nil {
		return -1, k.Holder, err
	}
	said, err := s.DB.SaidAt(ctx, rel.Entry)
	if err != nil {
		return -1, k.Holder, err
	}
	payload, err := statement.New(
		[]statement.Subject{{Name: fmt.Sprintf("entry:%d", rel.Entry), Digest: map[string]string{"sha256": statement.HashOf(said.Envelope)}}},
		&statement.Review{Entry: rel.Entry, Product: rel.Statement.Product, Version: rel.Statement.Version, Outcome: outcome, Findings: findings, At: s.stamp()})
	if err != nil {
		return -1, k.Holder, fault.Invalid.New("%w", err)
	}
	e, err := statement.Sign(payload, signer)
	if err != nil {
		return -1, k.Holder, err
	}
	err = s.DB.Write(ctx, func(tx *store.Tx) error {
		res, err := tx.ExecContext(ctx, "UPDATE release SET emergency = 2 WHERE id = $1 AND emergency = 1", rel.ID)
		if err != nil {
			return fmt.Errorf("noting the review: %w", err)
		}
		if rows, err := res.RowsAffected(); err != nil || rows != 1 {
			return fault.Conflict.New("somebody reviewed it at the same moment")
		}
		if err := s.audited(ctx, tx, k.Holder, "afterwards", rel, true); err != nil {
			return err
		}
		entry, err := s.say(ctx, tx, l.authority, e)
		n = entry.Index
		return err
	})
	return n, k.Holder, err
}
