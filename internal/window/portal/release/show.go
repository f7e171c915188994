package release

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/ledger/signing"
	office "clerestory.dev/clerestory/internal/office/release"
	"clerestory.dev/clerestory/internal/window/portal/detection"
	"clerestory.dev/clerestory/internal/window/portal/frame"
	"clerestory.dev/clerestory/internal/window/portal/record"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// Detail is one release as data. Entries are log entries; -1 is none.
type Detail struct {
	Summary
	PayloadHash string     `json:"payloadHash"` // what approvers compare
	Notes       string     `json:"notes,omitempty"`
	Files       []File     `json:"files"`
	Approvals   []Approval `json:"approvals"`
	Needed      int        `json:"approvalsNeeded"`
	Source      *Source    `json:"source"`
	Build       *Build     `json:"build"`
	Rebuilds    []Build    `json:"rebuilds"` // by others, of the same bytes
	SBOM        File       `json:"sbom"`
	Revoked     *Revoked   `json:"revoked,omitempty"`
	Advisories  []Warning  `json:"advisories"`
	Compared    *Compared  `json:"compared,omitempty"` // of proposals
	Missing     []Need     `json:"missing"`            // what it waits for
	Gates       []Gate     `json:"gates,omitempty"`    // of proposals
	Emergency   *Emergency `json:"emergency,omitempty"`
	Steps       []Step     `json:"steps"`
}

// File is a released file.
type File struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

// Approval is one person's approval.
type Approval struct {
	Holder string    `json:"holder"`
	KeyID  string    `json:"keyid"`
	At     time.Time `json:"at"`
}

// Step is a change of the release's state; only staff see who took it.
type Step struct {
	From string    `json:"from"`
	To   string    `json:"to"`
	By   string    `json:"by,omitempty"`
	Why  string    `json:"why"`
	At   time.Time `json:"at"`
}

// Source is where the release came from.
type Source struct {
	Entry      int64  `json:"entry"`
	Repository string `json:"repository"`
	Commit     string `json:"commit"`
	Tree       string `json:"tree"`
}

// Build is how it was made.
type Build struct {
	Entry    int64  `json:"entry"`
	Builder  string `json:"builder"`
	Type     string `json:"type"`
	Commit   string `json:"commit"`
	Started  string `json:"started,omitempty"`
	Finished string `json:"finished,omitempty"`
	Run      string `json:"run,omitempty"`
}

// Revoked says which entry took it back, and why.
type Revoked struct {
	By     int64  `json:"by"`
	Reason string `json:"reason"`
}

// detail is what the page of a release shows.
type detail struct {
	Detail
	url    string
	now    time.Time
	hidden int  // files that are not on the page
	rules  bool // a base has a page of its own with the rules that changed
	sight  *signing.Sight
	desk   *desk
	base   *detection.Update // what changed in it, of a proposal that is a base
}

func (m *Room) show(r *frame.Request) (*frame.Answer, error) {
	rel, err := m.find(r)
	if err != nil {
		return nil, err
	}
	d, err := m.desk(r, rel)
	if err != nil {
		return nil, err
	}
	return m.answer(r, rel, d)
}

// answer is the page of a release, with what a form on it had wrong.
func (m *Room) answer(r *frame.Request, rel *office.Release, desk *desk) (*frame.Answer, error) {
	d, err := m.detail(r, rel)
	if err != nil {
		return nil, err
	}
	page := detail{Detail: *d, url: m.URL, now: r.Now, desk: desk}
	if n := len(d.Files) - filesShown; n > 0 {
		page.Files, page.hidden = d.Files[:filesShown], n
	}
	table := [][]string{{"name", "sha256", "size"}}
	for _, f := range d.Files {
		table = append(table, []string{f.Name, f.SHA256, strconv.FormatInt(f.Size, 10)})
	}
	a := &frame.Answer{Title: rel.Statement.Product + " " + rel.Statement.Version, Section: "/releases", Data: *d, Table: table}
	page.rules = rel.State.Said() && m.Bases != nil && m.Bases.Is(sums(rel.Files))
	if !rel.State.Said() {
		if page.sight, err = sightOf(rel); err != nil {
			return nil, err
		}
		if page.base, err = m.base(r.Ctx(), rel); err != nil {
			return nil, err
		}
	}
	if desk != nil && desk.Allowed {
		a.Scripts = []string{"passkey.js"}
	}
	a.Body = showPage(page)
	return a, nil
}

func (m *Room) detail(r *frame.Request, rel *office.Release) (*Detail, error) {
	st := rel.Statement
	d := &Detail{Summary: summary(rel), PayloadHash: rel.PayloadHash, Notes: st.Notes, Files: []File{}, Approvals: []Approval{},
		SBOM: File{st.SBOM.Name, st.SBOM.SHA256, st.SBOM.Size}}
	trust, err := m.Read.Trust()
	if err != nil {
		return nil, err
	}
	d.Needed = trust.Root.Clerestory.Approvals
	for _, f := range rel.Files {
		d.Files = append(d.Files, File(f))
	}
	if d.Approvals, err = m.approvals(r, rel); err != nil {
		return nil, err
	}
	if d.Advisories, err = warnings(r, m.Advisories, m.Read, rel); err != nil {
		return nil, err
	}
	if d.Source, err = m.source(r, st.Source); err != nil {
		return nil, err
	}
	if d.Build, err = m.build(r, st.Build); err != nil {
		return nil, err
	}
	if d.Rebuilds, err = m.rebuilds(r, d, st.Build); err != nil {
		return nil, err
	}
	if !rel.State.Said() {
		if d.Compared, err = m.compare(r.Ctx(), rel); err != nil {
			return nil, err
		}
	}
	if err := m.process(r.Ctx(), rel, d); err != nil {
		return nil, err
	}
	if err := m.steps(r, rel, d); err != nil {
		return nil, err
	}
	return d, m.revoked(r, rel, d)
}

