package advisory

import (
	"context"
	"fmt"
	"slices"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/ledger/keyring"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// Account states how reports were dealt with from the end of the last account (or
// the first report) until to, signed by the role "security". A period that has not
// ended is Invalid; one without a day is a Conflict.
func (s *Service) Account(ctx context.Context, to time.Time, signer statement.Signer) (*statement.Disclosure, int64, error) {
	to = to.UTC().Truncate(time.Second)
	if to.After(s.Now()) {
		return nil, 0, fault.Invalid.New("accounting for reports: the period ends on %s, which is not yet", stamp(to))
	}
	from, err := s.accountedUntil(ctx)
	if err != nil {
		return nil, 0, err
	}
	if !from.Before(to) {
		return nil, 0, fault.Conflict.New("accounting for reports: everything until %s is accounted for, and nothing came in since", stamp(from))
	}
	d, err := s.count(ctx, from, to)
	if err != nil {
		return nil, 0, err
	}
	payload, err := statement.New([]statement.Subject{statement.DisclosureSubject(d.From, d.To, d.Receipts)}, d)
	if err != nil {
		return nil, 0, fault.Invalid.New("accounting for reports (choose a shorter period with --to): %w", err)
	}
	a, err := s.authority(ctx)
	if err != nil {
		return nil, 0, err
	}
	var n int64
	err = s.DB.Write(ctx, func(tx *store.Tx) (err error) {
		if n, err = s.say(ctx, tx, a, payload, signer); err != nil {
			return err
		}
		var last int64
		if err := tx.QueryRowContext(ctx, "SELECT COALESCE(max(until_at), 0) FROM disclosure").Scan(&last); err != nil {
			return err
		}
		if last > from.UnixMilli() {
			return fault.Conflict.New("somebody else accounted for it meanwhile")
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO disclosure (until_at, from_at, entry) VALUES ($1, $2, $3)", to.UnixMilli(), from.UnixMilli(), n)
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("accounting for reports: %w", err)
	}
	return d, n, nil
}

// accountedUntil is where the next account begins. It goes by the statements, so
// that a restored database tells no month twice.
func (s *Service) accountedUntil(ctx context.Context) (time.Time, error) {
	all, err := s.Accounts(ctx)
	if err != nil {
		return time.Time{}, err
	}
	if len(all) > 0 {
		return moment(all[len(all)-1].To), nil
	}
	var first int64
	if err := s.DB.QueryRow(ctx, "SELECT COALESCE(min(received_at), 0) FROM report").Scan(&first); err != nil {
		return time.Time{}, fmt.Errorf("reading the first report: %w", err)
	}
	if first == 0 {
		return s.Now(), nil
	}
	return time.UnixMilli(first).UTC().Truncate(24 * time.Hour), nil
}

// count makes the account of a period.
func (s *Service) count(ctx context.Context, from, to time.Time) (*statement.Disclosure, error) {
	p, err := s.Programme(ctx)
	if err != nil {
		return nil, err
	}
	cases, err := s.cases(ctx, "SELECT "+caseColumns+" FROM report WHERE received_at < $1", to.UnixMilli())
	if err != nil {
		return nil, err
	}
	pr := p.Security.Promises
	d := &statement.Disclosure{From: stamp(from), To: stamp(to), FixDays: []int64{}, Receipts: []string{}, At: s.stamp(),
		Promises: statement.Promises{Acknowledge: int64(pr.Acknowledge), Triage: int64(pr.Triage), Fix: int64(pr.Fix), Publish: int64(pr.Publish)}}
	in := func(t time.Time) bool { return !t.IsZero() && !t.Before(from) && t.Before(to) }
	done := []*int64{&d.Acknowledged, &d.Triaged, &d.Fixed, &d.Published}
	missed := []*int64{&d.Missed.Acknowledge, &d.Missed.Triage, &d.Missed.Fix, &d.Missed.Publish}
	for _, c := range cases {
		if in(c.Received) {
			d.Received++
			d.Receipts = append(d.Receipts, c.Receipt)
		}
		closed := !c.Rejected.IsZero() && c.Rejected.Before(to)
		if in(c.Rejected) {
			d.Rejected++
		}
		for i, step := range c.Steps {
			if in(step.Done) {
				*done[i]++
			}
			// What was rejected before a step fell due owes it to nobody.
			owed := in(step.Due) && (c.Rejected.IsZero() || c.Rejected.After(step.Due))
			if owed && step.Missed(step.Due.Add(time.Millisecond)) {
				*missed[i]++
			}
		}
		if fixed := c.Steps[2].Done; in(fixed) {
			d.FixDays = append(d.FixDays, int64(fixed.Sub(c.Received)/(24*time.Hour)))
		}
		if published := c.Steps[3].Done; !closed && (published.IsZero() || !published.Before(to)) {
			d.Open++
		}
	}
	slices.Sort(d.FixDays)
	slices.Sort(d.Receipts)
	return d, nil
}

// AccountEntry is an account with the log entry that makes it.
type AccountEntry struct {
	statement.Disclosure
	Entry int64
}

// Accounts are the accounts that the log holds and that are believed, in order.
func (s *Service) Accounts(ctx context.Context) ([]AccountEntry, error) {
	a, err := s.authority(ctx)
	if err != nil {
		return nil, err
	}
	var all []AccountEntry
	err = keyring.Each(ctx, s.DB, "disclosure", func(e verify.Entry) error {
		if _, err := a.Believe(e); err != nil {
			return nil
		}
		d, err := statement.As(e.Statement, &statement.Disclosure{})
		if err != nil {
			return fault.Tampered.New("reading statement %d: %w", e.Index, err)
		}
		all = append(all, AccountEntry{*d, e.Index})
		return nil
	})
	return all, err
}

// Figures are the public figures over several accounts.
type Figures struct {
	From, To                                                             string // "" without any account
	Received, Acknowledged, Triaged, Fixed, Published, Rejected, Open    int64
	MedianDays                                                           int64 // from receipt to fix; -1 when nothing was fixed
	MissedAcknowledge, MissedTriage, MissedFix, MissedPublish, MissedAll int64
}

// Sum adds accounts up. Nothing but statements goes into it, so that anybody comes
// to the same figures.
func Sum(accounts []AccountEntry) Figures {
	f := Figures{MedianDays: -1}
	var days []int64
	for i, a := range accounts {
		if i == 0 {
			f.From = a.From
		}
		f.To, f.Open = a.To, a.Open
		f.Received += a.Received
		f.Acknowledged += a.Acknowledged
		f.Triaged += a.Triaged
		f.Fixed += a.Fixed
		f.Published += a.Published
		f.Rejected += a.Rejected
		f.MissedAcknowledge += a.Missed.Acknowledge
		f.MissedTriage += a.Missed.Triage
		f.MissedFix += a.Missed.Fix
		f.MissedPublish += a.Missed.Publish
		days = append(days, a.FixDays...)
	}
	f.MissedAll = f.MissedAcknowledge + f.MissedTriage + f.MissedFix + f.MissedPublish
	slices.Sort(days)
	if n := len(days); n > 0 {
		f.MedianDays = (days[(n-1)/2] + days[n/2]) / 2
	}
	return f
}
