package release

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/ledger/keyring"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// Period is what evidence is asked for: From is in it, To is not.
type Period struct {
	From, To time.Time
	Sample   int // how many releases are verified again; all, if there are fewer
}

// evidenceCaps bound what one folder of evidence holds.
var evidenceCaps = struct{ releases, changes, sample, files int }{releases: 20_000, changes: 200_000, sample: 500, files: 32}

// Evidence is what an auditor gets for a period: the whole population, and a
// sample of it that was verified again as a stranger would.
type Evidence struct {
	Vendor     string
	Period     Period
	Made       time.Time
	Releases   []ReleaseLine
	Changes    []ChangeLine
	Steps      []StepLine
	Seed       string // what the sample follows from: the SHA-256 of the list of releases
	Sample     []*Sampled
	Checkpoint string // the text that all proofs lead to
	files      map[string][]byte
}

// ReleaseLine is a release of the population: whatever was proposed, changed
// state or was said in the period.
type ReleaseLine struct {
	Product     string    `json:"product"`
	Version     string    `json:"version"`
	Channel     string    `json:"channel"`
	State       State     `json:"state"`
	Emergency   bool      `json:"emergency"`
	ProposedBy  string    `json:"proposedBy"`
	ProposedAt  time.Time `json:"proposedAt"`
	SaidAt      time.Time `json:"saidAt,omitzero"`
	Entry       int64     `json:"entry"` // -1: not said
	RevokedBy   int64     `json:"revokedBy"`
	Approvals   int       `json:"approvals"`
	PayloadHash string    `json:"payloadSha256"`
}

// ChangeLine is a statement of the period.
type ChangeLine struct {
	Entry   int64     `json:"entry"`
	At      time.Time `json:"at"`
	Kind    string    `json:"kind"`
	About   string    `json:"about"` // names of its subjects
	SHA256  string    `json:"sha256"`
	Signers string    `json:"signers"` // holders with their roles
}

// StepLine is a step of a release in the period.
type StepLine struct {
	Product string    `json:"product"`
	Version string    `json:"version"`
	From    State     `json:"from"`
	To      State     `json:"to"`
	By      string    `json:"by"`
	Why     string    `json:"why"`
	At      time.Time `json:"at"`
}

// Evidence gathers a period's evidence. What does not verify is told in it and is
// no error: that is what an auditor wants to know.
func (s *Service) Evidence(ctx context.Context, p Period) (*Evidence, error) {
	if !p.From.Before(p.To) {
		return nil, fault.Invalid.New("gathering evidence: the period must begin before it ends")
	}
	if p.Sample < 0 || p.Sample > evidenceCaps.sample {
		return nil, fault.Invalid.New("gathering evidence: a sample has at most %d releases", evidenceCaps.sample)
	}
	t, err := s.trust()
	if err != nil {
		return nil, fmt.Errorf("gathering evidence: %w", err)
	}
	a, err := keyring.Authority(ctx, s.DB, t)
	if err != nil {
		return nil, fmt.Errorf("gathering evidence: %w", err)
	}
	e := &Evidence{Vendor: t.Root.Clerestory.Vendor, Period: p, Made: s.Now().UTC(), files: map[string][]byte{}}
	for _, gather := range []func(context.Context, *verify.Authority, *Evidence) error{s.gatherReleases, s.gatherChanges, s.gatherSteps, s.gatherSample} {
		if err := gather(ctx, a, e); err != nil {
			return nil, fmt.Errorf("gathering evidence: %w", err)
		}
	}
	return e, nil
}

