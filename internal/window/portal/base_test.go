package portal_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/ledger/repository"
	"clerestory.dev/clerestory/internal/office/detection"
	"clerestory.dev/clerestory/internal/office/release"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/update"
	"clerestory.dev/clerestory/verify/verifytest"
)

const base = "lantern-base"

// baseKeys gives keys of their own the roles for the base.
func (s *site) baseKeys() {
	s.t.Helper()
	for name, role := range map[string]string{"src": "source", "bld": "builder", "rel": "release", "ada": "approver", "boris": "approver", "tst": "tester", "rev": "reviewer"} {
		k := verifytest.NewKey("base " + name)
		s.vendor.Keys["base "+name] = k
		s.vendor.Grant(k, role, name, base)
	}
	s.adopt()
}

func rule(name, text string) string {
	return fmt.Sprintf("rule %s {\n strings:\n  $a = %q\n condition:\n  $a\n}\n", name, text)
}

// pack makes the released form of a base.
func (s *site) pack(rules string, hashes ...string) *detection.Pack {
	s.t.Helper()
	var lines strings.Builder
	for _, h := range hashes {
		fmt.Fprintf(&lines, "%s:68:%s\n", verifytest.SHA256(h), h)
	}
	b := must(detection.Read(fstest.MapFS{
		"base.yaml":  {Data: []byte("id: lantern-base\nname: Lantern Base\nowner: boris\ndescription: Finds what lanterns should not light.\n")},
		"a.yar":      {Data: []byte(rules)},
		"hashes.hsb": {Data: []byte(lines.String())},
	}))(s.t)
	return must(b.Pack())(s.t)
}

// proposeBase tests and proposes an update of the base.
func (s *site) proposeBase(version string, p *detection.Pack, passed bool, emergency string) *release.Release {
	s.t.Helper()
	t := s.t
	var files []release.File
	var subjects []statement.Subject
	for _, f := range p.Files {
		files = append(files, must(s.office.Store(ctx, f.Name, strings.NewReader(string(f.Content))))(t))
		subjects = append(subjects, statement.Subject{Name: f.Name, Digest: map[string]string{"sha256": f.SHA256}})
	}
	sbom := must(s.office.Store(ctx, "base.cdx.json", strings.NewReader(bill)))(t)
	src := release.Source{Repository: "https://git.lantern.example/base", Commit: verifytest.Commit, Tree: verifytest.Tree, Files: 2, Time: s.vendor.Seen}
	source := must(s.office.SaySource(ctx, base, src, s.vendor.Keys["base src"]))(t)
	build := must(s.office.SayBuild(ctx, release.BuildRun{Source: src, Builder: "https://builder.lantern.example", Invocation: version, Started: s.vendor.Seen, Finished: s.vendor.Seen.Add(time.Minute), Files: files}, s.vendor.Keys["base bld"]))(t)
	room := &detection.Service{DB: s.db, Blobs: s.office.Blobs, Roots: s.office.Roots, Now: s.clock}
	known := detection.Outcome{Gate: detection.GateKnown, Passed: passed, With: []statement.Resource{{Name: "clamav-testfiles"}}, Numbers: map[string]int64{"files": 42}}
	if !passed {
		known.Fails = []string{"clamav-testfiles: eicar.com is not detected any more"}
	}
	clean := detection.Outcome{Gate: detection.GateClean, Passed: true, With: []statement.Resource{{Name: "go-toolchain"}, {Name: "debian"}},
		Passes: []string{"go-toolchain: nothing new matches", "debian: nothing new matches"}, Numbers: map[string]int64{"files": 20311, "slowest rule ms": 12}}
	must(room.SayTests(ctx, base, subjects, []detection.Outcome{clean, known}, s.report(p, passed), s.vendor.Keys["base tst"]))(t)
	return must(s.office.Propose(ctx, release.Draft{Product: base, Version: version, Channel: "stable", Files: append(files, sbom), SBOM: sbom,
		Source: source, Build: build, Notes: "New samples.", By: "grace", Emergency: emergency}))(t)
}

// report is the full account of a replay against the pack before.
func (s *site) report(p *detection.Pack, passed bool) []byte {
	s.t.Helper()
	r := &detection.Report{Base: p.Manifest, Diff: &detection.Diff{}, Replay: &detection.Result{
		Corpora:    []detection.CorpusResult{{Name: "go-toolchain", Files: 20311, Bytes: 811_000_000}, {Name: "clamav-testfiles", Known: true, Files: 42, Bytes: 90_000, DetectedOld: 42, DetectedNew: 42}},
		NewMatches: []detection.Match{{Corpus: "clamav-testfiles", File: "loader.bin", Kind: "yar", Rule: "New_Loader"}},
		Times:      []detection.RuleTime{{Rule: "New_Loader", Rules: 1, PerMB: 31.25, Slow: true}},
		Numbers:    map[string]int64{"files": 20353, "newMatches": 1, "falsePositives": 0, "lostFiles": 0, "open": 0},
	}}
	if s.last != nil {
		r.Before = s.last.Digest
		r.Diff.Changes = []detection.Change{{Kind: detection.Added, What: "rule", Name: "New_Loader", Authors: []detection.Author{{Name: "Dana Doe", Email: "dana@lantern.example", Commit: verifytest.Commit}}}}
	}
	if !passed {
		r.Replay.LostFiles = []detection.Match{{Corpus: "clamav-testfiles", File: "eicar.com", Kind: "yar", Rule: "Old_Dropper"}}
		r.Replay.Numbers["lostFiles"] = 1
	}
	s.last = p
	return must(r.JSON())(s.t)
}

