package update

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"clerestory.dev/clerestory/statement"
)

// link is the name in Dir that leads to the version in place. Everything about
// which version runs is decided by one rename of it.
const link = "current"

// inPlace is the version that the link leads to, or "".
func (c *Client) inPlace() (string, error) {
	to, err := os.Readlink(filepath.Join(c.cfg.Dir, link))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", disk("reading which version is in place", err)
	}
	version := filepath.Base(to)
	if statement.CheckVersion(version) != nil || filepath.ToSlash(to) != "versions/"+version {
		return "", refuse(Disk, "%s leads to %s, which this client did not put there", filepath.Join(c.cfg.Dir, link), to)
	}
	return version, nil
}

// point makes the link lead to a version; "" removes it.
func (c *Client) point(version string) error {
	path := filepath.Join(c.cfg.Dir, link)
	if version == "" {
		err := os.Remove(path)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return disk("taking the version away", errors.Join(err, syncDir(c.cfg.Dir)))
	}
	fresh := path + ".new"
	err := os.Remove(fresh)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = os.Symlink(filepath.Join("versions", version), fresh)
	}
	if err == nil {
		c.at("link-made")
		err = os.Rename(fresh, path)
	}
	if err == nil {
		err = syncDir(c.cfg.Dir)
	}
	return disk("putting the version in place", err)
}

// install puts a collected version in place, asks its health, and brings the
// version before back when that fails.
func (r *run) install(ctx context.Context, o Offer, v *Version) error {
	before := ""
	if r.current != nil {
		before = r.current.Version
	}
	if before == v.Version { // the other channel has the version that is in place: its folder is in use
		return r.sameVersion(v)
	}
	if err := r.build(o); err != nil {
		return err
	}
	r.c.at("version-built")
	// First what will have been done, then the deed: a crash between leaves a
	// trial of a version that is not in place, which says nothing.
	r.m.Versions[v.Version], r.m.Trial = v, &trial{v.Version, before}
	if err := r.c.keep(r.m); err != nil {
		return err
	}
	r.c.at("trial-kept")
	if err := r.c.point(v.Version); err != nil {
		return err
	}
	r.c.at("version-in-place")
	return r.decide(ctx)
}

// sameVersion notes that the version in place is the one of another channel too.
func (r *run) sameVersion(v *Version) error {
	if !maps.Equal(v.Files, r.current.Files) {
		return refuse(MixAndMatch, "version %s of channel %s has other files than version %s of channel %s, which is installed", v.Version, v.Channel, v.Version, r.current.Channel)
	}
	seen := r.m.Channels[v.Channel]
	seen.Number = max(seen.Number, v.Number)
	r.m.Channels[v.Channel], r.m.Versions[v.Version] = seen, v
	return errors.Join(r.c.keep(r.m), r.setCurrent(v.Version))
}

// recover finishes what an earlier run began when it was cut off.
func (r *run) recover(ctx context.Context) error {
	version, err := r.c.inPlace()
	if err != nil {
		return err
	}
	if t := r.m.Trial; t != nil && t.Version == version {
		r.note("version %s was put in place by a run that was cut off", version)
		return r.decide(ctx)
	}
	if r.m.Trial != nil { // it never came into place
		r.m.Trial = nil
		if err := r.c.keep(r.m); err != nil {
			return err
		}
	}
	return r.setCurrent(version)
}

func (r *run) setCurrent(version string) error {
	if _, err := os.Stat(r.c.versions(version)); version != "" && errors.Is(err, fs.ErrNotExist) {
		r.note("version %s was in place, but its folder is gone", version)
		version = ""
	}
	if r.current = r.m.Versions[version]; r.current == nil && version != "" {
		return refuse(Disk, "version %s is in place, but this client did not put it there", version)
	}
	return nil
}

