package log

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
)

// advisoryKey is the ledger's lock within a PostgreSQL database ("clerstry").
const advisoryKey = 0x636c657273747279

// locks keeps every other writer away: from the folder, and from the outbox. The
// second matters when somebody starts a second server with a folder of its own:
// two folders fed by one outbox would be two logs under one key.
type locks struct {
	files []*os.File
	once  sync.Once
	end   func()
	lost  chan error // receives when the database no longer holds its lock
}

func lockAll(ctx context.Context, db *store.DB, dir string) (*locks, error) {
	l := &locks{lost: make(chan error, 1), end: func() {}}
	// Inside the folder, so that another name for it (a link, a mount) meets the
	// same lock. ".state" is the library's own private folder, and is not served.
	if err := os.MkdirAll(filepath.Join(dir, stateDir), 0o755); err != nil {
		return nil, fault.Unavailable.New("making the log folder: %w", err)
	}
	if err := l.lockFile(filepath.Join(dir, stateDir, "writer.lock"), "the log folder "+dir); err != nil {
		return nil, err
	}
	var file string
	err := db.QueryRow(ctx, "SELECT file FROM pragma_database_list WHERE name = 'main'").Scan(&file)
	if err == nil {
		err = l.lockFile(file+".ledger-lock", "the database "+file)
	} else {
		err = l.lockPostgres(ctx, db)
	}
	if err != nil {
		l.release()
		return nil, err
	}
	return l, nil
}

func (l *locks) lockFile(name, what string) error {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return fault.Unavailable.New("locking %s: %w", what, err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		pid, _ := io.ReadAll(io.LimitReader(f, 32))
		f.Close()
		return fault.Conflict.New("process %s is writing the log to %s: stop it first, or start this one without the ledger writer", orUnknown(string(pid)), what)
	}
	if err != nil {
		f.Close()
		return fault.Unavailable.New("locking %s: %w", what, err)
	}
	// The pid is for people; the lock itself ends with the process.
	if err := f.Truncate(0); err == nil {
		fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	l.files = append(l.files, f)
	return nil
}

// lockPostgres holds an advisory lock in a transaction that stays open, on a
// connection of its own, for as long as the writer lives. It asks the server
// every second, so that a lost connection (and with it the lock) is noticed.
func (l *locks) lockPostgres(ctx context.Context, db *store.DB) error {
	taken := make(chan error, 1)
	quit := make(chan struct{})
	gone := make(chan struct{})
	released := errors.New("released")
	held := false
	hold := func(tx *store.Tx) error {
		var ok bool
		if err := tx.QueryRowContext(ctx, "SELECT pg_try_advisory_xact_lock($1)", int64(advisoryKey)).Scan(&ok); err != nil {
			return err
		}
		if !ok {
			var backend int64
			tx.QueryRowContext(ctx, "SELECT coalesce(max(pid), 0) FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid::bigint = $1 AND objid::bigint = $2",
				int64(advisoryKey>>32), int64(advisoryKey&0xffffffff)).Scan(&backend)
			return fault.Conflict.New("another process writes this database's log (PostgreSQL backend %d): stop it first, or start this one without the ledger writer", backend)
		}
		held = true
		taken <- nil
		for tick := time.NewTicker(time.Second); ; {
			select {
			case <-quit:
				tick.Stop()
				return released
			case <-tick.C:
				if _, err := tx.ExecContext(context.Background(), "SELECT 1"); err != nil {
					return err
				}
			}
		}
	}
	go func() {
		defer close(gone)
		err := db.Write(context.Background(), hold)
		switch {
		case !held:
			taken <- err
		case !errors.Is(err, released):
			l.lost <- fault.Unavailable.New("the database connection that holds the ledger's lock was lost: %w", err)
		}
	}()
	if err := <-taken; err != nil {
		return fmt.Errorf("locking the ledger: %w", err)
	}
	l.end = func() { close(quit); <-gone }
	return nil
}

func (l *locks) release() {
	l.once.Do(func() {
		l.end()
		for _, f := range l.files {
			f.Close()
		}
	})
}

func orUnknown(pid string) string {
	if pid = strings.TrimSpace(pid); pid == "" {
		return "(unknown)"
	}
	return pid
}
