package release

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// Sampled is a release of the sample with everything about it.
type Sampled struct {
	Line       ReleaseLine
	Folder     string // in the evidence
	Good       bool   // every check holds
	Checks     []Check
	Approvals  []ApprovalLine
	Tests      []TestLine
	Keys       []KeyLine
	Steps      []Step
	Reports    []*verify.Report // of each file, up to a cap
	Notes, Why string           // of the statement; why it was an emergency
	Afterwards *Afterwards      // of an emergency
}

// Check is one thing that was looked at again.
type Check struct {
	What string `json:"what"`
	Good bool   `json:"good"`
	Text string `json:"text"`
}

// ApprovalLine is an approver's signature in the log.
type ApprovalLine struct {
	Holder, KeyID string
	At            time.Time // by the vendor's table
}

// TestLine is a test statement about the release's files.
type TestLine struct {
	Entry        int64
	Gate, Result string
	By           []string
	At           time.Time
}

// KeyLine is what the log says of a key that signed something here.
type KeyLine struct {
	KeyID, Holder, Role, Action string
	Entry                       int64
	Products                    []string
}

func (s *Service) gatherSample(ctx context.Context, a *verify.Authority, e *Evidence) error {
	roots, err := s.Roots()
	if err != nil {
		return err
	}
	for i, r := range roots {
		e.files[fmt.Sprintf("roots/%d.root.json", i+1)] = r
	}
	if cp, err := s.Ledger.Checkpoint(ctx); err == nil {
		e.Checkpoint = string(cp)
		e.files["checkpoint"] = cp
	} else if !errors.Is(err, fault.Unavailable) {
		return err
	}
	for _, line := range e.choose() {
		x, err := s.sample(ctx, a, e, line)
		if err != nil {
			return fmt.Errorf("%s: %w", label(line.Product, line.Version), err)
		}
		e.Sample = append(e.Sample, x)
	}
	return nil
}

func (s *Service) sample(ctx context.Context, a *verify.Authority, e *Evidence, line ReleaseLine) (*Sampled, error) {
	rel, err := s.Show(ctx, line.Product, line.Version)
	if err != nil {
		return nil, err
	}
	x := &Sampled{Line: line, Folder: "sample/" + line.Product + "/" + line.Version, Notes: rel.Statement.Notes, Why: rel.Statement.Emergency.Why}
	if x.Steps, err = s.Steps(ctx, rel); err != nil {
		return nil, err
	}
	said, err := s.DB.SaidAt(ctx, rel.Entry)
	if err != nil {
		return nil, err
	}
	entry, err := verify.ParseEntry(said.N, said.Envelope)
	if err != nil {
		return nil, fault.Tampered.New("reading entry %d: %w", said.N, err)
	}
	x.check("the table says what the log says", statement.HashOf(entry.Envelope.Payload) == rel.PayloadHash, "entry %d", rel.Entry)
	x.approvals(a, entry, rel)
	if x.Tests, err = s.testsOf(ctx, a, rel); err != nil {
		return nil, err
	}
	if err := s.judgeFiles(ctx, e, x, rel); err != nil {
		return nil, err
	}
	if rel.Emergency() {
		af, err := s.Afterwards(ctx, rel)
		if err != nil {
			return nil, err
		}
		x.Afterwards = &af
		x.check("the emergency was reviewed in time", af.Done || !af.Overdue, "due %s", af.Due.Format(time.RFC3339))
	}
	x.Good = !slices.ContainsFunc(x.Checks, func(c Check) bool { return !c.Good })
	return x, e.put(x, entry)
}

func (x *Sampled) check(what string, good bool, format string, args ...any) {
	x.Checks = append(x.Checks, Check{what, good, fmt.Sprintf(format, args...)})
}

// approvals lists the approvers' signatures that the log's keys make good.
func (x *Sampled) approvals(a *verify.Authority, entry verify.Entry, rel *Release) {
	signers, err := a.Believe(entry)
	text := "believed"
	if err != nil {
		text = err.Error()
	}
	x.check("its signatures are those that a stranger asks for", err == nil, "%s", text)
	author := false
	for _, by := range signers {
		if by.Role != "approver" {
			continue
		}
		line := ApprovalLine{Holder: by.Holder, KeyID: by.KeyID}
		for _, row := range rel.Approvals {
			if row.KeyID == by.KeyID {
				line.At = row.At
			}
		}
		author = author || by.Holder == rel.ProposedBy
		x.Approvals = append(x.Approvals, line)
	}
	x.check("its author is not among those who approved it", !author, "proposed by %s", rel.ProposedBy)
}

