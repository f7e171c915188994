package update

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"regexp"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// repository is the vendor's TUF repository as it is believed in one run. go-tuf
// decides; this reads files within their caps and keeps what was believed, since
// rollback can only be told by who remembers.
type repository struct {
	c     *Client
	fetch *fetcher
	tuf   *trustedmetadata.TrustedMetadata
	trust *verify.Trust // the same root, as package verify reads it
	// former are the keys that a role had and lost, as far as this client saw.
	former map[string]map[string]bool
}

// target is a file that the repository names.
type target struct {
	path   string // in the repository's words
	remote string // below the repository's address
	size   int64
	sha256 string
}

// openRepository starts from the newest root that is kept, or from the one that
// was given.
func (c *Client) openRepository(f *fetcher, now time.Time) (*repository, error) {
	r := &repository{c: c, fetch: f, trust: c.trust, former: map[string]map[string]bool{}}
	if b := c.kept("root"); b != nil {
		kept, err := verify.ParseTrust(b)
		if err == nil && kept.Root.Version > c.trust.Root.Version && kept.Root.Clerestory.Vendor == c.trust.Root.Clerestory.Vendor {
			r.trust = kept
			for role, x := range c.trust.Root.Roles {
				r.remember(role, x.KeyIDs)
			}
		}
	}
	var err error
	if r.tuf, err = trustedmetadata.New(r.trust.File()); err != nil {
		return nil, r.refusal("root", nil, err)
	}
	r.tuf.RefTime = now
	if b := c.kept("targets"); b != nil {
		if old, err := metadata.Targets().FromBytes(b); err == nil {
			r.rememberDelegations(old)
		}
	}
	return r, nil
}

// kept is a file of metadata that was believed before, or nil.
func (c *Client) kept(role string) []byte {
	b, err := os.ReadFile(c.state("metadata/" + role + ".json"))
	if err != nil {
		return nil
	}
	return b
}

func (r *repository) keep(role string, b []byte) error {
	return r.c.write("metadata/"+role+".json", b)
}

// roots follows the root to its newest version (TUF 1.0, section 5.3), and tells
// whether it changed.
func (r *repository) roots(ctx context.Context) (changed bool, err error) {
	for range r.c.cfg.Limits.Roots {
		name := fmt.Sprintf("%d.root.json", r.trust.Root.Version+1)
		b, err := r.fetch.get(ctx, r.c.repo, "metadata/"+name, r.c.cfg.Limits.Root)
		if errors.Is(err, errAbsent) {
			return changed, nil
		}
		if err != nil {
			return changed, err
		}
		old := r.tuf.Root.Signed
		if _, err := r.tuf.UpdateRoot(b); err != nil {
			return changed, r.refusal("root", b, err)
		}
		next, err := r.trust.Rotate(b)
		if err != nil {
			return changed, fromVerify(name, err)
		}
		for role, x := range old.Roles {
			r.remember(role, x.KeyIDs)
		}
		r.trust, changed = next, true
		if err := r.keep("root", b); err != nil {
			return changed, err
		}
	}
	return changed, refuse(EndlessData, "the repository has more than %d new versions of the root: endless data", r.c.cfg.Limits.Roots)
}

// timestamp believes a timestamp.json, against the one that is kept.
func (r *repository) timestamp(b []byte) error {
	if r.tuf.Root.Signed.IsExpired(r.tuf.RefTime) {
		return refuse(RoleExpired, "the root of trust expired on %s, and the repository has no newer one (it is %s here)", date(r.tuf.Root.Signed.Expires), date(r.tuf.RefTime))
	}
	if old := r.c.kept("timestamp"); old != nil {
		_, _ = r.tuf.UpdateTimestamp(old) // believed before, or signed by keys that the root has changed since
	}
	_, err := r.tuf.UpdateTimestamp(b)
	if _, same := errors.AsType[*metadata.ErrEqualVersionNumber](err); same {
		err = nil
	}
	if err == nil && r.tuf.Timestamp.Signed.IsExpired(r.tuf.RefTime) {
		err = &metadata.ErrExpiredMetadata{}
	}
	if err != nil {
		return r.refusal("timestamp", b, err)
	}
	return r.keep("timestamp", b)
}

// snapshot believes the snapshot that the timestamp names.
func (r *repository) snapshot(ctx context.Context) error {
	meta := r.tuf.Timestamp.Signed.Meta["snapshot.json"]
	if meta == nil {
		return refuse(Malformed, "timestamp.json names no snapshot")
	}
	if old := r.c.kept("snapshot"); old != nil {
		if _, err := r.tuf.UpdateSnapshot(old, true); err == nil && meta.VerifyLengthHashes(old) == nil {
			return nil
		}
	}
	b, err := r.file(ctx, "snapshot", meta)
	if err != nil {
		return err
	}
	if _, err := r.tuf.UpdateSnapshot(b, false); err != nil {
		if _, bad := errors.AsType[*metadata.ErrBadVersionNumber](err); bad {
			if s, e := metadata.Snapshot().FromBytes(b); e == nil && s.Signed.Version != meta.Version {
				return refuse(MixAndMatch, "the snapshot has version %d, but timestamp.json names version %d: they do not belong together", s.Signed.Version, meta.Version)
			}
		}
		return r.refusal("snapshot", b, err)
	}
	return r.keep("snapshot", b)
}

