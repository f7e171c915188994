package update

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// part is where a file is collected, by its hash: "<sha256>" when it is whole,
// "<sha256>.part" while it grows. A crash leaves what had come.
func (c *Client) part(sum string) string { return c.state("parts/" + sum) }

// download collects all files of an offer: from what is installed, by a delta
// from it, or whole.
func (r *run) download(ctx context.Context, o Offer) error {
	var total int64
	for _, f := range o.Files {
		if total += f.Size; total > r.c.cfg.Limits.Total {
			return refuse(EndlessData, "version %s has more than the %d bytes that are accepted", o.Version, r.c.cfg.Limits.Total)
		}
	}
	if err := os.MkdirAll(r.c.state("parts"), 0o700); err != nil {
		return disk("making the folder for downloads", err)
	}
	if err := r.forget(o); err != nil {
		return err
	}
	for _, f := range o.Files {
		if err := r.collect(ctx, o, f); err != nil {
			return err
		}
		r.c.at("file-collected")
	}
	return nil
}

// forget removes parts that belong to another offer.
func (r *run) forget(o Offer) error {
	names, err := os.ReadDir(r.c.state("parts"))
	if err != nil {
		return disk("reading the folder for downloads", err)
	}
	for _, n := range names {
		wanted := slices.ContainsFunc(o.Files, func(f File) bool { return n.Name() == f.SHA256 || n.Name() == f.SHA256+".part" })
		if !wanted {
			if err := os.Remove(r.c.part(n.Name())); err != nil {
				return disk("removing an old download", err)
			}
		}
	}
	return nil
}

func (r *run) collect(ctx context.Context, o Offer, f File) error {
	if sum, err := hashFile(r.c.part(f.SHA256)); err == nil && sum == f.SHA256 {
		return nil
	}
	if old := r.installed(f.SHA256); old != "" {
		if err := r.whole(f, func() (io.ReadCloser, error) { return os.Open(old) }); err == nil {
			return nil
		} // changed on this machine since it was installed
	}
	if r.byDelta(ctx, o, f) {
		return nil
	}
	t, err := r.named(ctx, FileTarget(r.c.cfg.Product, o.Version, f.Name), f.SHA256, f.Size)
	if err != nil {
		return err
	}
	return r.stream(ctx, t)
}

// installed finds a file of the version in place by its hash.
func (r *run) installed(sum string) string {
	if r.current != nil {
		for name, s := range r.current.Files {
			if s == sum {
				return filepath.Join(r.c.versions(r.current.Version), filepath.FromSlash(name))
			}
		}
	}
	return ""
}

// whole makes a part from a local reader, if it gives the right bytes.
func (r *run) whole(f File, open func() (io.ReadCloser, error)) error {
	in, err := open()
	if err != nil {
		return err
	}
	defer in.Close()
	return r.place(f.SHA256, io.LimitReader(in, f.Size+1))
}

// place writes a part from a reader and keeps it when the hash is right.
func (r *run) place(sum string, in io.Reader) error {
	path := r.c.part(sum) + ".part"
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return disk("storing a file", err)
	}
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(out, h), in)
	return r.finish(out, h, sum, err)
}

// finish makes a part durable and gives it its final name.
func (r *run) finish(out *os.File, h hash.Hash, sum string, err error) error {
	if err == nil {
		err = disk("storing a file", out.Sync())
	}
	if e := out.Close(); err == nil {
		err = disk("storing a file", e)
	}
	if err != nil {
		return err
	}
	if hex.EncodeToString(h.Sum(nil)) != sum {
		return errors.Join(refuse(WrongHash, "the bytes do not have the hash %s that the vendor signed", sum), os.Remove(out.Name()))
	}
	return disk("storing a file", os.Rename(out.Name(), r.c.part(sum)))
}

// byDelta tries the shortest delta from an installed file. Whatever goes wrong,
// the full file is there.
func (r *run) byDelta(ctx context.Context, o Offer, f File) bool {
	var best *Delta
	for i, d := range f.Deltas {
		if r.installed(d.From) != "" && d.Size < f.Size && f.Size <= DeltaLimits.Content && (best == nil || d.Size < best.Size) {
			best = &f.Deltas[i]
		}
	}
	if best == nil {
		return false
	}
	content, err := r.delta(ctx, o, f, *best)
	if err == nil {
		err = r.whole(f, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil })
	}
	if err != nil {
		r.note("the delta to %s can not be used, so the full file was fetched: %v", f.Name, err)
	}
	return err == nil
}

