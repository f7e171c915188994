package logread

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/errgroup"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/ledger/tile"
	"clerestory.dev/clerestory/verify"
)

// Options are how a log is read.
type Options struct {
	Memory   Memory               // where the last checkpoint seen is kept; "" means nowhere
	Workers  int                  // files fetched at once; 0 means 4
	Progress func(done, of int64) // entries; called from one goroutine at a time; may be nil
	// Each gets every entry, in no order, one at a time; it may be nil. What it
	// got is proven only when Check has returned without an error.
	Each func(Entry)
}

func (o Options) workers() int {
	if o.Workers <= 0 {
		return workers
	}
	return o.Workers
}

// Report says what Check has checked. It is only given when all of it was right.
type Report struct {
	Source     string
	Checkpoint *verify.Checkpoint // size, root, who cosigned it and when
	Entries    int64
	Tiles      int64              // tiles of hashes, of all levels
	Kinds      map[string]int64   // entries by kind of statement
	Remembered *verify.Checkpoint // what this machine had seen before; nil the first time
}

// Check reads all of a log and recomputes it: docs/spec/log.md, "Checking a whole
// log", steps 1 to 8.
func Check(ctx context.Context, src tile.Source, p *verify.Policy, o Options) (*Report, error) {
	if err := named(p); err != nil {
		return nil, err
	}
	last, err := o.Memory.Last(p)
	if err != nil {
		return nil, err
	}
	c, err := openHead(ctx, src, p) // steps 1 to 3
	if err != nil {
		return nil, fmt.Errorf("checking the log: %w", err)
	}
	// A smaller log, or another one of the same size, needs no reading.
	if last != nil && last.Size >= c.Size {
		if err := o.Memory.continues(ctx, src, last, c); err != nil {
			return nil, fmt.Errorf("checking the log: %w", err)
		}
	}
	k := &checking{src: src, c: c, last: last, o: o, bundles: map[int64]*compact.Range{},
		report: &Report{Source: src.String(), Checkpoint: c, Kinds: map[string]int64{}, Remembered: last}}
	if err := k.run(ctx); err != nil {
		return nil, fmt.Errorf("checking the log: %w", err)
	}
	if err := o.Memory.keep(p, c); err != nil { // step 8
		return nil, err
	}
	return k.report, nil
}

// checking is one run of Check.
type checking struct {
	src  tile.Source
	c    *verify.Checkpoint
	last *verify.Checkpoint
	o    Options

	mu      sync.Mutex
	bundles map[int64]*compact.Range // what each bundle's entries hash to; a claimed size costs nothing
	seam    []tlog.Hash              // leaf hashes of the bundle within which last ends
	report  *Report
}

var ranges = &compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}