// testsOf are the believed tests of any of a release's files.
func (s *Service) testsOf(ctx context.Context, a *verify.Authority, rel *Release) ([]TestLine, error) {
	whole, without, sums, err := roots(rel.Files, rel.Statement.SBOM.SHA256)
	if err != nil {
		return nil, err
	}
	found := map[int64]store.Said{}
	for _, digest := range append([]string{whole, without}, sums[:min(len(sums), evidenceCaps.files)]...) {
		if err := s.findTests(ctx, digest, found); err != nil {
			return nil, err
		}
	}
	var lines []TestLine
	for n, said := range found {
		e, err := verify.ParseEntry(n, said.Envelope)
		if err != nil {
			return nil, fault.Tampered.New("reading test %d: %w", n, err)
		}
		if t, ok := believedTest(a, e, rel.Statement.Product, said.At); ok {
			lines = append(lines, TestLine{n, t.result.Gate(), t.result.Result, t.by, t.at})
		}
	}
	slices.SortFunc(lines, func(a, b TestLine) int { return int(a.Entry - b.Entry) })
	return lines, nil
}

// judgeFiles verifies the files of a release as a stranger would, from the first
// root of trust and a bundle alone.
func (s *Service) judgeFiles(ctx context.Context, e *Evidence, x *Sampled, rel *Release) error {
	all, err := s.Roots()
	if err != nil {
		return err
	}
	for i, f := range rel.Files[:min(len(rel.Files), evidenceCaps.files)] {
		b, err := s.bundle(ctx, rel, f)
		if errors.Is(err, fault.Unavailable) {
			x.check("a stranger verifies "+f.Name, false, "%s", err)
			continue
		}
		if err != nil {
			return err
		}
		raw, err := b.Format()
		if err != nil {
			return err
		}
		r := verify.JudgeBundle(all[0], raw, verify.Artifact{Name: f.Name, SHA256: f.SHA256, Size: f.Size}, s.Now())
		x.Reports = append(x.Reports, r)
		good := r.Verdict == verify.Verified
		if rel.State == Revoked {
			good = r.Code == verify.CodeRevoked
		}
		x.check("a stranger verifies "+f.Name, good, "%s", r.Reason)
		report, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return fmt.Errorf("encoding a report: %w", err)
		}
		e.files[fmt.Sprintf("%s/%d.clerestory", x.Folder, i+1)] = raw
		e.files[fmt.Sprintf("%s/%d.report.json", x.Folder, i+1)] = report
		if i == 0 {
			if x.Keys, err = keysIn(b); err != nil {
				return err
			}
		}
	}
	return nil
}

// keysIn are the key statements that a bundle carries.
func keysIn(b *verify.Bundle) ([]KeyLine, error) {
	var lines []KeyLine
	for _, be := range b.Entries {
		p, err := verify.ParseProof([]byte(be.Proof))
		if err != nil {
			return nil, err
		}
		e, err := verify.ParseEntry(p.Index, []byte(be.Envelope))
		if err != nil {
			return nil, err
		}
		if k, err := statement.As(e.Statement, &statement.Key{}); err == nil {
			lines = append(lines, KeyLine{k.KeyID, k.Holder, k.Role, k.Action, e.Index, k.Products})
		}
	}
	return lines, nil
}

// put adds the statements of a sampled release to the folder, byte by byte as
// they stand in the log.
func (e *Evidence) put(x *Sampled, entry verify.Entry) error {
	e.files[x.Folder+"/release.dsse.json"] = entry.Raw
	e.files[x.Folder+"/release.json"] = entry.Envelope.Payload
	summary, err := json.MarshalIndent(map[string]any{
		"release": x.Line, "checks": x.Checks, "approvals": x.Approvals, "tests": x.Tests, "keys": x.Keys, "steps": x.Steps, "afterwards": x.Afterwards,
	}, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the evidence: %w", err)
	}
	e.files[x.Folder+"/evidence.json"] = summary
	return nil
}

// Failures are the checks of the sample that do not hold.
func (e *Evidence) Failures() []string {
	var all []string
	for _, x := range e.Sample {
		for _, c := range x.Checks {
			if !c.Good {
				all = append(all, strings.Join([]string{label(x.Line.Product, x.Line.Version), c.What, c.Text}, ": "))
			}
		}
	}
	return all
}
