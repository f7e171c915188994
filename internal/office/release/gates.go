package release

import (
	"context"
	"slices"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// Gate is a test that a rule asks for, and what came of it on the exact bytes of
// a release.
type Gate struct {
	Name  string
	Green bool
	// Result is PASSED, WARNED or FAILED, as the last believed test of these bytes
	// says; empty when there is none. Entry is its log entry, or -1.
	Result string
	Entry  int64
	By     []string // holders of the testers' keys
	At     time.Time
}

// Gates tells which tests there are of exactly these files for a product, and
// what came of each: the last believed statement counts. The bill of materials
// needs no test.
func (s *Service) Gates(ctx context.Context, product string, files []File, sbom string, names []string) ([]Gate, error) {
	a, err := s.authority(ctx)
	if err != nil {
		return nil, err
	}
	return s.gatesOf(ctx, a, product, files, sbom, names)
}

func (s *Service) gates(ctx context.Context, l *law, rel *Release) ([]Gate, error) {
	return s.gatesOf(ctx, l.authority, rel.Statement.Product, rel.Files, rel.Statement.SBOM.SHA256, l.rule.Gates)
}

func (s *Service) gatesOf(ctx context.Context, a *verify.Authority, product string, files []File, sbom string, names []string) ([]Gate, error) {
	if len(names) == 0 {
		return nil, nil
	}
	// A test names each file, or the root of the list of files.
	whole, without, sums, err := roots(files, sbom)
	if err != nil {
		return nil, err
	}
	found := map[int64]store.Said{}
	for _, subject := range slices.Compact(append([]string{whole, without}, sums[:min(1, len(sums))]...)) {
		if err := s.findTests(ctx, subject, found); err != nil {
			return nil, err
		}
	}
	var tests []test
	for n, said := range found {
		e, err := verify.ParseEntry(n, said.Envelope)
		if err != nil {
			return nil, fault.Tampered.New("reading test %d: %w", n, err)
		}
		if t, ok := believedTest(a, e, product, said.At); ok && (t.covers(sums) || t.covers([]string{whole}) || t.covers([]string{without})) {
			tests = append(tests, t)
		}
	}
	slices.SortFunc(tests, func(x, y test) int { return int(x.entry.Index - y.entry.Index) })
	var gates []Gate
	for _, name := range names {
		g := Gate{Name: name, Entry: -1}
		for _, t := range tests {
			if t.result.Gate() == name {
				g = Gate{name, t.result.Result == statement.TestPassed, t.result.Result, t.entry.Index, t.by, t.at}
			}
		}
		gates = append(gates, g)
	}
	return gates, nil
}

// roots are what can stand for a release's files in a test: the root of the list
// of all files, that of the list without the bill of materials, and the files.
func roots(files []File, sbom string) (whole, without string, sums []string, err error) {
	var all, rest []verify.File
	for _, f := range files {
		all = append(all, verify.File{Name: f.Name, SHA256: f.SHA256})
		if f.SHA256 != sbom {
			rest = append(rest, verify.File{Name: f.Name, SHA256: f.SHA256})
			sums = append(sums, f.SHA256)
		}
	}
	m, err := verify.NewManifest(all)
	if err != nil {
		return "", "", nil, fault.Invalid.New("its files: %w", err)
	}
	whole, without = m.Tree().Root, m.Tree().Root
	if len(rest) > 0 {
		if m, err = verify.NewManifest(rest); err != nil {
			return "", "", nil, fault.Invalid.New("its files: %w", err)
		}
		without = m.Tree().Root
	}
	return whole, without, sums, nil
}

// findTests collects the tests about a digest, however many there are: a gate
// that is shut by an older statement must not be opened by leaving it out.
func (s *Service) findTests(ctx context.Context, digest string, found map[int64]store.Said) error {
	var before *int64
	for {
		page, err := s.DB.Find(ctx, store.Filter{Kind: "test", Subject: digest, Before: before, Limit: 500})
		if err != nil {
			return err
		}
		for _, said := range page {
			found[said.N] = said
		}
		if len(page) < 500 {
			return nil
		}
		before = &page[len(page)-1].N
	}
}

// test is a believed test result.
type test struct {
	entry  verify.Entry
	result *statement.TestResult
	by     []string
	at     time.Time
}

// believedTest reads a test that a tester of this product has signed; nobody else
// opens or shuts a gate.
func believedTest(a *verify.Authority, e verify.Entry, product string, at time.Time) (test, bool) {
	r, err := statement.As(e.Statement, &statement.TestResult{})
	if err != nil || r.Clerestory.Product != product {
		return test{}, false
	}
	signers, err := a.Believe(e)
	if _, revoked := a.RevokedBy(e); err != nil || revoked {
		return test{}, false
	}
	t := test{entry: e, result: r, at: at}
	for _, by := range signers {
		t.by = append(t.by, by.Holder)
	}
	return t, true
}

// covers tells whether each of these digests is a subject of the test.
func (t test) covers(sums []string) bool {
	return len(sums) > 0 && !slices.ContainsFunc(sums, func(sum string) bool {
		return !slices.ContainsFunc(t.entry.Statement.Subject, func(s statement.Subject) bool { return s.Digest["sha256"] == sum })
	})
}
