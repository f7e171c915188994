package release

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/gate/audit"
)

// State is where a release stands on its way.
type State string

// The states, in the order in which a release gets to them.
const (
	Drafted    State = "draft"      // its author's; nobody else is asked
	Proposed   State = "proposed"   // others are asked to look
	Reviewed   State = "reviewed"   // somebody else has looked
	Tested     State = "tested"     // its gates are green on these bytes
	Approved   State = "approved"   // enough people have signed the text
	Signed     State = "signed"     // enough release keys have signed it too
	Logged     State = "logged"     // said: a log entry
	Published  State = "published"  // a witnessed checkpoint covers the entry
	Superseded State = "superseded" // a newer release of its channel is published
	Revoked    State = "revoked"    // taken back by a statement
)

// Move is a step that a release can take, and when. A move Back takes away what
// was reached, because it no longer holds.
type Move struct {
	From, To State
	When     string
	Back     bool
}

// Moves is the whole process: what is not in this table does not happen.
var Moves = []Move{
	{Drafted, Proposed, "its author hands it in", false},
	{Proposed, Reviewed, "somebody who is not its author has looked at exactly this text", false},
	{Reviewed, Tested, "each gate of the rule passed on exactly these bytes, as a tester's statement says", false},
	{Tested, Approved, "enough people of the rule's roles have signed this text, not too long ago, its author not among them", false},
	{Approved, Signed, "enough holders of the role release have signed it", false},
	{Signed, Logged, "all of this holds still, a window is open, and the statement is said with this step", false},
	{Logged, Published, "a checkpoint with a witness quorum covers its entry", false},
	{Published, Superseded, "a newer release of its channel is published", false},
	{Logged, Revoked, "a revocation is said with this step", false},
	{Published, Revoked, "a revocation is said with this step", false},
	{Superseded, Revoked, "a revocation is said with this step", false},
	{Proposed, Drafted, "its author takes it back to change it: reviews, approvals and signatures fall", true},
	{Reviewed, Drafted, "its author takes it back to change it: reviews, approvals and signatures fall", true},
	{Tested, Drafted, "its author takes it back to change it: reviews, approvals and signatures fall", true},
	{Approved, Drafted, "its author takes it back to change it: reviews, approvals and signatures fall", true},
	{Signed, Drafted, "its author takes it back to change it: reviews, approvals and signatures fall", true},
	{Reviewed, Proposed, "no review counts any more", true},
	{Tested, Reviewed, "a gate no longer holds", true},
	{Approved, Tested, "too few approvals count any more", true},
	{Signed, Approved, "too few signatures count any more", true},
}

// States lists the states in their order.
var States = []State{Drafted, Proposed, Reviewed, Tested, Approved, Signed, Logged, Published, Superseded, Revoked}

// Before tells whether s comes before other on the way of a release.
func (s State) Before(other State) bool {
	return slices.Index(States, s) < slices.Index(States, other)
}

// Said tells whether a release in this state is a statement in the log.
func (s State) Said() bool { return !s.Before(Logged) }

func moveOf(from, to State) (Move, bool) {
	i := slices.IndexFunc(Moves, func(m Move) bool { return m.From == from && m.To == to })
	if i < 0 {
		return Move{}, false
	}
	return Moves[i], true
}

// Diagram draws the table of moves (Mermaid), as the guide shows it.
func Diagram() string {
	var b strings.Builder
	b.WriteString("stateDiagram-v2\n    [*] --> draft\n")
	for _, m := range Moves {
		arrow := ""
		if m.Back {
			arrow = "back - "
		}
		fmt.Fprintf(&b, "    %s --> %s: %s%s\n", m.From, m.To, arrow, strings.ReplaceAll(strings.ReplaceAll(m.When, ":", " -"), ";", ","))
	}
	return b.String()
}

// itself is who the audit trail names for what no person did.
const itself = "clerestory"

// step is the one place where a release's state changes. It refuses what the
// table does not have and what somebody else was faster with, and leaves an
// audit record. deed, which may be nil, is what else becomes true with it; it
// comes last, because it may say a statement, and that order of locks is the
// same everywhere. When the transaction fails, rel must not be used any more.
func (s *Service) step(ctx context.Context, tx *store.Tx, rel *Release, to State, by, why string, deed func() error) error {
	if _, ok := moveOf(rel.State, to); !ok {
		return fault.Conflict.New("a release that is %s can not become %s", rel.State, to)
	}
	res, err := tx.ExecContext(ctx, "UPDATE release SET state = $1 WHERE id = $2 AND state = $3 AND payload_hash = $4", to, rel.ID, rel.State, rel.PayloadHash)
	if err != nil {
		return fmt.Errorf("noting that it is %s: %w", to, err)
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return fault.Conflict.New("it changed while it was to become %s: look again", to)
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO release_step (release_id, n, from_state, to_state, holder, why, at)
		SELECT $1, COALESCE(MAX(n), 0) + 1, $2, $3, $4, $5, $6 FROM release_step WHERE release_id = $1`,
		rel.ID, rel.State, to, by, why, s.Now().UnixMilli()); err != nil {
		return fmt.Errorf("noting that it is %s: %w", to, err)
	}
	if err := s.audited(ctx, tx, by, string(to), rel, true); err != nil {
		return err
	}
	rel.State = to
	if deed == nil {
		return nil
	}
	return deed()
}

// audited leaves a record that somebody did, or was refused, something to a
// release. In a transaction it comes before a statement is said.
func (s *Service) audited(ctx context.Context, tx *store.Tx, by, what string, rel *Release, allowed bool) error {
	e := audit.Event{Actor: by, Action: "release:" + what, Object: "release:" + rel.Statement.Product + "/" + rel.Statement.Version, Allowed: allowed}
	trail := audit.New(s.DB, s.Now)
	if tx == nil {
		return trail.RecordAlone(ctx, e)
	}
	return trail.Record(ctx, tx, e)
}