func (m *Room) steps(r *frame.Request, rel *office.Release, d *Detail) error {
	all, err := m.Office.Steps(r.Ctx(), rel)
	d.Steps = []Step{}
	for _, s := range all {
		x := Step{string(s.From), string(s.To), s.By, s.Why, s.At}
		if !r.Visitor.SignedIn() {
			x.By = ""
		}
		d.Steps = append(d.Steps, x)
	}
	return err
}

// approvals of a published release are the good signatures in the log, not what
// a table says; the table only adds when they were given.
func (m *Room) approvals(r *frame.Request, rel *office.Release) ([]Approval, error) {
	given := map[string]time.Time{}
	list := []Approval{}
	for _, a := range rel.Approvals {
		given[a.KeyID] = a.At
		list = append(list, Approval{a.Holder, a.KeyID, a.At})
	}
	if rel.Entry < 0 {
		return list, nil
	}
	said, err := m.Read.At(r.Ctx(), rel.Entry)
	if err != nil {
		return nil, fmt.Errorf("reading the release's statement: %w", err)
	}
	list = list[:0]
	for _, s := range said.Signers {
		if s.Role == "approver" {
			list = append(list, Approval{s.Holder, s.KeyID, given[s.KeyID]})
		}
	}
	return list, nil
}

func (m *Room) source(r *frame.Request, hash string) (*Source, error) {
	said, err := m.said(r, hash)
	if err != nil || said == nil || said.Said == nil {
		return nil, err
	}
	st, err := statement.As(said.Said, &statement.Source{})
	if err != nil {
		return nil, fault.Tampered.New("reading the release's source: %w", err)
	}
	return &Source{said.N, st.Repository, st.Commit, st.Tree}, nil
}

func (m *Room) build(r *frame.Request, hash string) (*Build, error) {
	said, err := m.said(r, hash)
	if err != nil || said == nil || said.Said == nil {
		return nil, err
	}
	return buildOf(said)
}

func buildOf(said *record.Statement) (*Build, error) {
	st, err := statement.As(said.Said, &statement.Build{})
	if err != nil {
		return nil, fault.Tampered.New("reading the provenance in statement %d: %w", said.N, err)
	}
	meta := st.RunDetails.Metadata
	return &Build{said.N, st.RunDetails.Builder.ID, st.BuildDefinition.BuildType, st.Commit(), meta.StartedOn, meta.FinishedOn, meta.InvocationID}, nil
}

// rebuilds are statements of keys with the role rebuilder that they made the
// release's first program again, byte for byte.
func (m *Room) rebuilds(r *frame.Request, d *Detail, build string) ([]Build, error) {
	list := []Build{}
	for _, f := range d.Files {
		if f.Name != example(*d) {
			continue
		}
		said, err := m.Read.List(r.Ctx(), store.Filter{Kind: "build", Subject: f.SHA256, Limit: 20})
		if err != nil {
			return nil, err
		}
		for _, s := range said {
			by := slices.ContainsFunc(s.Signers, func(x verify.Signer) bool { return x.Role == "rebuilder" })
			if s.Said == nil || s.SHA256 == build || !by {
				continue
			}
			again, err := buildOf(s)
			if err != nil {
				return nil, err
			}
			list = append(list, *again)
		}
	}
	return list, nil
}

// said finds the statement with a hash; nil when there is none, which the page
// says.
func (m *Room) said(r *frame.Request, hash string) (*record.Statement, error) {
	said, err := m.Read.ByHash(r.Ctx(), hash)
	if errors.Is(err, fault.NotFound) {
		return nil, nil
	}
	return said, err
}

// revoked trusts the log above the table: a revocation that stands in either is
// shown.
func (m *Room) revoked(r *frame.Request, rel *office.Release, d *Detail) error {
	if rel.Entry < 0 {
		return nil
	}
	said, err := m.Read.At(r.Ctx(), rel.Entry)
	if err != nil {
		return fmt.Errorf("reading the release's statement: %w", err)
	}
	switch {
	case said.Revoked != nil:
		d.State, d.Revoked = string(office.Revoked), &Revoked{said.Revoked.By, said.Revoked.Reason}
	case rel.RevokedBy >= 0:
		d.State, d.Revoked = string(office.Revoked), &Revoked{rel.RevokedBy, "see the statement"}
	}
	return nil
}

func moment(s string) time.Time {
	t, _ := time.Parse(time.RFC3339, s) // statements' times were validated
	return t
}
