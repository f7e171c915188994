package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/update"
)

// maxBundle bounds a bundle, in bytes.
const maxBundle = 16 << 20

// tooSmall is the size of files, in bytes, that get no deltas: naming one costs a
// client more than it saves.
const tooSmall = 4 << 10

// shortcuts is how many of a channel's newest offers keep their deltas: clients
// of older rings take the full file.
const shortcuts = 3

// Release is what the release room knows of a version that the log has.
type Release struct {
	Product, Channel, Version string
	Entry                     int64 // the log entry of the release statement
	Reproducible              int   // how many different builders got these bytes
	Files                     []File
}

// File is a released file; its bytes are in the blobs.
type File struct {
	Name, SHA256 string
	Size         int64
	Bundle       []byte // FILE.clerestory
}

// Offer adds a version to its channel, for percent of 100 clients (0 holds it
// back); the seed mixes clients anew, so that the same are not always first.
// Deltas from earlier versions are made, and versions that are too old leave. A
// version that had other bytes before, or was withdrawn, is a Conflict.
func (s *Service) Offer(ctx context.Context, r Release, percent int, seed string) (*update.Head, error) {
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("offering %s %s: %w", r.Product, r.Version, err)
	}
	before, err := s.Head(ctx, r.Product, r.Channel)
	if err != nil {
		return nil, err
	}
	offer := update.Offer{Version: r.Version, Entry: r.Entry, Percent: percent, Seed: seed, Reproducible: r.Reproducible}
	targets, err := s.prepare(ctx, r, before, &offer)
	if err != nil {
		return nil, fmt.Errorf("offering %s %s: %w", r.Product, r.Version, err)
	}
	after, err := s.change(ctx, r.Product, r.Channel, func(tx *store.Tx, h *head) error {
		if h.offer(r.Version) != nil {
			return fault.Conflict.New("%s %s is offered already in %s", r.Product, r.Version, r.Channel)
		}
		if w, ok := h.RevokedVersion(r.Version); ok {
			return fault.Conflict.New("%s %s was withdrawn (%s): it is not offered again; release a new version", r.Product, r.Version, w.Reason)
		}
		for _, t := range targets {
			if err := addTarget(ctx, tx, t); err != nil {
				return err
			}
		}
		h.number++
		offer.Number = h.number
		h.Releases = append(h.Releases, offer)
		return s.trim(ctx, tx, h)
	})
	if err != nil {
		return nil, fmt.Errorf("offering %s %s: %w", r.Product, r.Version, err)
	}
	return after, nil
}

func (r Release) check() error {
	if err := checkProduct(r.Product); err != nil {
		return err
	}
	if err := errors.Join(statement.CheckID("channel", r.Channel), statement.CheckVersion(r.Version)); err != nil {
		return fault.Invalid.New("%w", err)
	}
	if len(r.Files) == 0 || len(r.Files) > update.HeadLimits.Files {
		return fault.Invalid.New("a release has 1 to %d files", update.HeadLimits.Files)
	}
	for _, f := range r.Files {
		if err := checkName(f.Name); err != nil {
			return err
		}
	}
	return nil
}

// prepare puts bundles and deltas among the blobs and lists the new targets. It
// is slow, so it works outside of the transaction.
func (s *Service) prepare(ctx context.Context, r Release, before *update.Head, offer *update.Offer) ([]target, error) {
	p := s.Policy.filled()
	var all []target
	for _, f := range r.Files {
		size, err := s.size(f.SHA256)
		if err != nil {
			return nil, err
		}
		if size != f.Size {
			return nil, fault.Tampered.New("%s has %d bytes; the release says %d", f.Name, size, f.Size)
		}
		bundle, err := s.Blobs.Put(ctx, bytes.NewReader(f.Bundle), maxBundle)
		if err != nil {
			return nil, err
		}
		all = append(all, target{update.FileTarget(r.Product, r.Version, f.Name), r.Product, kindFile, f.SHA256, f.Size},
			target{update.BundleTarget(r.Product, r.Version, f.Name), r.Product, kindBundle, bundle.SHA256, bundle.Size})
		file := update.File{Name: f.Name, SHA256: f.SHA256, Size: f.Size}
		olds := earlier(before, f, p.Deltas)
		for _, old := range olds {
			t, err := s.delta(ctx, r, f, old, p.DeltaSize)
			if err != nil {
				return nil, err
			}
			if t.size == 0 {
				continue // not worth it
			}
			all = append(all, t)
			file.Deltas = append(file.Deltas, update.Delta{From: old.SHA256, SHA256: t.sha256, Size: t.size})
		}
		offer.Files = append(offer.Files, file)
	}
	return all, nil
}

func (s *Service) size(sha string) (int64, error) {
	f, err := s.Blobs.Open(sha)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, fault.Unavailable.New("reading blob %s: %w", sha, err)
	}
	return info.Size(), nil
}

// earlier lists the different contents that a file of this name had in the last
// n versions of the channel, the newest first.
func earlier(h *update.Head, f File, n int) []update.File {
	var all []update.File
	for _, o := range slices.Backward(h.Releases) {
		if n--; n < 0 {
			break
		}
		for _, old := range o.Files {
			known := func(x update.File) bool { return x.SHA256 == old.SHA256 }
			if old.Name == f.Name && old.SHA256 != f.SHA256 && !slices.ContainsFunc(all, known) {
				all = append(all, old)
			}
		}
	}
	return all
}

