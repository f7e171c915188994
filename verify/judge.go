package verify

import (
	"encoding/hex"
	"fmt"
	"slices"
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
	if raw, err := hex.DecodeString(a.SHA256); err != nil || hex.EncodeToString(raw) != a.SHA256 || len(raw) != 32 {
		r.Reason = "the file's SHA-256 is not known"
		return r
	}
	j := &judgement{trust: t, ev: ev, report: r}
	if err := j.run(); err != nil {
		r.Fail(err)
		return r
	}
	// A root that has expired may have been replaced because its keys were lost. A
	// clock that was set back does not hide that: the witnesses have clocks too.
	if now.After(t.Root.Expires) || ev.Checkpoint.Time().After(t.Root.Expires) {
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
	j.claims(signers)
	if err := j.source(); err != nil { // step 10
		return err
	}
	if err := j.builds(); err != nil { // step 11
		return err
	}
	j.report.claim("sbom", j.entry.Index, nil, "%s, sha256 %s", j.release.SBOM.Name, j.release.SBOM.SHA256)
	j.advisories() // step 12
	j.unchecked()  // step 13
	return nil
}

// claims notes what holds after step 9.
func (j *judgement) claims(signers []Signer) {
	cp, n := j.ev.Checkpoint, j.entry.Index
	j.report.claim("log", n, nil, "entry %d of %s, in the state with %d entries of %s, cosigned by %s",
		n, cp.Origin, cp.Size, timeText(cp.Time()), namesOf(cp))
	by := HoldersOf(signers, "release")
	if need := j.trust.ReleaseHolders(j.release.Product, n); need > 1 {
		by += fmt.Sprintf("; %d different holders of the role are needed", need)
	}
	j.report.claim("released", n, withRole(signers, "release"), "%s %s (%s), by %s", j.release.Product, j.release.Version, j.release.Channel, by)
	j.report.claim("approved", n, withRole(signers, "approver"), "by %s; %d different people are needed", HoldersOf(signers, "approver"), j.trust.Root.Clerestory.Approvals)
	if e := j.release.Emergency; e.Why != "" {
		j.report.claim("emergency", n, nil, "it went the emergency path, with a review due within %d hours: %s", e.ReviewHours, e.Why)
	}
}

func withRole(signers []Signer, role string) []Signer {
	return slices.DeleteFunc(slices.Clone(signers), func(s Signer) bool { return s.Role != role })
}

// findRelease finds the latest release that lists these bytes. A membership
// proof belongs to one release of many: that it fails for others says nothing.
func (j *judgement) findRelease() error {
	sum := j.report.File.SHA256
	unproven := refuse(CodeOtherFile, "the bundle is not about these bytes (sha256 %s): the file was changed, or the bundle belongs to another file", sum)
	if j.ev.Complete {
		unproven = refuse(CodeOtherFile, "the log knows no release with these bytes (sha256 %s)", sum)
	}
	for _, e := range slices.Backward(j.ev.Entries) {
		if e.Statement.PredicateType != statement.ReleaseType {
			continue
		}
		rel, err := statement.As(e.Statement, &statement.Release{})
		if err != nil {
			return refuse(CodeStatement, "entry %d: %v", e.Index, err)
		}
		name, err := fileIn(rel, e.Statement, j.ev.Member, sum)
		if CodeOf(err) == CodeProof {
			unproven = err
			continue
		}
		if err != nil {
			return err
		}
		if name != "" {
			j.entry, j.release, j.name = e, rel, name
			return nil
		}
	}
	return unproven
}

// fileIn finds a file among a release's subjects or by its membership proof.
func fileIn(rel *statement.Release, s *statement.Statement, m *Member, sum string) (string, error) {
	if rel.Manifest.Files > statement.InlineFiles {
		if m == nil || m.SHA256 != sum {
			return "", nil
		}
		return m.Name, m.in(rel.Manifest)
	}
	i := slices.IndexFunc(s.Subject, func(s statement.Subject) bool { return s.Digest["sha256"] == sum })
	if i < 0 {
		return "", nil
	}
	var files []File
	for _, sub := range s.Subject {
		files = append(files, File{sub.Name, sub.Digest["sha256"]})
	}
	man, err := NewManifest(files)
	if err != nil || man.Tree() != rel.Manifest {
		return "", refuse(CodeStatement, "the release's manifest does not fit its files")
	}
	return s.Subject[i].Name, nil
}

// source checks that the commit of the release is one that the vendor published.
func (j *judgement) source() error {
	e, err := j.named(j.release.Source, statement.SourceType)
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
	main, err := j.named(j.release.Build, statement.BuildType)
	if err != nil {
		return err
	}
	b, err := statement.As(main.Statement, &statement.Build{})
	if err != nil {
		return refuse(CodeProvenance, "entry %d: %v", main.Index, err)
	}
	builders := j.authority.signers(main, "builder", j.release.Product)
	if len(builders) == 0 {
		return refuse(CodeSignature, "the build statement at entry %d is not signed by a key that had the role builder for %s there", main.Index, j.release.Product)
	}
	if b.Commit() != j.release.Commit {
		return refuse(CodeProvenance, "the release names commit %s, but its build (entry %d) was of %s", j.release.Commit, main.Index, b.Commit())
	}
	if hasDigest(main.Statement, j.report.File.SHA256) {
		j.report.claim("built", main.Index, builders, "from that commit by %s (%s)", HoldersOf(builders, "builder"), b.RunDetails.Builder.ID)
	} else {
		j.report.notChecked("built", "the build (entry %d) does not list this file; it was added to the release by other means", main.Index)
	}
	rebuilt := false
	for _, e := range j.ev.Entries {
		again, id := j.rebuilders(e, builders)
		if len(again) > 0 {
			rebuilt = true
			j.report.claim("rebuilt", e.Index, again, "the same bytes by %s (%s)", again[0].Holder, id)
		}
	}
	if !rebuilt {
		j.report.notChecked("rebuilt", "there is no statement by anybody else who built the same bytes")
	}
	return nil
}

// rebuilders lists who says in e to have got the same bytes from the same commit,
// without those who built them first: nobody confirms himself.
func (j *judgement) rebuilders(e Entry, first []Signer) ([]Signer, string) {
	b, err := statement.As(e.Statement, &statement.Build{})
	if err != nil || b.Commit() != j.release.Commit || !hasDigest(e.Statement, j.report.File.SHA256) {
		return nil, ""
	}
	if _, ok := j.authority.revokedFor(e, j.release.Product); ok {
		return nil, ""
	}
	by := append(j.authority.signers(e, "builder", j.release.Product), j.authority.signers(e, "rebuilder", j.release.Product)...)
	return slices.DeleteFunc(by, func(s Signer) bool {
		return slices.ContainsFunc(first, func(f Signer) bool { return f.Holder == s.Holder || f.KeyID == s.KeyID })
	}), b.RunDetails.Builder.ID
}

// unchecked says what a reader might take for granted.
func (j *judgement) unchecked() {
	if base := baseName(j.name); base != baseName(j.report.File.Name) {
		j.report.notChecked("name", "the file was released as %s; its name is not part of what was checked", j.name)
	}
	if !j.trust.Policy.Needed() {
		j.report.notChecked("witnesses", "the trusted root asks for no witness: the log could show others another state")
	}
	if j.ev.Complete {
		j.report.claim("not-revoked", -1, nil, "no revocation of the release or its keys in all %d entries of the log", j.ev.Checkpoint.Size)
		return
	}
	j.report.notChecked("not-revoked", "a bundle can not show that nothing in the log revokes the release or a key; read the log for that (--log)")
}

// named finds the entry of a kind that the release names by hash. It must stand
// before the release, and not be taken back.
func (j *judgement) named(sum, predicateType string) (Entry, error) {
	kind := statement.KindOf(predicateType)
	for _, e := range j.ev.Entries {
		if e.Statement.PredicateType != predicateType || e.Index >= j.entry.Index || statement.HashOf(e.Raw) != sum {
			continue
		}
		if by, ok := j.authority.revokedFor(e, j.release.Product); ok {
			return Entry{}, refuse(CodeRevoked, "the release's %s statement (entry %d) was revoked at entry %d: %s", kind, e.Index, by.By, by.Reason)
		}
		return e, nil
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
