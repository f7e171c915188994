package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

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