// delta makes the way from old to new content, or takes the one that another
// channel has. Where it would save nothing there is none (size 0).
func (s *Service) delta(ctx context.Context, r Release, f File, old update.File, limit int64) (target, error) {
	t := target{update.DeltaTarget(r.Product, r.Version, f.Name, old.SHA256), r.Product, kindDelta, "", 0}
	var sha string
	var size int64
	if err := s.DB.QueryRow(ctx, "SELECT sha256, size FROM repository_target WHERE path = $1 AND kind = $2", t.path, kindDelta).Scan(&sha, &size); err == nil {
		t.sha256, t.size = sha, size
		return t, nil
	}
	if old.Size > limit || f.Size > limit || old.Size == 0 || f.Size < tooSmall {
		return t, nil
	}
	from, err := s.read(old.SHA256, limit)
	if err != nil {
		return t, err
	}
	to, err := s.read(f.SHA256, limit)
	if err != nil {
		return t, err
	}
	delta, err := update.MakeDelta(from, to)
	if errors.Is(err, update.BadDelta) { // no shorter than the file
		return t, nil
	}
	if err != nil {
		return t, fmt.Errorf("making a delta of %s: %w", f.Name, err)
	}
	info, err := s.Blobs.Put(ctx, bytes.NewReader(delta), limit)
	t.sha256, t.size = info.SHA256, info.Size
	return t, err
}

func (s *Service) read(sha string, limit int64) ([]byte, error) {
	f, err := s.Blobs.Open(sha)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil || int64(len(b)) > limit {
		return nil, fault.Unavailable.New("reading blob %s: %w", sha, err)
	}
	return b, nil
}

// trim lets the oldest offers go, and the deltas of all but the newest. The
// newest one that every client may install stays however old it is: a new
// customer needs something to start with.
func (s *Service) trim(ctx context.Context, tx *store.Tx, h *head) error {
	keep := min(s.Policy.filled().Keep, update.HeadLimits.Releases)
	for len(h.Releases) > keep {
		start := -1
		for i, o := range h.Releases {
			if _, gone := h.RevokedVersion(o.Version); o.Percent == 100 && !o.Halted && !gone {
				start = i
			}
		}
		i := 0
		if start == 0 && len(h.Releases) > 1 {
			i = 1
		}
		if err := s.forget(ctx, tx, h, i); err != nil {
			return err
		}
	}
	for i := range max(0, len(h.Releases)-shortcuts) {
		if err := s.forgetDeltas(ctx, tx, h, i); err != nil {
			return err
		}
	}
	return nil
}

// forget takes an offer out of the head, and its files out of the repository
// where no other channel offers them.
func (s *Service) forget(ctx context.Context, tx *store.Tx, h *head, i int) error {
	o := h.Releases[i]
	h.Releases = slices.Delete(h.Releases, i, i+1)
	elsewhere, err := offeredElsewhere(ctx, tx, h.Product, h.Channel, o.Version)
	if err != nil || elsewhere {
		return err
	}
	var paths []string
	for _, f := range o.Files {
		paths = append(paths, update.FileTarget(h.Product, o.Version, f.Name), update.BundleTarget(h.Product, o.Version, f.Name))
	}
	return dropTargets(ctx, tx, append(paths, deltaPaths(h.Product, o)...))
}

func (s *Service) forgetDeltas(ctx context.Context, tx *store.Tx, h *head, i int) error {
	o := h.Releases[i]
	paths := deltaPaths(h.Product, o)
	for j := range o.Files {
		o.Files[j].Deltas = nil
	}
	if len(paths) == 0 {
		return nil
	}
	elsewhere, err := offeredElsewhere(ctx, tx, h.Product, h.Channel, o.Version)
	if err != nil || elsewhere {
		return err
	}
	return dropTargets(ctx, tx, paths)
}

func deltaPaths(product string, o update.Offer) []string {
	var all []string
	for _, f := range o.Files {
		for _, d := range f.Deltas {
			all = append(all, update.DeltaTarget(product, o.Version, f.Name, d.From))
		}
	}
	return all
}

func offeredElsewhere(ctx context.Context, tx *store.Tx, product, channel, version string) (bool, error) {
	rows, err := tx.QueryContext(ctx, "SELECT content FROM repository_head WHERE product = $1 AND channel <> $2", product, channel)
	if err != nil {
		return false, fmt.Errorf("reading the heads of %s: %w", product, err)
	}
	defer rows.Close()
	for rows.Next() {
		var content []byte
		if err := rows.Scan(&content); err != nil {
			return false, fmt.Errorf("reading the heads of %s: %w", product, err)
		}
		h, err := update.ParseHead(content)
		if err != nil {
			return false, fault.Tampered.New("a stored head was changed: %w", err)
		}
		if (&head{Head: *h}).offer(version) != nil {
			return true, nil
		}
	}
	return false, rows.Err()
}

// Head gives a channel as it was decided, signed or not; one that was never
// written is empty.
func (s *Service) Head(ctx context.Context, product, channel string) (*update.Head, error) {
	h, err := readHead(ctx, reader{s.DB}, product, channel)
	if err != nil {
		return nil, err
	}
	return &h.Head, nil
}
