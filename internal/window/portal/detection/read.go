package detection

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	office "clerestory.dev/clerestory/internal/office/detection"
	"clerestory.dev/clerestory/internal/window/portal/record"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/update"
)

// manifest is a manifest.json: what it says, its bytes and their SHA-256.
type manifest struct {
	office.Manifest
	text []byte
	sum  string
}

// said is a base update as its release statement says it.
type said struct {
	*record.Statement
	release  *statement.Release
	manifest *manifest
}

// each calls do for the updates of a product (all products if empty), newest
// first, until do returns false or enough statements were looked through.
func (m *Room) each(ctx context.Context, product string, before *int64, do func(said) bool) error {
	const batch = 100
	for range Caps.Read / batch {
		// Only a release that names a manifest.json can be a base.
		all, err := m.Read.List(ctx, store.Filter{Kind: "release", Subject: office.ManifestName, Before: before, Limit: batch})
		if err != nil {
			return err
		}
		for _, s := range all {
			before = &s.N
			if u, ok := m.update(s, product); ok && !do(u) {
				return nil
			}
		}
		if len(all) < batch {
			return nil
		}
	}
	return nil
}

// update reads a release statement as a base update; false when it is none, or
// nobody would believe it.
func (m *Room) update(s *record.Statement, product string) (said, bool) {
	if s.Said == nil {
		return said{}, false
	}
	r, err := statement.As(s.Said, &statement.Release{})
	if err != nil || product != "" && r.Product != product || len(holders(s, "release")) == 0 {
		return said{}, false
	}
	sum := ""
	for _, sub := range s.Said.Subject {
		if sub.Name == office.ManifestName {
			sum = sub.Digest["sha256"]
		}
	}
	x, err := m.manifest(sum)
	if err != nil {
		return said{}, false
	}
	return said{s, r, x}, true
}

// holders are those whose keys signed a statement in a role that they had.
func holders(s *record.Statement, role string) []string {
	list := []string{}
	for _, by := range s.Signers {
		if by.Role == role && !slices.Contains(list, by.Holder) {
			list = append(list, by.Holder)
		}
	}
	return list
}

// tell is all that a page says of an update; before is the one before in its
// channel, or nil.
func (m *Room) tell(ctx context.Context, s said, before *said, heads []*update.Head) (*Update, error) {
	r := s.release
	u := &Update{Product: r.Product, Version: r.Version, Channel: r.Channel, State: "published", At: moment(r.At), Entry: s.N,
		Counts: s.manifest.Counts, Content: s.manifest.Content, Approvals: holders(s.Statement, "approver"), Ring: ring(heads, r)}
	if s.Revoked != nil {
		u.State, u.Revoked = "revoked", &Revoked{s.Revoked.By, s.Revoked.Reason}
	}
	var err error
	if u.Rules, err = m.against(ctx, before, s.manifest); err != nil {
		return nil, err
	}
	var sums []string
	for _, sub := range s.Said.Subject {
		if sum := sub.Digest["sha256"]; sum != r.SBOM.SHA256 {
			sums = append(sums, sum)
		}
	}
	if u.Tests, err = m.tests(ctx, r.Product, s.manifest.sum, sums); err != nil {
		return nil, err
	}
	u.Emergency, err = m.emergency(ctx, s)
	return u, err
}

// against compares a base with the update before it, or with nothing.
func (m *Room) against(ctx context.Context, before *said, x *manifest) (*Rules, error) {
	if before == nil {
		return m.compare(ctx, nil, x)
	}
	r, err := m.compare(ctx, before.manifest, x)
	if r != nil {
		r.To = before.release.Version
	}
	return r, err
}

func contentOf(before *said) string {
	if before == nil {
		return ""
	}
	return before.manifest.Content
}

// ring finds the offer of a release among the heads; nil when it is not offered
// (any longer).
func ring(heads []*update.Head, r *statement.Release) *Ring {
	for _, h := range heads {
		if h.Product != r.Product || h.Channel != r.Channel {
			continue
		}
		for _, o := range h.Releases {
			if o.Version == r.Version {
				return &Ring{o.Percent, o.Halted}
			}
		}
	}
	return nil
}