func (s *Service) gatherReleases(ctx context.Context, _ *verify.Authority, e *Evidence) error {
	from, to := e.Period.From.UnixMilli(), e.Period.To.UnixMilli()
	err := each(ctx, s.DB.Query, func(rows *sql.Rows) error {
		r, err := scan(rows)
		if err != nil {
			return err
		}
		if len(e.Releases) == evidenceCaps.releases {
			return fault.Invalid.New("the period has more than %d releases: choose a shorter one", evidenceCaps.releases)
		}
		st := r.Statement
		e.Releases = append(e.Releases, ReleaseLine{st.Product, st.Version, st.Channel, r.State, r.Emergency(), r.ProposedBy, r.ProposedAt, r.PublishedAt, r.Entry, r.RevokedBy, 0, r.PayloadHash})
		return nil
	}, "SELECT "+columns+` FROM release WHERE proposed_at >= $1 AND proposed_at < $2 OR published_at >= $1 AND published_at < $2
		OR id IN (SELECT release_id FROM release_step WHERE at >= $1 AND at < $2)`, from, to)
	if err != nil {
		return err
	}
	slices.SortFunc(e.Releases, func(a, b ReleaseLine) int {
		return cmp.Or(cmp.Compare(a.Product, b.Product), a.ProposedAt.Compare(b.ProposedAt), cmp.Compare(a.Version, b.Version))
	})
	for i, r := range e.Releases {
		rel, err := s.Show(ctx, r.Product, r.Version)
		if err != nil {
			return err
		}
		e.Releases[i].Approvals = len(rel.Approvals)
	}
	return nil
}

func (s *Service) gatherChanges(ctx context.Context, a *verify.Authority, e *Evidence) error {
	var before *int64
	for {
		page, err := s.DB.Find(ctx, store.Filter{From: e.Period.From, To: e.Period.To, Before: before, Limit: 500})
		if err != nil {
			return err
		}
		for _, said := range page {
			line, err := changeLine(a, said)
			if err != nil {
				return err
			}
			e.Changes = append(e.Changes, line)
		}
		if len(e.Changes) > evidenceCaps.changes {
			return fault.Invalid.New("the period has more than %d statements: choose a shorter one", evidenceCaps.changes)
		}
		if len(page) < 500 {
			slices.Reverse(e.Changes)
			return nil
		}
		before = &page[len(page)-1].N
	}
}

func changeLine(a *verify.Authority, said store.Said) (ChangeLine, error) {
	entry, err := verify.ParseEntry(said.N, said.Envelope)
	if err != nil {
		return ChangeLine{}, fault.Tampered.New("reading statement %d: %w", said.N, err)
	}
	var about, signers []string
	for _, sub := range entry.Statement.Subject[:min(8, len(entry.Statement.Subject))] {
		about = append(about, sub.Name)
	}
	if n := len(entry.Statement.Subject); n > 8 {
		about = append(about, fmt.Sprintf("and %d more", n-8))
	}
	for _, by := range a.Signers(entry) {
		signers = append(signers, by.Holder+" ("+by.Role+")")
	}
	return ChangeLine{said.N, said.At, said.Kind, strings.Join(about, ", "), statement.HashOf(said.Envelope), strings.Join(signers, ", ")}, nil
}

func (s *Service) gatherSteps(ctx context.Context, _ *verify.Authority, e *Evidence) error {
	return each(ctx, s.DB.Query, func(rows *sql.Rows) error {
		var l StepLine
		var at int64
		if err := rows.Scan(&l.Product, &l.Version, &l.From, &l.To, &l.By, &l.Why, &at); err != nil {
			return fmt.Errorf("reading a release's steps: %w", err)
		}
		l.At = time.UnixMilli(at).UTC()
		if e.Steps = append(e.Steps, l); len(e.Steps) > evidenceCaps.changes {
			return fault.Invalid.New("the period has more than %d steps: choose a shorter one", evidenceCaps.changes)
		}
		return nil
	}, `SELECT r.product, r.version, s.from_state, s.to_state, s.holder, s.why, s.at FROM release_step s JOIN release r ON r.id = s.release_id
		WHERE s.at >= $1 AND s.at < $2 ORDER BY s.at, s.release_id, s.n`, e.Period.From.UnixMilli(), e.Period.To.UnixMilli())
}

// choose takes the sample: what was said, in an order that follows from the whole
// list, so that neither the vendor nor the auditor picks.
func (e *Evidence) choose() []ReleaseLine {
	sum := sha256.Sum256(e.releasesCSV())
	e.Seed = hex.EncodeToString(sum[:])
	rank := func(r ReleaseLine) string {
		sum := sha256.Sum256([]byte(e.Seed + "\x00" + r.Product + "\x00" + r.Version))
		return string(sum[:])
	}
	said := slices.DeleteFunc(slices.Clone(e.Releases), func(r ReleaseLine) bool { return r.Entry < 0 })
	slices.SortFunc(said, func(a, b ReleaseLine) int { return cmp.Compare(rank(a), rank(b)) })
	return said[:min(len(said), e.Period.Sample)]
}