func (s *site) releaseBase(version string, p *detection.Pack, emergency string) *release.Release {
	s.t.Helper()
	rel := s.proposeBase(version, p, true, emergency)
	for _, who := range []string{"base ada", "base boris"} {
		must(s.office.Approve(ctx, base, version, rel.PayloadHash, s.vendor.Keys[who]))(s.t)
	}
	rel = must(s.office.Publish(ctx, base, version, s.vendor.Keys["base rel"]))(s.t)
	s.publish()
	return rel
}

// furnishBase gives the site a base: three updates, one of them revoked, and a
// proposal whose test failed.
func (s *site) furnishBase() {
	s.t.Helper()
	s.baseKeys()
	one := rule("Old_Dropper", "drop it") + rule("Bad_Macro", "AutoOpen")
	s.releaseBase("2026.3.1", s.pack(one, "first"), "")
	two := rule("Bad_Macro", "AutoOpen()") + rule("New_Loader", "load me")
	s.releaseBase("2026.3.2", s.pack(two, "first", "second"), "")
	must(s.office.Revoke(ctx, base, "2026.3.2", "It deletes printer drivers.", s.vendor.Keys["base rel"]))(s.t)
	s.releaseBase("2026.3.3", s.pack(one, "first", "second"), "")
	s.proposeBase("2026.3.4", s.pack(two, "first"), false, "")
	s.publish()
	s.heads = []*update.Head{{Product: base, Channel: "stable", Sequence: 4, Releases: []update.Offer{
		{Version: "2026.3.1", Percent: 100}, {Version: "2026.3.3", Percent: 10, Halted: true}}}}
}

// Status is what the site's update repository tells.
func (s *site) Status(context.Context) (*repository.Status, error) { return &s.repository, nil }

// Heads are what the site's update repository offers.
func (s *site) Heads(context.Context) ([]*update.Head, error) { return s.heads, nil }

func TestABaseUpdateTellsItsRulesTestsApprovalsAndRing(t *testing.T) {
	s := newSite(t)
	s.furnishBase()
	v := s.visitor()
	v.get("/bases").says(t, "Lantern Base", "Finds what lanterns should not light.", "Updates in March 2026", "lantern-base 2026.3.2 Revoked", "It deletes printer drivers.")
	v.get("/bases/lantern-base").says(t, "2026.3.3", "1 rule added, 1 changed, 1 removed; 1 hash added.", "Halted at 10 percent of clients", "Every client", "ada and boris",
		"Passed replay-clean", "Taken back: “ It deletes printer drivers. ”")
	one := v.get("/bases/lantern-base/2026.3.2")
	one.says(t, "Against 2026.3.1", "+ rule added New_Loader", "\u2212 rule removed Old_Dropper", "\u00b1 rule changed Bad_Macro", `"AutoOpen"`, `"AutoOpen()"`, "With go-toolchain and debian", "slowest rule ms 12", "written by Dana Doe", "Over 20 353 files: nothing in clean files matches, and everything known is still detected.", "What newly matches: 1 Corpus File Rule clamav-testfiles loader.bin New_Loader", "New_Loader takes 31.2 ms per MB", "Not offered by the update repository")
	var u struct {
		Rules struct{ To string }
		Tests []struct {
			Gate, Result string
			Entry        int
		}
	}
	v.get("/bases/lantern-base/2026.3.3.json").json(t, &u)
	if u.Rules.To != "2026.3.2" || len(u.Tests) != 2 || u.Tests[0].Result != "PASSED" {
		t.Errorf("%+v", u)
	}
	if got := v.get(fmt.Sprintf("/bases/reports/%d", u.Tests[0].Entry)); !strings.Contains(got.body, `"go-toolchain"`) {
		t.Errorf("the report: %d %s", got.status, got.body)
	}
	v.get("/releases/lantern-base/2026.3.3").says(t, "Which detection rules it changed")
	for _, none := range []string{"/bases/lantern", "/bases/lantern-base/9", "/bases/lantern-base/2026.3.4", "/bases/reports/0", "/bases/..%2f"} {
		if got := v.get(none); got.status != 404 {
			t.Errorf("%s: %d", none, got.status)
		}
	}
	if got := v.get("/bases?month=november"); got.status != 400 {
		t.Errorf("a wrong month: %d", got.status)
	}
}

func TestAProposedBaseShowsItsRulesAndItsFailedTest(t *testing.T) {
	s := newSite(t)
	s.furnishBase()
	s.as("boris").get("/releases/lantern-base/2026.3.4").says(t, "Rules against the update before", "Against 2026.3.3", "New_Loader", "replay-known", "Failed", "eicar.com is not detected any more",
		"0 matches in clean files, 1 known files lost, 0 not judged.", "Known files that nothing detects any more: 1 Corpus File Rule clamav-testfiles eicar.com Old_Dropper")
	test := must(s.db.Find(ctx, store.Filter{Kind: "test", Limit: 1}))(t)[0].N
	for who, want := range map[string]int{"": 404, "ada": 403, "boris": 200} {
		v := s.visitor()
		if who != "" {
			v = s.as(who)
		}
		if got := v.get(fmt.Sprintf("/bases/reports/%d", test)); got.status != want {
			t.Errorf("the report of a proposal, for %q: %d", who, got.status)
		}
	}
	if all := s.visitor().get("/bases/lantern-base/2026.3.2.json"); strings.Contains(all.body, "dana@") {
		t.Error("an address is on a public page")
	}
}
