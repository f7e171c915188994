package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
)

// Sweep removes the files of earlier states once their grace is over, and tells
// how many. Roots stay for ever: an old client follows them one by one.
func (s *Service) Sweep(ctx context.Context) (int, error) {
	unlock, err := s.lock()
	if err != nil {
		return 0, err
	}
	defer unlock()
	if err := s.removeHalf(); err != nil {
		return 0, err
	}
	before, err := s.published(ctx)
	if err != nil {
		return 0, err
	}
	used := paths(before)
	old, err := s.stale(ctx)
	if err != nil {
		return 0, err
	}
	removed := 0
	for _, name := range old {
		if !used[name] {
			if err := s.remove(name); err != nil {
				return removed, err
			}
			removed++
		}
		err := s.DB.Write(ctx, func(tx *store.Tx) error {
			_, err := tx.ExecContext(ctx, "DELETE FROM repository_stale WHERE path = $1", name)
			return err
		})
		if err != nil {
			return removed, fmt.Errorf("sweeping the repository: %w", err)
		}
	}
	return removed, nil
}

// stale lists files whose grace is over.
func (s *Service) stale(ctx context.Context) ([]string, error) {
	since := s.now().Add(-s.Policy.filled().Grace).UnixMilli()
	rows, err := s.DB.Query(ctx, "SELECT path FROM repository_stale WHERE since <= $1 ORDER BY path LIMIT 10000", since)
	if err != nil {
		return nil, fmt.Errorf("sweeping the repository: %w", err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, fmt.Errorf("sweeping the repository: %w", err)
		}
		all = append(all, name)
	}
	return all, rows.Err()
}

// remove takes a file away, and the folders of targets that it leaves empty.
func (s *Service) remove(name string) error {
	if err := os.Remove(s.file(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.Unavailable.New("sweeping the repository: %w", err)
	}
	for dir := path.Dir(name); path.Dir(dir) != "."; dir = path.Dir(dir) {
		if os.Remove(s.file(filepath.FromSlash(dir))) != nil {
			break // not empty
		}
	}
	return nil
}

// removeHalf removes what killed writers left: files that never got their names.
// Whoever holds the lock is the only writer.
func (s *Service) removeHalf() error {
	err := filepath.WalkDir(s.Dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(d.Name(), ".new-") && d.Type().IsRegular() {
			err = os.Remove(name)
		}
		return err
	})
	if err != nil {
		return fault.Unavailable.New("sweeping the repository: %w", err)
	}
	return nil
}

// Keep renews and sweeps until ctx ends, at once and then as often as it is told:
// an hour is often enough for the default policy. What goes wrong is reported and
// tried again. It is for a server that has the online key.
func (s *Service) Keep(ctx context.Context, every time.Duration, report func(error)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		_, err := s.Renew(ctx)
		if err == nil {
			_, err = s.Sweep(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			report(fmt.Errorf("keeping the update repository: %w", err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