// decide asks the health of the version on trial, and keeps it or goes back.
func (r *run) decide(ctx context.Context) error {
	t := *r.m.Trial
	v := r.m.Versions[t.Version]
	if v == nil {
		return refuse(Disk, "version %s is in place, but nothing is known about it", t.Version)
	}
	sick := r.health(ctx, t.Version)
	if sick != nil && ctx.Err() != nil { // ended by the caller: it says nothing about the version
		return errors.Join(refuse(Stopped, "stopped while the health of version %s was asked; it will be asked again", t.Version), r.setCurrent(t.Version))
	}
	r.c.at("health-asked")
	if sick == nil {
		r.m.Trial, r.m.Failed = nil, nil
		seen := r.m.Channels[v.Channel]
		seen.Number = max(seen.Number, v.Number)
		r.m.Channels[v.Channel] = seen
		r.result.Before = t.Before
		if err := errors.Join(r.c.keep(r.m), r.setCurrent(t.Version)); err != nil {
			return err
		}
		r.c.at("trial-passed")
		return r.clean(t.Version, t.Before)
	}
	if err := r.c.point(t.Before); err != nil {
		return err
	}
	r.c.at("version-restored")
	r.m.Trial, r.m.Failed = nil, &failure{v.Channel, v.Number, v.Version, oneLine(sick.Error())}
	if err := errors.Join(r.c.keep(r.m), r.setCurrent(t.Before)); err != nil {
		return err
	}
	back := "nothing was in place before"
	if t.Before != "" {
		back = t.Before + " is back in place"
	}
	return refuse(HealthFailed, "version %s failed its health check, and %s: %w", t.Version, back, sick)
}

func (r *run) health(ctx context.Context, version string) error {
	if r.c.cfg.Health == nil {
		return nil
	}
	ctx, stop := context.WithTimeout(ctx, r.c.cfg.Limits.Health)
	defer stop()
	return r.c.cfg.Health(ctx, r.c.versions(version), version)
}

// build makes versions/<version> from the collected files: in a folder beside,
// made durable, then renamed.
func (r *run) build(o Offer) error {
	tree := r.c.state("tree")
	err := os.RemoveAll(tree)
	for _, f := range o.Files {
		if err == nil {
			err = r.putFile(tree, f)
		}
	}
	if err == nil {
		err = syncTree(tree)
	}
	if err != nil {
		return disk("building the version's folder", err)
	}
	r.c.at("tree-built")
	home := r.c.versions(o.Version)
	if err := os.MkdirAll(filepath.Dir(home), 0o755); err != nil {
		return disk("making the folder for versions", err)
	}
	// What lies there is left of a run that was cut off, or of a version that failed:
	// the link leads elsewhere.
	err = os.RemoveAll(home)
	if err == nil {
		err = os.Rename(tree, home)
	}
	if err == nil {
		err = syncDir(filepath.Dir(home))
	}
	return disk("building the version's folder", err)
}

func (r *run) putFile(tree string, f File) error {
	path := filepath.Join(tree, filepath.FromSlash(f.Name))
	if !filepath.IsLocal(filepath.FromSlash(f.Name)) {
		return refuse(Malformed, "the file name %q leads out of the folder", f.Name)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	in, err := os.Open(r.c.part(f.SHA256))
	if err != nil {
		return err
	}
	defer in.Close()
	start := make([]byte, 4)
	n, _ := io.ReadFull(in, start)
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return err
	}
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Chmod(r.c.cfg.Mode(f.Name, start[:n]))
	}
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

// syncTree makes all names below a folder durable.
func syncTree(tree string) error {
	return filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = syncDir(path)
		}
		return err
	})
}

// clean removes what neither the version in place nor the one before needs.
func (r *run) clean(version, before string) error {
	names, err := os.ReadDir(r.c.versions(""))
	if err != nil {
		return disk("reading the folder of versions", err)
	}
	for _, n := range names {
		if n.Name() != version && n.Name() != before {
			delete(r.m.Versions, n.Name())
			if err := os.RemoveAll(r.c.versions(n.Name())); err != nil {
				return disk("removing an old version", err)
			}
		}
	}
	err = os.RemoveAll(r.c.state("parts"))
	return errors.Join(disk("removing the downloads", err), r.c.keep(r.m))
}

// modeOf gives what an operating system can run the permission to be run.
func modeOf(_ string, start []byte) os.FileMode {
	for _, magic := range []string{"\x7fELF", "#!", "MZ", "\xfe\xed\xfa", "\xcf\xfa\xed\xfe", "\xce\xfa\xed\xfe", "\xca\xfe\xba\xbe"} {
		if bytes.HasPrefix(start, []byte(magic)) {
			return 0o755
		}
	}
	return 0o644
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
