package verify

import (
	"fmt"
	"strings"
	"time"

	"clerestory.dev/clerestory/statement"
)

// Judge decides whether a file is what the vendor released, from evidence that
// was proven to be in the log. now is used to tell ages and the root's expiry.
// The numbers in its comments are the steps of docs/spec/verify.md.
func (t *Trust) Judge(ev *Evidence, a Artifact, now time.Time) *Report {
	r := NewReport(a, "nothing was checked")
	r.Trust = &TrustBrief{t.Root.Clerestory.Vendor, t.Fingerprint(), t.Root.Version, t.Root.Expires}
	r.Checkpoint = ev.Checkpoint.brief(now)
	j := &judgement{trust: t, ev: ev, report: r}
	if err := j.run(); err != nil {
		r.Fail(err)
		return r
	}
	// A root that has expired may have been replaced because its keys were lost.
	if now.After(t.Root.Expires) {
		r.Verdict, r.Reason = Unchecked, fmt.Sprintf("the trusted root expired on %s: get a newer one from the vendor", t.Root.Expires.Format(time.DateOnly))
		return r
	}
	r.Verdict = Verified
	r.Reason = fmt.Sprintf("%s is %s %s as %s released it", a.Name, j.release.Product, j.release.Version, t.Root.Clerestory.Vendor)
	return r
}

func (c *Checkpoint) brief(now time.Time) *CheckpointBrief {
	b := &CheckpointBrief{Origin: c.Origin, Size: c.Size, Root: c.Root.String(), Time: c.Time(), Witnesses: []string{}}
	for _, s := range c.Cosigned {
		b.Witnesses = append(b.Witnesses, s.Witness)
	}
	if !b.Time.IsZero() {
		b.AgeSeconds = int64(now.Sub(b.Time).Seconds())
	}
	return b
}

type judgement struct {
	trust     *Trust
	ev        *Evidence
	report    *Report
	authority *Authority
	entry     Entry // the release statement's
	release   *statement.Release
	name      string // the file's name in the release
}

func (j *judgement) run() (err error) {
	if j.authority, err = j.trust.NewAuthority(j.ev.Entries); err != nil { // step 6
		return err
	}
	if err := j.findRelease(); err != nil { // step 7
		return err
	}
	signers, err := j.authority.Believe(j.entry) // step 8
	if err != nil {
		return err
	}
	if by, ok := j.authority.RevokedBy(j.entry); ok { // step 9
		return refuse(CodeRevoked, "%s %s was revoked at entry %d: %s", j.release.Product, j.release.Version, by.By, by.Reason)
	}
	cp := j.ev.Checkpoint
	j.report.claim("log", j.entry.Index, nil, "entry %d of %s, in the state with %d entries of %s, cosigned by %s",
		j.entry.Index, cp.Origin, cp.Size, timeText(cp.Time()), namesOf(cp))
	j.report.claim("released", j.entry.Index, signers[:1], "%s %s (%s), by %s", j.release.Product, j.release.Version, j.release.Channel, HoldersOf(signers, "release"))
	j.report.claim("approved", j.entry.Index, signers[1:], "by %s; %d different people are needed", HoldersOf(signers, "approver"), j.trust.Root.Clerestory.Approvals)
	if j.name != baseName(j.report.File.Name) {
		j.report.notChecked("name", "the file was released as %s; its name is not part of what was checked", j.name)
	}
	if err := j.source(); err != nil { // step 10
		return err
	}
	if err := j.builds(); err != nil { // step 11
		return err
	}
	j.report.claim("sbom", j.entry.Index, nil, "%s, sha256 %s", j.release.SBOM.Name, j.release.SBOM.SHA256)
	j.revocation() // step 12
	return nil
}

// findRelease finds the latest release that lists these bytes.
func (j *judgement) findRelease() error {
	sum := j.report.File.SHA256
	for i := len(j.ev.Entries) - 1; i >= 0; i-- {
		e := j.ev.Entries[i]
		if e.Statement.PredicateType != statement.ReleaseType {
			continue
		}
		rel, err := statement.As(e.Statement, &statement.Release{})
		if err != nil {
			return refuse(CodeStatement, "entry %d: %v", e.Index, err)
		}
		name, err := fileIn(rel, e.Statement, j.ev.Member, sum)
		if err != nil {
			return err
		}
		if name != "" {
			j.entry, j.release, j.name = e, rel, name
			return nil
		}
	}
	if j.ev.Complete {
		return refuse(CodeOtherFile, "the log knows no release with these bytes (sha256 %s)", sum)
	}
	return refuse(CodeOtherFile, "the bundle is not about these bytes (sha256 %s): the file was changed, or the bundle belongs to another file", sum)
}

