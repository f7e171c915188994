package update

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// judge decides whether an offer is what the vendor released: every file by its
// bundle, against the log, its witnesses and what was said since. It returns how
// many different builders got the bytes.
func (r *run) judge(ctx context.Context, o Offer) (builders int, err error) {
	if err := r.listen(ctx, o.Entry); err != nil {
		return 0, err
	}
	bundles := map[string][]byte{} // by hash: files of one release may share one
	builders = math.MaxInt
	for _, f := range o.Files {
		if _, err := r.named(ctx, FileTarget(r.c.cfg.Product, o.Version, f.Name), f.SHA256, f.Size); err != nil {
			return 0, err
		}
		raw, err := r.bundle(ctx, bundles, BundleTarget(r.c.cfg.Product, o.Version, f.Name))
		if err != nil {
			return 0, err
		}
		n, err := r.judgeFile(ctx, o, f, raw)
		if err != nil {
			return 0, fmt.Errorf("%s %s: %w", o.Version, f.Name, err)
		}
		if n == 0 {
			r.note("%s of version %s is not in any build: it was added to the release by other means", f.Name, o.Version)
		}
		builders = min(builders, n)
	}
	if builders == math.MaxInt { // nothing but a bill of materials
		builders = 0
	}
	if err := r.c.keepSaid(r.said); err != nil {
		return 0, err
	}
	return builders, r.enough(o, builders)
}

// enough is the policy on rebuilds.
func (r *run) enough(o Offer, builders int) error {
	if need := r.c.cfg.Policy.Builders; builders < need {
		return refuse(TooFewBuilders, "version %s: %d different builders got these bytes; %d are needed", o.Version, builders, need)
	}
	if r.current != nil && r.current.Builders > 1 && builders < 2 && !r.c.cfg.Policy.UnsafeUnreproducible {
		return refuse(NotReproducible, "version %s was rebuilt by nobody, and %s, which is installed, was rebuilt by others: a build that stops being reproducible may have been tampered with", o.Version, r.current.Version)
	}
	return nil
}

// named finds a target that must be there, with the hash and size that the head
// gives it.
func (r *run) named(ctx context.Context, name, sum string, size int64) (target, error) {
	t, err := r.repo.find(ctx, name)
	if errors.Is(err, errAbsent) {
		return t, refuse(MixAndMatch, "the head offers %s, but the repository does not name it: they do not belong together", name)
	}
	if err == nil && (t.sha256 != sum || t.size != size) {
		err = refuse(MixAndMatch, "the head and the repository name different bytes for %s", name)
	}
	return t, err
}

// bundle reads a bundle once.
func (r *run) bundle(ctx context.Context, seen map[string][]byte, name string) ([]byte, error) {
	t, err := r.repo.find(ctx, name)
	if errors.Is(err, errAbsent) {
		return nil, refuse(NotInLog, "there is no bundle %s: nothing proves that the file is in the log", name)
	}
	if err != nil {
		return nil, err
	}
	if b, ok := seen[t.sha256]; ok {
		return b, nil
	}
	b, err := r.small(ctx, t, int64(verify.Limits.Bundle))
	if err == nil {
		seen[t.sha256] = b
	}
	return b, err
}

// judgeFile proves one file's bundle and judges by it and by what the log said.
func (r *run) judgeFile(ctx context.Context, o Offer, f File, raw []byte) (builders int, err error) {
	b, err := verify.ParseBundle(raw)
	if err != nil {
		return 0, fromVerify("the bundle", err)
	}
	trust, ev, err := r.repo.trust.Prove(b)
	if err != nil {
		return 0, fromVerify("the bundle", err)
	}
	if err := r.log.growth(ctx, r.m, ev.Checkpoint); err != nil {
		return 0, err
	}
	rel, err := r.releaseOf(o, ev)
	if err != nil {
		return 0, err
	}
	for _, e := range ev.Entries {
		r.said.add(e)
	}
	ev.Entries = r.said.with(ev.Entries)
	report := trust.Judge(ev, verify.Artifact{Name: f.Name, SHA256: f.SHA256, Size: f.Size}, r.now)
	if report.Verdict != verify.Verified {
		if report.Code == "" {
			return 0, refuse(RoleExpired, "%s", report.Reason)
		}
		return 0, refuse(codeFor(report.Code), "%s", report.Reason)
	}
	n, err := r.builders(o, report)
	if f.SHA256 == rel.SBOM.SHA256 { // made from the build, and named by the release itself
		n = math.MaxInt
	}
	return n, err
}

// builders counts who got the same bytes, by the holders of their keys.
func (r *run) builders(o Offer, report *verify.Report) (int, error) {
	holders := map[string]bool{}
	for _, c := range report.Claims {
		if c.Name == "released" && c.Entry != o.Entry {
			return 0, refuse(MixAndMatch, "the head says that the release is log entry %d; the bundle proves entry %d", o.Entry, c.Entry)
		}
		if c.Name == "built" || c.Name == "rebuilt" {
			for _, s := range c.Signers {
				holders[s.Holder] = true
			}
		}
	}
	return len(holders), nil
}

// releaseOf finds the log entry which the head names, and checks that it is the
// release of this product, version and channel, with exactly these files.
func (r *run) releaseOf(o Offer, ev *verify.Evidence) (*statement.Release, error) {
	i := slices.IndexFunc(ev.Entries, func(e verify.Entry) bool { return e.Index == o.Entry })
	if i < 0 {
		return nil, refuse(NotInLog, "the bundle does not prove log entry %d, which the head names as the release", o.Entry)
	}
	rel, err := statement.As(ev.Entries[i].Statement, &statement.Release{})
	if err != nil {
		return nil, refuse(NotInLog, "log entry %d is no release: %w", o.Entry, err)
	}
	if rel.Product != r.c.cfg.Product || rel.Version != o.Version || rel.Channel != r.c.cfg.Channel {
		return nil, refuse(MixAndMatch, "log entry %d releases %s %s (%s), but the head offers it as %s %s (%s)", o.Entry,
			rel.Product, rel.Version, rel.Channel, r.c.cfg.Product, o.Version, r.c.cfg.Channel)
	}
	var files []verify.File
	for _, f := range o.Files {
		files = append(files, verify.File{Name: f.Name, SHA256: f.SHA256})
	}
	m, err := verify.NewManifest(files)
	if err != nil || m.Tree() != rel.Manifest {
		return nil, refuse(MixAndMatch, "the head's list of files is not the one that was released as %s at log entry %d", o.Version, o.Entry)
	}
	return rel, nil
}
