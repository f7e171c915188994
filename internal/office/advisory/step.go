package advisory

import (
	"context"
	"fmt"
	"slices"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
)

// States of a report, in their order. A report that turns out to be none is
// rejected.
const (
	New          = "new"
	Acknowledged = "acknowledged"
	Triaged      = "triaged"
	Mended       = "fixed"
	Disclosed    = "published"
	Rejected     = "rejected"
)

// after are the states that a report can move to.
var after = map[string][]string{
	New:          {Acknowledged, Rejected},
	Acknowledged: {Triaged, Rejected},
	Triaged:      {Mended, Disclosed, Rejected}, // what can not be mended is published all the same
	Mended:       {Disclosed},
}

// Case is a report as those see it who deal with it: everything but what it says.
type Case struct {
	ID        string
	Receipt   string
	Recipient string
	State     string
	Received  time.Time
	Steps     []Step // in order: acknowledge, triage, fix, publish
	Rejected  time.Time
	Next      []string // states that it can move to
}

// Step is one promised step of a case.
type Step struct {
	Name string // acknowledge, triage, fix, publish
	Due  time.Time
	Done time.Time
}

// Missed tells whether the step was not done in time, by now.
func (s Step) Missed(now time.Time) bool {
	return !s.Due.IsZero() && (s.Done.After(s.Due) || s.Done.IsZero() && now.After(s.Due))
}

const caseColumns = `id, receipt, recipient, state, received_at, acknowledge_due, triage_due, fix_due, publish_due,
	acknowledged_at, triaged_at, fixed_at, published_at, rejected_at`

// Cases gives the reports: those that wait first, the oldest of them first, then
// those that are done.
func (s *Service) Cases(ctx context.Context, limit int) ([]Case, error) {
	return s.cases(ctx, "SELECT "+caseColumns+` FROM report
		ORDER BY CASE WHEN state = 'published' OR state = 'rejected' THEN 1 ELSE 0 END, received_at, id LIMIT $1`, limit)
}

func (s *Service) cases(ctx context.Context, query string, args ...any) ([]Case, error) {
	rows, err := s.DB.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("listing reports: %w", err)
	}
	defer rows.Close()
	var all []Case
	for rows.Next() {
		var c Case
		var received, rejected int64
		var due, done [4]int64
		if err := rows.Scan(&c.ID, &c.Receipt, &c.Recipient, &c.State, &received, &due[0], &due[1], &due[2], &due[3], &done[0], &done[1], &done[2], &done[3], &rejected); err != nil {
			return nil, fmt.Errorf("reading a report: %w", err)
		}
		c.Received, c.Rejected, c.Next = fromMillis(received), fromMillis(rejected), after[c.State]
		for i, name := range []string{"acknowledge", "triage", "fix", "publish"} {
			c.Steps = append(c.Steps, Step{name, fromMillis(due[i]), fromMillis(done[i])})
		}
		all = append(all, c)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("listing reports: %w", err)
	}
	return all, nil
}

// Case gives one report, without what it says.
func (s *Service) Case(ctx context.Context, id string) (*Case, error) {
	all, err := s.cases(ctx, "SELECT "+caseColumns+" FROM report WHERE id = $1", id)
	if err == nil && len(all) == 0 {
		return nil, fault.NotFound.New("there is no such report")
	}
	if err != nil {
		return nil, err
	}
	return &all[0], nil
}

// Sealed is the ciphertext of a report.
func (s *Service) Sealed(ctx context.Context, id string) ([]byte, error) {
	if _, err := s.Case(ctx, id); err != nil {
		return nil, err
	}
	var b []byte
	if err := s.DB.QueryRow(ctx, "SELECT ciphertext FROM report WHERE id = $1", id).Scan(&b); err != nil {
		return nil, fmt.Errorf("reading a report: %w", err)
	}
	return b, nil
}

// columnOf is where the moment of a state is kept.
var columnOf = map[string]string{Acknowledged: "acknowledged_at", Triaged: "triaged_at", Mended: "fixed_at", Disclosed: "published_at", Rejected: "rejected_at"}

// Move records a step on a report. record, from the guard, writes to the audit
// trail in the same transaction. A step that is not next is a Conflict.
func (s *Service) Move(ctx context.Context, id, to string, record func(context.Context, *store.Tx) error) error {
	c, err := s.Case(ctx, id)
	if err != nil {
		return err
	}
	if columnOf[to] == "" {
		return fault.Invalid.New("there is no step %q", to)
	}
	if !slices.Contains(c.Next, to) {
		return fault.Conflict.New("the report is %s; %s is not the next step", c.State, to)
	}
	return s.DB.Write(ctx, func(tx *store.Tx) error {
		if err := record(ctx, tx); err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, "UPDATE report SET state = $1, "+columnOf[to]+" = $2 WHERE id = $3 AND state = $4", to, s.Now().UnixMilli(), id, c.State)
		if err != nil {
			return fmt.Errorf("recording the step: %w", err)
		}
		if n, err := res.RowsAffected(); err != nil || n != 1 {
			return fault.Conflict.New("somebody else moved the report meanwhile")
		}
		return nil
	})
}
