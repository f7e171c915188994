// Package logread reads a log that it does not trust: it checks all of it
// ([Check]), keeps a verified copy ([Mirror]), and tells of new statements
// ([Follow]).
//
// It promises that what it yields, copies or calls checked is covered by a
// checkpoint that the log's key signed, that enough witnesses cosigned, and that
// continues the last one that this machine saw ([Memory]). Two checkpoints that
// can not both be true are Tampered, kept as evidence in a file, and never
// overwritten. It refuses bodies that are too large or too slow.
//
// It does not decide whether a statement's signers may say it; package verify does.
//
// Start at [Check]; docs/spec/log.md has its steps with the same numbers.
package logread

import (
	"bytes"
	"context"
	"errors"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/ledger/tile"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// workers is how many files are fetched at once unless told otherwise.
const workers = 4

// Entry is a log entry that was proven to be in the log.
type Entry struct {
	N         int64
	Raw       []byte
	Envelope  *statement.Envelope
	Statement *statement.Statement
}

// named refuses a policy that does not say which log it is for.
func named(p *verify.Policy) error {
	if p == nil || p.Log == nil {
		return fault.Invalid.New("the witness policy has no log line: whose log is read?")
	}
	return nil
}

// parseEntry reads the statement that every entry must be.
func parseEntry(n int64, raw []byte) (Entry, error) {
	e, err := statement.ParseEnvelope(raw)
	if err != nil {
		return Entry{}, fault.Tampered.New("log entry %d is no statement: %w", n, err)
	}
	s, err := statement.Parse(e.Payload)
	if err != nil {
		return Entry{}, fault.Tampered.New("log entry %d is no statement: %w", n, err)
	}
	return Entry{n, raw, e, s}, nil
}

// openHead reads the source's checkpoint and believes it as the policy says.
func openHead(ctx context.Context, src tile.Source, p *verify.Policy) (*verify.Checkpoint, error) {
	raw, err := src.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	c, err := p.Open(raw)
	if err != nil {
		return nil, fault.Tampered.New("the checkpoint of %s: %w", src, err)
	}
	return c, tile.CheckSize(c)
}

// readProven reads a bundle and proves every entry in it against checkpoint c.
func readProven(ctx context.Context, src tile.Source, c *verify.Checkpoint, r tile.Ref) ([][]byte, error) {
	entries, err := tile.ReadEntries(ctx, src, r)
	if err != nil {
		return nil, missing(err, c)
	}
	hashes, err := readProvenTile(ctx, src, c, tile.Ref{Index: r.Index, Width: r.Width})
	if err != nil {
		return nil, err
	}
	for i, e := range entries {
		if tlog.RecordHash(e) != hashes[i] {
			return nil, fault.Tampered.New("log entry %d of %s is not the one that its checkpoint covers", r.Index*tile.Width+int64(i), src)
		}
	}
	return entries, nil
}

// readProvenTile reads the hashes of a tile and proves them against c.
func readProvenTile(ctx context.Context, src tile.Source, c *verify.Checkpoint, r tile.Ref) ([]tlog.Hash, error) {
	indexes := make([]int64, r.Width)
	for i := range indexes {
		indexes[i] = tlog.StoredHashIndex(8*r.Level, r.Index*tile.Width+int64(i))
	}
	hashes, err := tile.Read(ctx, src, c, indexes)
	return hashes, missing(err, c)
}

// missing says what it means that a file is not there: the checkpoint promised it.
func missing(err error, c *verify.Checkpoint) error {
	if errors.Is(err, fault.NotFound) {
		return fault.Tampered.New("the log withholds what its checkpoint of %d entries covers: %w", c.Size, err)
	}
	return err
}

// cached keeps the tiles of one operation: proving neighbours needs the same
// parents again and again.
type cached struct {
	tile.Source
	mu   sync.Mutex
	kept map[tile.Ref][]byte
}

const cachedTiles = 512 // 4 MB

func cache(src tile.Source) *cached {
	return &cached{Source: src, kept: map[tile.Ref][]byte{}}
}

// Get implements [tile.Source].
func (c *cached) Get(ctx context.Context, r tile.Ref) ([]byte, error) {
	if r.Entries {
		return c.Source.Get(ctx, r)
	}
	c.mu.Lock()
	b, ok := c.kept[r]
	c.mu.Unlock()
	if ok {
		return b, nil
	}
	b, err := c.Source.Get(ctx, r)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.kept) >= cachedTiles {
		clear(c.kept)
	}
	c.kept[r] = bytes.Clone(b)
	return b, nil
}