func (k *checking) run(ctx context.Context) error {
	g, within := errgroup.WithContext(ctx)
	g.SetLimit(k.o.workers())
	for r := range tile.Bundles(0, k.c.Size) {
		if within.Err() != nil {
			break
		}
		g.Go(func() error { return k.bundle(within, r) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fault.Unavailable.New("interrupted: %w", err)
	}
	if err := k.upper(ctx); err != nil { // step 5, the levels above
		return err
	}
	return k.root()
}

// bundle does steps 4 and 5 for one bundle of entries and its tile of hashes.
func (k *checking) bundle(ctx context.Context, r tile.Ref) error {
	entries, err := tile.ReadEntries(ctx, k.src, r)
	if err != nil {
		return missing(err, k.c)
	}
	hashes, err := tile.ReadTile(ctx, k.src, tile.Ref{Index: r.Index, Width: r.Width})
	if err != nil {
		return missing(err, k.c)
	}
	first := r.Index * tile.Width
	rng := ranges.NewEmptyRange(uint64(first))
	kinds := map[string]int64{}
	parsed := make([]Entry, 0, len(entries))
	for i, raw := range entries {
		e, err := parseEntry(first+int64(i), raw)
		if err != nil {
			return err
		}
		kinds[e.Statement.Kind()]++
		parsed = append(parsed, e)
		if h := tlog.RecordHash(raw); h != hashes[i] {
			return fault.Tampered.New("log entry %d of %s does not have the hash in its tile", e.N, k.src)
		}
		if err := rng.Append(hashes[i][:], nil); err != nil {
			return fmt.Errorf("hashing the entries: %w", err)
		}
	}
	k.done(r, rng, hashes, kinds)
	k.tell(parsed)
	return nil
}

func (k *checking) tell(entries []Entry) {
	if k.o.Each == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range entries {
		k.o.Each(e)
	}
}

func (k *checking) done(r tile.Ref, rng *compact.Range, hashes []tlog.Hash, kinds map[string]int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.bundles[r.Index] = rng
	if k.last != nil && k.last.Size/tile.Width == r.Index {
		k.seam = hashes
	}
	for kind, n := range kinds {
		k.report.Kinds[kind] += n
	}
	k.report.Entries += int64(r.Width)
	k.report.Tiles++
	if k.o.Progress != nil {
		k.o.Progress(k.report.Entries, k.c.Size)
	}
}

// upper compares the tiles above the leaves with what was computed below them.
func (k *checking) upper(ctx context.Context) error {
	var below [][]byte // the hash of each full tile of the level below
	for i := range int64(len(k.bundles)) {
		if b := k.bundles[i]; b.End()-b.Begin() == tile.Width {
			below = append(below, b.Hashes()[0])
		}
	}
	for level := 1; len(below) > 0; level++ {
		var above [][]byte
		for r := range tile.Tiles(level, 0, k.c.Size) {
			hashes, err := tile.ReadTile(ctx, k.src, r)
			if err != nil {
				return missing(err, k.c)
			}
			rng := ranges.NewEmptyRange(0)
			for i, h := range hashes {
				if want := below[r.Index*tile.Width+int64(i)]; tlog.Hash(want) != h {
					return fault.Tampered.New("%s of %s has another hash %d than the tile below it", r.Path(), k.src, i)
				}
				if err := rng.Append(h[:], nil); err != nil {
					return fmt.Errorf("hashing the tiles: %w", err)
				}
			}
			if r.Width == tile.Width {
				above = append(above, rng.Hashes()[0])
			}
			k.report.Tiles++
		}
		below = above
	}
	return nil
}

// root does steps 6 and 7: what was read is the tree that was signed, and its
// beginning is the one that was seen before.
func (k *checking) root() error {
	all := ranges.NewEmptyRange(0)
	for i := range int64(len(k.bundles)) {
		if k.last != nil && k.last.Size/tile.Width == i {
			if err := k.past(all); err != nil {
				return err
			}
		}
		if err := all.AppendRange(k.bundles[i], nil); err != nil {
			return fmt.Errorf("joining the bundles: %w", err)
		}
	}
	root, err := rootOf(all)
	if err != nil {
		return err
	}
	if root != k.c.Root {
		return fault.Tampered.New("the entries of %s do not lead to the root of its checkpoint of %d entries", k.src, k.c.Size)
	}
	return nil
}

// past computes the root at the size that was seen before; before holds the
// bundles up to there.
func (k *checking) past(before *compact.Range) error {
	hashes := make([][]byte, len(before.Hashes()))
	copy(hashes, before.Hashes())
	then, err := ranges.NewRange(0, before.End(), hashes)
	if err != nil {
		return fmt.Errorf("joining the bundles: %w", err)
	}
	for _, h := range k.seam[:k.last.Size%tile.Width] {
		if err := then.Append(h[:], nil); err != nil {
			return fmt.Errorf("joining the bundles: %w", err)
		}
	}
	root, err := rootOf(then)
	if err == nil && root != k.last.Root {
		err = k.o.Memory.fork(k.last, k.c, errors.New("its first entries are not those that were checked before"))
	}
	return err
}

func rootOf(rng *compact.Range) (tlog.Hash, error) {
	if rng.End() == 0 {
		return tlog.Hash(rfc6962.DefaultHasher.EmptyRoot()), nil
	}
	h, err := rng.GetRootHash(nil)
	if err != nil {
		return tlog.Hash{}, fmt.Errorf("computing the root: %w", err)
	}
	return tlog.Hash(h), nil
}
