package tile

import (
	"context"
	"errors"

	"golang.org/x/mod/sumdb/tlog"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/verify"
)

// tileReader gives package tlog the tiles. It lives for one operation, so it may
// keep the context. failed is the first error of ours: tlog hides its kind.
type tileReader struct {
	ctx    context.Context
	src    Source
	failed error
}

func (r *tileReader) Height() int                     { return 8 }
func (r *tileReader) SaveTiles([]tlog.Tile, [][]byte) {}
func (r *tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	for i, t := range tiles {
		b, err := readTile(r.ctx, r.src, Ref{Level: t.L, Index: t.N, Width: t.W})
		if err != nil {
			r.failed = err
			return nil, err
		}
		data[i] = b
	}
	return data, nil
}

// Prove makes the proof that entry n is in the tree with checkpoint c, and that
// entry is its content. The proof was checked before it is returned.
func Prove(ctx context.Context, src Source, c *verify.Checkpoint, n int64, entry []byte) (*verify.Proof, error) {
	if n < 0 || n >= c.Size {
		return nil, fault.NotFound.New("entry %d is not covered by the checkpoint of size %d", n, c.Size)
	}
	hashes, err := proving(ctx, src, c, func(h tlog.HashReader) ([]tlog.Hash, error) {
		return tlog.ProveRecord(c.Size, n, h)
	})
	if err != nil {
		return nil, err
	}
	p := &verify.Proof{Index: n, Hashes: hashes, Checkpoint: c.Raw}
	if err := p.Check(c, entry); err != nil {
		return nil, fault.Tampered.New("proving entry %d: %w", n, err)
	}
	return p, nil
}

// ProveGrowth makes the proof that the tree of size from grew into the one of size
// to; both are states of the log in src, and c, which covers them, is its newest.
func ProveGrowth(ctx context.Context, src Source, c *verify.Checkpoint, from, to int64) ([]tlog.Hash, error) {
	if from < 1 || from >= to || to > c.Size {
		return nil, fault.NotFound.New("no proof leads from %d to %d entries: it needs 0 < from < to <= %d, the size of the published log", from, to, c.Size)
	}
	return proving(ctx, src, c, func(h tlog.HashReader) ([]tlog.Hash, error) { return tlog.ProveTree(to, from, h) })
}

// CheckGrowth proves that newer, a checkpoint of the log in src, continues older.
func CheckGrowth(ctx context.Context, src Source, older, newer *verify.Checkpoint) error {
	var proof []tlog.Hash
	if 0 < older.Size && older.Size < newer.Size {
		var err error
		if proof, err = ProveGrowth(ctx, src, newer, older.Size, newer.Size); err != nil {
			return err
		}
	}
	if err := verify.CheckGrowth(older, newer, proof); err != nil {
		return fault.Tampered.New("%w", err)
	}
	return nil
}

func proving(ctx context.Context, src Source, c *verify.Checkpoint, make func(tlog.HashReader) ([]tlog.Hash, error)) ([]tlog.Hash, error) {
	if err := CheckSize(c); err != nil {
		return nil, err
	}
	r := &tileReader{ctx, src, nil}
	hashes, err := make(tlog.TileHashReader(tlog.Tree{N: c.Size, Hash: c.Root}, r))
	if r.failed != nil {
		return nil, r.failed
	}
	if err != nil {
		return nil, fault.Tampered.New("the tiles of %s do not lead to the checkpoint of size %d: %w", src, c.Size, err)
	}
	return hashes, nil
}

// Read reads the stored hashes with these numbers (tlog.StoredHashIndex) of the
// tree with checkpoint c. Every hash is checked to lead to the checkpoint's root.
func Read(ctx context.Context, src Source, c *verify.Checkpoint, indexes []int64) ([]tlog.Hash, error) {
	if len(indexes) == 0 {
		return nil, nil
	}
	hashes, err := proving(ctx, src, c, func(h tlog.HashReader) ([]tlog.Hash, error) { return h.ReadHashes(indexes) })
	if err == nil && len(hashes) != len(indexes) {
		err = errors.New("too few hashes were read")
	}
	return hashes, err
}
