package logread

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/errgroup"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/ledger/tile"
	"clerestory.dev/clerestory/verify"
)

// Mirror brings dir up to the log's present checkpoint, in the same static
// layout, and returns that checkpoint. Every file is proven before it is written,
// and the checkpoint is written last: whoever reads dir sees the old state or the
// new one, both complete. Interrupted, the next run fetches what is missing. A
// log that does not continue what dir holds is refused, and dir stays as it is.
//
// o.Memory keeps evidence; the mirror's own checkpoint is its memory of the past.
func Mirror(ctx context.Context, src tile.Source, p *verify.Policy, dir string, o Options) (*verify.Checkpoint, error) {
	c, err := mirror(ctx, src, p, dir, o)
	if err != nil {
		return nil, fmt.Errorf("mirroring the log to %s: %w", dir, err)
	}
	return c, nil
}

func mirror(ctx context.Context, src tile.Source, p *verify.Policy, dir string, o Options) (*verify.Checkpoint, error) {
	if err := named(p); err != nil {
		return nil, err
	}
	c, err := openHead(ctx, src, p)
	if err != nil {
		return nil, err
	}
	var have int64
	raw, err := tile.Dir(dir).Checkpoint(ctx)
	switch {
	case errors.Is(err, fault.NotFound):
	case err != nil:
		return nil, err
	default:
		held, err := openBare(raw, p)
		if err != nil {
			return nil, fault.Conflict.New("the folder holds another log, or a damaged one: %w", err)
		}
		if err := o.Memory.continues(ctx, src, held, c); err != nil {
			return nil, err
		}
		have = held.Size
	}
	m := &mirroring{src: &layered{tile.Dir(dir), cache(src)}, c: c, dir: dir, o: o, done: have}
	if err := m.run(ctx, have); err != nil {
		return nil, err
	}
	if err := put(filepath.Join(dir, "checkpoint"), c.Raw); err != nil {
		return nil, err
	}
	return c, m.tidy(have)
}

type mirroring struct {
	src tile.Source
	c   *verify.Checkpoint
	dir string
	o   Options

	mu   sync.Mutex
	done int64
}

// layered reads what the mirror has already, and the rest from the log.
type layered struct {
	local  tile.Dir
	remote tile.Source
}

func (l *layered) String() string { return l.remote.String() }
func (l *layered) Checkpoint(ctx context.Context) ([]byte, error) {
	return l.remote.Checkpoint(ctx)
}
func (l *layered) Get(ctx context.Context, r tile.Ref) ([]byte, error) {
	b, err := l.local.Get(ctx, r)
	if errors.Is(err, fault.NotFound) {
		return l.remote.Get(ctx, r)
	}
	return b, err
}

func (m *mirroring) run(ctx context.Context, have int64) error {
	g, within := errgroup.WithContext(ctx)
	g.SetLimit(m.o.workers())
	for r := range tile.Bundles(have, m.c.Size) {
		if within.Err() != nil {
			break
		}
		g.Go(func() error { return m.bundle(within, r) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fault.Unavailable.New("interrupted: %w", err)
	}
	for level := 1; m.c.Size>>(8*level) > 0; level++ {
		for r := range tile.Tiles(level, have>>(8*level), m.c.Size) {
			if err := m.tile(ctx, r); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *mirroring) bundle(ctx context.Context, r tile.Ref) error {
	entries, err := readProven(ctx, m.src, m.c, r)
	if err != nil {
		return err
	}
	if err := m.write(r, tile.FormatBundle(entries)); err != nil {
		return err
	}
	if err := m.tile(ctx, tile.Ref{Index: r.Index, Width: r.Width}); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done = min(m.done+int64(r.Width), m.c.Size)
	if m.o.Progress != nil {
		m.o.Progress(m.done, m.c.Size)
	}
	return nil
}

func (m *mirroring) tile(ctx context.Context, r tile.Ref) error {
	hashes, err := readProvenTile(ctx, m.src, m.c, r)
	if err != nil {
		return err
	}
	b := make([]byte, 0, len(hashes)*tlog.HashSize)
	for _, h := range hashes {
		b = append(b, h[:]...)
	}
	return m.write(r, b)
}

func (m *mirroring) write(r tile.Ref, b []byte) error {
	name := filepath.Join(m.dir, filepath.FromSlash(r.Path()))
	if have, err := os.ReadFile(name); err == nil && bytes.Equal(have, b) {
		return nil
	}
	return put(name, b)
}

// tidy removes partial files that a full one has replaced (tlog-tiles allows it).
func (m *mirroring) tidy(have int64) error {
	if err := m.removePartial(tile.Bundles(have, m.c.Size)); err != nil {
		return err
	}
	for level := 0; m.c.Size>>(8*level) > 0; level++ {
		if err := m.removePartial(tile.Tiles(level, have>>(8*level), m.c.Size)); err != nil {
			return err
		}
	}
	return nil
}

func (m *mirroring) removePartial(refs iter.Seq[tile.Ref]) error {
	for r := range refs {
		if r.Width < tile.Width {
			continue
		}
		if err := os.RemoveAll(filepath.Join(m.dir, filepath.FromSlash(r.Path())+".p")); err != nil {
			return fault.Unavailable.New("removing what is no longer needed: %w", err)
		}
	}
	return nil
}