// roleName is what a role may be named, since files are named after it.
var roleName = regexp.MustCompile(`^[a-z0-9~][a-z0-9._-]{0,99}$`)

// role believes a targets role.
func (r *repository) role(ctx context.Context, name, parent string) (*metadata.TargetsType, error) {
	if t, ok := r.tuf.Targets[name]; ok {
		return &t.Signed, nil
	}
	if !roleName.MatchString(name) || name == metadata.ROOT || name == metadata.TIMESTAMP || name == metadata.SNAPSHOT { // those have kept files
		return nil, refuse(Malformed, "%s delegates to %q, which is no name for that", parent, name)
	}
	meta := r.tuf.Snapshot.Signed.Meta[name+".json"]
	if meta == nil {
		return nil, refuse(MixAndMatch, "the snapshot does not know the role %s, which %s delegates to: they do not belong together", name, parent)
	}
	if old := r.c.kept(name); old != nil {
		if t, err := r.tuf.UpdateDelegatedTargets(old, name, parent); err == nil {
			return &t.Signed, nil
		}
	}
	b, err := r.file(ctx, name, meta)
	if err != nil {
		return nil, err
	}
	t, err := r.tuf.UpdateDelegatedTargets(b, name, parent)
	if _, bad := errors.AsType[*metadata.ErrBadVersionNumber](err); bad {
		return nil, refuse(MixAndMatch, "%s: %w: it does not belong to this snapshot", name, err)
	}
	if err != nil {
		return nil, r.refusal(name, b, err)
	}
	r.rememberDelegations(t)
	return &t.Signed, r.keep(name, b)
}

// file reads the version of a role's file that meta names.
func (r *repository) file(ctx context.Context, role string, meta *metadata.MetaFiles) ([]byte, error) {
	most := r.c.cfg.Limits.Metadata
	if meta.Length > 0 {
		most = min(most, meta.Length)
	}
	name := fmt.Sprintf("%d.%s.json", meta.Version, role)
	b, err := r.fetch.get(ctx, r.c.repo, "metadata/"+name, most)
	if errors.Is(err, errAbsent) {
		return nil, refuse(Unreachable, "the repository lacks %s, which it names: a mirror in the middle of a copy?", name)
	}
	return b, err
}

// find finds a target, in the order of TUF 1.0, section 5.6.7; errAbsent means that
// the vendor names none.
func (r *repository) find(ctx context.Context, name string) (target, error) {
	type visit struct{ role, parent string }
	todo, seen := []visit{{metadata.TARGETS, metadata.ROOT}}, map[string]bool{}
	for len(todo) > 0 && len(seen) < r.c.cfg.Limits.Roles {
		v := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[v.role] {
			continue
		}
		seen[v.role] = true
		role, err := r.role(ctx, v.role, v.parent)
		if err != nil {
			return target{}, err
		}
		if f, ok := role.Targets[name]; ok {
			return newTarget(name, f)
		}
		if role.Delegations == nil {
			continue
		}
		var next []visit
		for _, d := range role.Delegations.GetRolesForTarget(name) {
			next = append(next, visit{d.Name, v.role})
			if d.Terminating {
				todo = nil
				break
			}
		}
		for i := len(next) - 1; i >= 0; i-- {
			todo = append(todo, next[i])
		}
	}
	return target{}, errAbsent
}

func newTarget(name string, f *metadata.TargetFiles) (target, error) {
	sum := hex.EncodeToString(f.Hashes["sha256"])
	if err := errors.Join(statement.CheckFileName(name), checkSum(sum), checkSize(f.Length)); err != nil {
		return target{}, refuse(Malformed, "the target %q: %w", name, err)
	}
	return target{name, path.Join("targets", path.Dir(name), sum+"."+path.Base(name)), f.Length, sum}, nil
}

func (r *repository) rememberDelegations(t *metadata.Metadata[metadata.TargetsType]) {
	if t.Signed.Delegations != nil {
		for _, d := range t.Signed.Delegations.Roles {
			r.remember(d.Name, d.KeyIDs)
		}
	}
}

func (r *repository) remember(role string, keys []string) {
	if r.former[role] == nil {
		r.former[role] = map[string]bool{}
	}
	for _, k := range keys {
		r.former[role][k] = true
	}
}

func date(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04 UTC") }