// tests finds what the last believed test of each gate came to on exactly these
// files: sums are all of them, and one is the hash of manifest.json.
func (m *Room) tests(ctx context.Context, product, manifest string, sums []string) ([]Test, error) {
	all, err := m.Read.List(ctx, store.Filter{Kind: "test", Subject: manifest, Limit: 500})
	if err != nil {
		return nil, err
	}
	list := []Test{}
	for _, s := range all { // the newest first
		if s.Said == nil || s.Revoked != nil {
			continue
		}
		t, err := statement.As(s.Said, &statement.TestResult{})
		by := holders(s, "tester")
		if err != nil || t.Clerestory.Product != product || len(by) == 0 || !covers(s.Said, sums) || slices.ContainsFunc(list, func(o Test) bool { return o.Gate == t.Gate() }) {
			continue
		}
		list = append(list, testOf(s, t, by))
	}
	slices.SortFunc(list, func(a, b Test) int { return strings.Compare(a.Gate, b.Gate) })
	return list, nil
}

func testOf(s *record.Statement, t *statement.TestResult, by []string) Test {
	x := Test{Gate: t.Gate(), Result: t.Result, Entry: s.N, By: by, At: s.At, With: []string{}, Passed: append([]string{}, t.PassedTests...), Failed: append([]string{}, t.FailedTests...),
		Numbers: map[string]int64{}, Report: t.Clerestory.Report.Digest["sha256"]}
	for name, n := range t.Clerestory.Numbers {
		x.Numbers[name] = n
	}
	for _, c := range t.Configuration[1:] {
		if c.Name != "" {
			x.With = append(x.With, c.Name)
		}
	}
	return x
}

// covers tells whether a test names each of these files.
func covers(s *statement.Statement, sums []string) bool {
	return !slices.ContainsFunc(sums, func(sum string) bool {
		return !slices.ContainsFunc(s.Subject, func(x statement.Subject) bool { return x.Digest["sha256"] == sum })
	})
}

// emergency reads whether the update went the short way, and what came of the
// review that is due then.
func (m *Room) emergency(ctx context.Context, s said) (*Emergency, error) {
	e := s.release.Emergency
	if e == (statement.Emergency{}) {
		return nil, nil
	}
	found := &Emergency{Why: e.Why, Due: s.At.Add(time.Duration(e.ReviewHours) * time.Hour)}
	all, err := m.Read.List(ctx, store.Filter{Kind: "review", Subject: fmt.Sprintf("entry:%d", s.N), Limit: 100})
	if err != nil {
		return nil, err
	}
	for _, x := range all {
		if x.Said == nil || x.Revoked != nil {
			continue
		}
		r, err := statement.As(x.Said, &statement.Review{})
		by := holders(x, "reviewer")
		if err != nil || len(by) == 0 || r.Entry != s.N || x.Said.Subject[0].Digest["sha256"] != s.SHA256 {
			continue
		}
		found.Review = &Review{x.N, r.Outcome, r.Findings, by, x.At}
	}
	return found, nil
}

func moment(s string) time.Time {
	t, _ := time.Parse(time.RFC3339, s) // statements' times were validated
	return t
}

// manifest reads a manifest.json, which is a base's or not at all.
func (m *Room) manifest(sum string) (*manifest, error) {
	m.mu.Lock()
	kept, ok := m.manifests[sum]
	m.mu.Unlock()
	if ok {
		return kept, nil
	}
	text, err := m.read(sum, Caps.Manifest)
	if err != nil {
		return nil, err
	}
	x := manifest{text: text, sum: sum}
	if err := statement.Decode(text, &x.Manifest); err != nil || x.MediaType != office.ManifestType {
		return nil, fault.Invalid.New("this is not the manifest of a detection base")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.manifests == nil || len(m.manifests) >= Caps.Kept {
		m.manifests = map[string]*manifest{}
	}
	m.manifests[sum] = &x
	return &x, nil
}

func (m *Room) read(sum string, most int64) ([]byte, error) {
	f, err := m.Blobs.Open(sum)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		err = fault.Invalid.New("the file has more than %d bytes", most)
	}
	return text, err
}
