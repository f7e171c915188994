package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/ledger/tile"
	"clerestory.dev/clerestory/verify"
)

// The library's private folder and the file that says how far its tree goes.
const (
	stateDir  = ".state"
	stateFile = "treeState"
)

// compared is how many entries at the log's end are compared byte by byte. What
// stands before the signed checkpoint is covered by its root.
const compared = 256

func hasState(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, stateDir, stateFile))
	return err == nil
}

// readHead reads the folder's published checkpoint, whatever the witnesses; nil
// means that there is none yet. Run before the library sees the folder: without
// its state it would begin a new log over a published one.
func readHead(ctx context.Context, dir string, p witnessPolicy) (*verify.Checkpoint, error) {
	raw, err := tile.Dir(dir).Checkpoint(ctx)
	if errors.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	head, err := p.bare.Open(raw)
	if err != nil {
		return nil, fault.Tampered.New("the log folder %s has a checkpoint that this log's key did not sign: %w", dir, err)
	}
	if !hasState(dir) {
		return nil, fault.Stale.New("the log folder %s has a checkpoint of %d entries, but not the writer's state (it is a copy): run `clerestory log adopt`", dir, head.Size)
	}
	if _, err := p.Open(raw); err != nil {
		// The witness policy has changed. The library renews a checkpoint that looks
		// old enough; a failure here only makes that later.
		os.Chtimes(filepath.Join(dir, "checkpoint"), time.Time{}, time.Now().Add(-2*republishInterval))
	}
	return head, nil
}

// reconcile compares the tree in the folder with the outbox, and returns the
// tree's state as computed from the signed head and the rows after it.
func (w *Writer) reconcile(ctx context.Context, head *verify.Checkpoint) (*compact.Range, error) {
	rng, err := w.compare(ctx, head)
	if errors.Is(err, fault.NotFound) {
		err = fault.Tampered.New("the log folder lacks what its checkpoint covers: %w", err)
	}
	return rng, err
}

func (w *Writer) compare(ctx context.Context, head *verify.Checkpoint) (*compact.Range, error) {
	integrated, err := w.reader.IntegratedSize(ctx)
	if err != nil {
		return nil, fault.Unavailable.New("reading the tree's size: %w", err)
	}
	size := int64(integrated)
	next, err := w.cfg.DB.Next(ctx)
	if err != nil {
		return nil, err
	}
	if head == nil {
		head = &verify.Checkpoint{}
	}
	switch {
	case size < head.Size:
		return nil, fault.Stale.New("the checkpoint covers %d entries, but the writer's state only %d (an older copy): run `clerestory log adopt`", head.Size, size)
	case size > next:
		return nil, fault.Stale.New("the log has %d entries, but the database only %d (an older backup): run `clerestory log adopt` to take the missing ones over from the log", size, next)
	}
	if err := compareEntries(ctx, w.files, w.cfg.DB, max(0, size-compared), size, size); err != nil {
		return nil, err
	}
	rng, err := rangeAt(ctx, w.files, head)
	if err != nil {
		return nil, err
	}
	if err := eachRow(ctx, w.cfg.DB, head.Size, size, func(s store.Said) error {
		return rng.Append(rfc6962.DefaultHasher.HashLeaf(s.Envelope), nil)
	}); err != nil {
		return nil, err
	}
	return rng, checkEdge(ctx, w.files, rng)
}

// rangeAt loads the state of the tree with checkpoint c from its tiles.
func rangeAt(ctx context.Context, files tile.Source, c *verify.Checkpoint) (*compact.Range, error) {
	var indexes []int64
	for _, id := range compact.RangeNodes(0, uint64(c.Size), nil) {
		indexes = append(indexes, tlog.StoredHashIndex(int(id.Level), int64(id.Index)))
	}
	hashes, err := tile.Read(ctx, files, c, indexes)
	if err != nil {
		return nil, err
	}
	nodes := make([][]byte, len(hashes))
	for i := range hashes {
		nodes[i] = hashes[i][:]
	}
	return ranges.NewRange(0, uint64(c.Size), nodes)
}

// checkEdge checks that the tiles at the tree's right edge, which the next
// entries will be built on, lead to the root that was computed.
func checkEdge(ctx context.Context, files tile.Source, rng *compact.Range) error {
	if rng.End() == 0 {
		return nil
	}
	root, err := rootOf(rng)
	if err != nil {
		return fmt.Errorf("computing the root: %w", err)
	}
	_, err = rangeAt(ctx, files, &verify.Checkpoint{Size: int64(rng.End()), Root: tlog.Hash(root)})
	return err
}

// compareEntries compares entries from to to-1 of a log of this size with the
// outbox rows, byte by byte.
func compareEntries(ctx context.Context, files tile.Source, db *store.DB, from, to, size int64) error {
	var bundle [][]byte
	var start int64 = -1
	return eachRow(ctx, db, from, to, func(s store.Said) error {
		if at := s.N - s.N%tile.Width; at != start {
			start = at
			var err error
			if bundle, err = tile.ReadEntries(ctx, files, tile.BundleOf(at, size)); err != nil {
				return err
			}
		}
		if !bytes.Equal(bundle[s.N-start], s.Envelope) {
			return fault.Tampered.New("log entry %d is not what the outbox says", s.N)
		}
		return nil
	})
}

// eachRow reads rows from to size-1; a missing one is Tampered.
func eachRow(ctx context.Context, db *store.DB, from, size int64, do func(store.Said) error) error {
	for n := from; n < size; {
		rows, err := db.SaidFrom(ctx, n, int(min(size-n, batchSize)))
		if err != nil {
			return err
		}
		for _, row := range rows {
			if row.N != n {
				break
			}
			if err := do(row); err != nil {
				return err
			}
			n++
		}
		if len(rows) == 0 || rows[len(rows)-1].N != n-1 {
			return fault.Tampered.New("the outbox has no row %d", n)
		}
	}
	return nil
}
