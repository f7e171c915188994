package log

import (
	"bytes"
	"errors"
	"sync"

	flog "github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"

	"clerestory.dev/clerestory/internal/base/fault"
)

// guard is the log's signer with a memory: it signs a tree head only when the
// writer computed the same root, for the same size, from the outbox rows. A
// signed head can never be taken back, so this is the last place to look.
type guard struct {
	note.Signer

	mu    sync.Mutex
	rng   *compact.Range
	roots map[uint64][]byte // by size: the rows in flight, and those just before
	why   error             // set: nothing is signed any more
}

func newGuard(s note.Signer) *guard {
	return &guard{Signer: s, roots: map[uint64][]byte{}}
}

// allow begins at rng, whose root the writer has established.
func (g *guard) allow(rng *compact.Range) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rng, g.roots = rng, map[uint64][]byte{}
	g.remember()
}

// forgetBefore drops the roots of trees smaller than size.
func (g *guard) forgetBefore(size uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for s := range g.roots {
		if s < size {
			delete(g.roots, s)
		}
	}
}

// expect adds the leaf hash of the entry that is about to be added to the log;
// with compare the tree that ends with it may be signed.
func (g *guard) expect(leaf []byte, compare bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	// The range was made by us and leaves are single: this can not fail.
	if err := g.rng.Append(leaf, nil); err != nil {
		g.why = err
		return
	}
	if compare {
		g.remember()
	}
}

// compare lets the tree that ends with the last expected entry be signed.
func (g *guard) compare() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.remember()
}

func (g *guard) remember() {
	root, err := rootOf(g.rng)
	if err != nil {
		g.why = err
		return
	}
	g.roots[g.rng.End()] = root
}

// shut ends signing for good.
func (g *guard) shut(why error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.why == nil {
		g.why = why
	}
}

// Sign implements note.Signer.
func (g *guard) Sign(text []byte) ([]byte, error) {
	var cp flog.Checkpoint
	rest, err := cp.Unmarshal(text)
	if err != nil || len(rest) != 0 || cp.Origin != g.Name() {
		return nil, fault.Tampered.New("refusing to sign: this is no checkpoint of %s", g.Name())
	}
	g.mu.Lock()
	want, known := g.roots[cp.Size]
	why := g.why
	g.mu.Unlock()
	switch {
	case why != nil:
		return nil, why
	case !known:
		// Between two batches, or before the comparison at the start: asked again
		// within 100 ms.
		return nil, errors.New("not signing a tree of a size that was not compared with the outbox")
	case !bytes.Equal(want, cp.Hash):
		err := fault.Tampered.New("refusing to sign: the tree of %d entries in the log folder is not the one of the outbox", cp.Size)
		g.shut(err)
		return nil, err
	}
	return g.Signer.Sign(text)
}

// broken is the difference that Sign has met, or nil.
func (g *guard) broken() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.why
}

func rootOf(rng *compact.Range) ([]byte, error) {
	if rng.End() == 0 {
		return rfc6962.DefaultHasher.EmptyRoot(), nil
	}
	return rng.GetRootHash(nil)
}