// fileIn finds a file among a release's subjects or by its membership proof.
func fileIn(rel *statement.Release, s *statement.Statement, m *Member, sum string) (string, error) {
	if rel.Manifest.Files > statement.InlineFiles {
		if m == nil || m.SHA256 != sum {
			return "", nil
		}
		return m.Name, m.in(rel.Manifest)
	}
	var files []File
	found := ""
	for _, sub := range s.Subject {
		files = append(files, File{sub.Name, sub.Digest["sha256"]})
		if sub.Digest["sha256"] == sum && found == "" {
			found = sub.Name
		}
	}
	man, err := NewManifest(files)
	if err != nil || man.Tree() != rel.Manifest {
		return "", refuse(CodeStatement, "the release's manifest does not fit its files")
	}
	return found, nil
}

// source checks that the commit of the release is one that the vendor published.
func (j *judgement) source() error {
	e, err := j.named(j.release.Source, "source")
	if err != nil {
		return err
	}
	signers, err := j.authority.Believe(e)
	if err != nil {
		return err
	}
	src, err := statement.As(e.Statement, &statement.Source{})
	if err != nil {
		return refuse(CodeProvenance, "entry %d: %v", e.Index, err)
	}
	if src.Commit != j.release.Commit || src.Tree != j.release.Tree || src.Product != j.release.Product {
		return refuse(CodeProvenance, "the release names commit %s, but its source statement (entry %d) is about %s", j.release.Commit, e.Index, src.Commit)
	}
	j.report.claim("source", e.Index, signers, "commit %s, tree %s of %s", src.Commit, src.Tree, src.Repository)
	return nil
}

// builds checks the provenance that the release relies on, and finds others who
// got the same bytes.
func (j *judgement) builds() error {
	main, err := j.named(j.release.Build, "build")
	if err != nil {
		return err
	}
	rebuilt := false
	for _, e := range j.ev.Entries {
		if e.Statement.PredicateType != statement.BuildType {
			continue
		}
		b, err := statement.As(e.Statement, &statement.Build{})
		if err != nil {
			return refuse(CodeProvenance, "entry %d: %v", e.Index, err)
		}
		made := hasDigest(e.Statement, j.report.File.SHA256)
		if e.Index != main.Index {
			if again, err := j.authority.Believe(e); err == nil && made && b.Commit() == j.release.Commit {
				rebuilt = true
				j.report.claim("rebuilt", e.Index, again, "the same bytes by %s (%s)", again[0].Holder, b.RunDetails.Builder.ID)
			}
			continue
		}
		signers, err := j.authority.Believe(e)
		if err != nil {
			return err
		}
		if b.Commit() != j.release.Commit {
			return refuse(CodeProvenance, "the release names commit %s, but its build (entry %d) was of %s", j.release.Commit, e.Index, b.Commit())
		}
		if !made {
			j.report.notChecked("built", "the build (entry %d) does not list this file; it was added to the release by other means", e.Index)
			continue
		}
		j.report.claim("built", e.Index, signers, "from that commit by %s (%s)", signers[0].Holder, b.RunDetails.Builder.ID)
	}
	if !rebuilt {
		j.report.notChecked("rebuilt", "there is no statement by anybody else who built the same bytes")
	}
	return nil
}

func (j *judgement) revocation() {
	if j.ev.Complete {
		j.report.claim("not-revoked", -1, nil, "no revocation of the release or its keys in all %d entries of the log", j.ev.Checkpoint.Size)
		return
	}
	j.report.notChecked("not-revoked", "a bundle can not show that nothing in the log revokes the release or a key; read the log for that (--log)")
}

// named finds the entry that another statement names by hash.
func (j *judgement) named(sum, kind string) (Entry, error) {
	for _, e := range j.ev.Entries {
		if e.Statement.Kind() == kind && e.Index < j.entry.Index && statement.HashOf(e.Raw) == sum {
			return e, nil
		}
	}
	return Entry{}, refuse(CodeProvenance, "the release's %s statement (sha256 %s) is not among the evidence", kind, sum)
}

func hasDigest(s *statement.Statement, sum string) bool {
	for _, sub := range s.Subject {
		if sub.Digest["sha256"] == sum {
			return true
		}
	}
	return false
}

func namesOf(c *Checkpoint) string {
	if len(c.Cosigned) == 0 {
		return "no witness"
	}
	var names []string
	for _, s := range c.Cosigned {
		names = append(names, s.Witness)
	}
	return strings.Join(names, ", ")
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return "an unknown time"
	}
	return t.UTC().Format("2 January 2006, 15:04:05 UTC")
}

func baseName(path string) string {
	return path[strings.LastIndexAny(path, `/\`)+1:]
}
