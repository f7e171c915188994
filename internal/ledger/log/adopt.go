package log

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"

	"clerestory.dev/clerestory/internal/base/atomicfile"
	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/ledger/tile"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// AdoptConfig says which log a database takes its missing statements from.
type AdoptConfig struct {
	DB     *store.DB
	Dir    string // the log folder, or a mirror of it put in its place
	VKey   string
	Policy string // may be empty: what the log's key has signed is adopted anyway
	// Clock gives the time of statements that do not say when they were made;
	// nil means time.Now.
	Clock func() time.Time
	// Progress hears how many of how many entries are done; it may be nil.
	Progress func(done, of int64)
}

// Adopt repairs a database that is older than its log (a restored backup), and a
// log folder that lost the writer's private state (a mirror): it recomputes the
// log's root from every entry, compares the entries that the database has, and
// takes the others over, in order. It overwrites nothing and can be interrupted:
// the next run goes on where this one was. It returns how many it took over.
func Adopt(ctx context.Context, cfg AdoptConfig) (adopted int64, err error) {
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	policy, err := parsePolicy(Config{VKey: cfg.VKey, Policy: cfg.Policy, UnsafeNoWitnesses: true})
	if err != nil {
		return 0, err
	}
	if _, err := os.Stat(filepath.Join(cfg.Dir, "checkpoint")); err != nil {
		return 0, fault.NotFound.New("adopting a log: %s has no checkpoint: %w", cfg.Dir, err)
	}
	locks, err := lockAll(ctx, cfg.DB, cfg.Dir)
	if err != nil {
		return 0, err
	}
	defer locks.release()
	head, state, err := trees(ctx, cfg.Dir, policy)
	if err != nil {
		return 0, fmt.Errorf("adopting the log in %s: %w", cfg.Dir, err)
	}
	next, err := cfg.DB.Next(ctx)
	if err != nil {
		return 0, err
	}
	// Nothing is taken over before all of it is known to be what was signed.
	if err := proveFolder(ctx, cfg, head, state, next); err != nil {
		return 0, fmt.Errorf("adopting the log in %s: %w", cfg.Dir, err)
	}
	for n := next; n < state.Size; {
		took, err := adoptBundle(ctx, cfg, n, state.Size)
		if err != nil {
			return n - next, fmt.Errorf("adopting entries from %d on: %w", n, err)
		}
		n += took
		cfg.progress(state.Size+n, 2*state.Size)
	}
	if err := writeState(cfg.Dir, state); err != nil {
		return state.Size - next, err
	}
	return max(0, state.Size-next), nil
}

func (cfg AdoptConfig) progress(done, of int64) {
	if cfg.Progress != nil {
		cfg.Progress(done, of)
	}
}

// treeState is how the library keeps the size and root of its tree, which may be
// ahead of the published checkpoint (tessera 1.0.4, storage/posix/files.go).
type treeState struct {
	Size uint64 `json:"size"`
	Root []byte `json:"root"`
}

// trees reads the folder's published head, and its integrated tree: the one that
// is to be adopted. Without state, or with an older one, that is the head itself.
func trees(ctx context.Context, dir string, p witnessPolicy) (head, state *verify.Checkpoint, err error) {
	raw, err := tile.Dir(dir).Checkpoint(ctx)
	if err != nil {
		return nil, nil, err
	}
	if head, err = p.bare.Open(raw); err != nil {
		return nil, nil, fault.Tampered.New("%w", err)
	}
	b, err := os.ReadFile(filepath.Join(dir, stateDir, stateFile))
	if errors.Is(err, os.ErrNotExist) {
		return head, head, nil
	}
	if err != nil {
		return nil, nil, fault.Unavailable.New("reading the writer's state: %w", err)
	}
	var s treeState
	if err := json.Unmarshal(b, &s); err != nil || len(s.Root) != len(head.Root) {
		return nil, nil, fault.Tampered.New("the writer's state %s/%s is damaged: remove it to adopt the published log", stateDir, stateFile)
	}
	if int64(s.Size) <= head.Size {
		return head, head, nil
	}
	state = &verify.Checkpoint{Origin: head.Origin, Size: int64(s.Size)}
	copy(state.Root[:], s.Root)
	return head, state, nil
}

// proveFolder recomputes the roots of both trees from every entry, and compares
// the entries that the database has already.
func proveFolder(ctx context.Context, cfg AdoptConfig, head, state *verify.Checkpoint, next int64) error {
	files := tile.Dir(cfg.Dir)
	rng := compactEmpty()
	for ref := range tile.Bundles(0, state.Size) {
		if err := ctx.Err(); err != nil {
			return fault.Unavailable.New("interrupted: %w", err)
		}
		entries, err := tile.ReadEntries(ctx, files, ref)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := rng.Append(rfc6962.DefaultHasher.HashLeaf(e), nil); err != nil {
				return fmt.Errorf("computing the root: %w", err)
			}
			if err := sameRoot(rng, head); err != nil {
				return err
			}
		}
		cfg.progress(int64(rng.End()), 2*state.Size)
	}
	if err := sameRoot(rng, state); err != nil {
		return err
	}
	if err := checkEdge(ctx, files, rng); err != nil {
		return err
	}
	return compareEntries(ctx, files, cfg.DB, 0, min(next, state.Size), state.Size)
}

// sameRoot compares the roots when the computed tree has the size of want.
func sameRoot(rng *compact.Range, want *verify.Checkpoint) error {
	if int64(rng.End()) != want.Size {
		return nil
	}
	root, err := rootOf(rng)
	if err != nil {
		return fmt.Errorf("computing the root: %w", err)
	}
	if !bytes.Equal(root, want.Root[:]) {
		return fault.Tampered.New("the entries do not lead to the root of the tree with %d entries", want.Size)
	}
	return nil
}

// adoptBundle takes over the rest of the bundle that holds entry n, in one
// transaction.
func adoptBundle(ctx context.Context, cfg AdoptConfig, n, size int64) (int64, error) {
	entries, err := tile.ReadEntries(ctx, tile.Dir(cfg.Dir), tile.BundleOf(n, size))
	if err != nil {
		return 0, err
	}
	entries = entries[n%tile.Width:]
	err = cfg.DB.Write(ctx, func(tx *store.Tx) error {
		for i, e := range entries {
			if err := tx.Adopt(ctx, n+int64(i), e, saidAt(e, cfg.Clock)); err != nil {
				return err
			}
		}
		return nil
	})
	return int64(len(entries)), err
}

// saidAt is the time that the statement itself gives, which most kinds do.
func saidAt(envelope []byte, clock func() time.Time) time.Time {
	var body struct {
		At string `json:"at"`
	}
	if e, err := statement.ParseEnvelope(envelope); err == nil {
		if s, err := statement.Parse(e.Payload); err == nil {
			json.Unmarshal(s.Predicate, &body) // without "at" the clock answers
		}
	}
	if at, err := time.Parse(time.RFC3339, body.At); err == nil {
		return at
	}
	return clock()
}

// writeState gives the library the tree that was adopted. A crash leaves the old
// state or the new one.
func writeState(dir string, c *verify.Checkpoint) error {
	raw, err := json.Marshal(treeState{uint64(c.Size), c.Root[:]})
	if err != nil {
		return fmt.Errorf("encoding the writer's state: %w", err)
	}
	name := filepath.Join(dir, stateDir, stateFile)
	if have, err := os.ReadFile(name); err == nil && bytes.Equal(have, raw) {
		return nil
	}
	if err := atomicfile.Write(name, raw, 0o644); err != nil {
		return fault.Unavailable.New("writing the writer's state: %w", err)
	}
	return nil
}
