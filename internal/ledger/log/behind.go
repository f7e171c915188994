package log

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/ledger/tile"
)

// CheckBehind refuses (Stale) a database that is older than its log. A process
// that does not write the log itself asks this before it says anything: what an
// older database says would get the number of another statement that the log
// holds already, and [Adopt] could not repair that any more.
func CheckBehind(ctx context.Context, db *store.DB, dir, vkey string) error {
	size, err := heldSize(ctx, dir, vkey) // before the outbox: the log only follows it
	if err != nil {
		return fmt.Errorf("comparing the log in %s with the database: %w", dir, err)
	}
	next, err := db.Next(ctx)
	if err != nil {
		return err
	}
	if size > next {
		return fault.Stale.New("the log has %d entries, but the database only %d (an older backup): run `clerestory log adopt` first, to take the missing ones over from the log", size, next)
	}
	return nil
}

// heldSize is how many entries the folder has: what is published, or what the
// writer has added beyond it. A folder without a log has none.
func heldSize(ctx context.Context, dir, vkey string) (int64, error) {
	var state treeState
	b, err := os.ReadFile(filepath.Join(dir, stateDir, stateFile))
	if err == nil {
		err = json.Unmarshal(b, &state)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, fault.Unavailable.New("reading the writer's state: %w", err)
	}
	raw, err := tile.Dir(dir).Checkpoint(ctx)
	if errors.Is(err, fault.NotFound) {
		return int64(state.Size), nil
	}
	if err != nil {
		return 0, err
	}
	policy, err := parsePolicy(Config{VKey: vkey, UnsafeNoWitnesses: true})
	if err != nil {
		return 0, err
	}
	head, err := policy.bare.Open(raw)
	if err != nil {
		return 0, fault.Tampered.New("%w", err)
	}
	return max(int64(state.Size), head.Size), nil
}