func (r *run) delta(ctx context.Context, o Offer, f File, d Delta) ([]byte, error) {
	t, err := r.named(ctx, DeltaTarget(r.c.cfg.Product, o.Version, f.Name, d.From), d.SHA256, d.Size)
	if err != nil {
		return nil, err
	}
	path := r.installed(d.From)
	if info, err := os.Stat(path); err != nil || info.Size() > DeltaLimits.Content {
		return nil, refuse(BadDelta, "the installed file is not there, or too large")
	}
	old, err := os.ReadFile(path)
	if err != nil {
		return nil, disk("reading the installed file", err)
	}
	if sum := sha256.Sum256(old); hex.EncodeToString(sum[:]) != d.From {
		return nil, refuse(BadDelta, "the installed file was changed on this machine")
	}
	b, err := r.small(ctx, t, DeltaLimits.Delta)
	if err != nil {
		return nil, err
	}
	content, err := ApplyDelta(old, b, f.Size)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != f.SHA256 {
		return nil, refuse(BadDelta, "the delta leads to other bytes than the file's")
	}
	return content, nil
}

// stream fetches a file of any size, going on where the last try broke off.
func (r *run) stream(ctx context.Context, t target) error {
	var err error
	for try := range r.c.cfg.Limits.Tries {
		var resumed bool
		if resumed, err = r.streamOnce(ctx, t); err == nil {
			return nil
		}
		if CodeOf(err) == WrongHash && resumed { // what was there before may have been wrong
			continue
		}
		if CodeOf(err) != Unreachable && CodeOf(err) != WrongLength || try == r.c.cfg.Limits.Tries-1 {
			break
		}
	}
	return err
}

func (r *run) streamOnce(ctx context.Context, t target) (resumed bool, err error) {
	path := r.c.part(t.sha256) + ".part"
	out, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return false, disk("storing a file", err)
	}
	h := sha256.New()
	have, err := io.Copy(h, io.LimitReader(out, t.size+1))
	if err == nil && have == t.size && have > 0 && hex.EncodeToString(h.Sum(nil)) == t.sha256 { // all there but for its name
		return false, r.finish(out, h, t.sha256, nil)
	}
	if err == nil && have >= t.size {
		have, err = 0, errors.Join(out.Truncate(0), seek(out, 0))
		h.Reset()
	}
	if err != nil {
		return false, errors.Join(disk("reading what had come", err), out.Close())
	}
	err = r.fetch.read(ctx, r.c.repo, t.remote, have, func(from int64, body io.Reader) error {
		if from != have { // the server starts over
			h.Reset()
			if err := errors.Join(out.Truncate(from), seek(out, from)); err != nil {
				return disk("storing a file", err)
			}
			have = from
		}
		n, err := io.Copy(&part{out, h, r.c}, io.LimitReader(body, t.size-have+1))
		if have += n; have > t.size && err == nil {
			return errors.Join(refuse(EndlessData, "%s is longer than the %d bytes that the vendor signed: endless data", t.path, t.size), out.Truncate(0))
		}
		if err == nil && have < t.size {
			return refuse(WrongLength, "%s ended after %d of %d bytes", t.path, have, t.size)
		}
		resumed = n < t.size
		return err
	})
	if errors.Is(err, errAbsent) {
		err = refuse(Unreachable, "the repository lacks %s, which it names: a mirror in the middle of a copy?", t.remote)
	}
	err = r.finish(out, h, t.sha256, err)
	return resumed, err
}

// part writes to the disk and the hash; what fails there is this machine's.
type part struct {
	out *os.File
	h   hash.Hash
	c   *Client
}

func (p *part) Write(b []byte) (int, error) {
	n, err := p.out.Write(b)
	p.h.Write(b[:n])
	p.c.at("bytes-stored")
	return n, disk("storing a file", err)
}

func seek(f *os.File, to int64) error {
	_, err := f.Seek(to, io.SeekStart)
	return err
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", errors.Join(err, fs.ErrInvalid)
	}
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), err
}
