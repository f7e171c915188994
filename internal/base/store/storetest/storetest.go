// Package storetest gives tests an empty database of every kind that the store
// speaks, so that a room's suite runs on each: SQLite in a temporary folder, and
// PostgreSQL (Debian's server, started once per test binary on a private Unix
// socket, without a network port).
//
// Where PostgreSQL is not installed the PostgreSQL half is skipped, unless
// CLERESTORY_TEST_ALL=1, as make test sets it: then its absence is a failure.
package storetest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"clerestory.dev/clerestory/internal/base/store"
)

// Each runs a test on an empty SQLite and an empty PostgreSQL database. dsn
// opens the same database again, as a restarted program would.
func Each(t *testing.T, run func(t *testing.T, dsn string)) {
	t.Run("sqlite", func(t *testing.T) { run(t, filepath.Join(t.TempDir(), "clerestory.db")) })
	t.Run("postgres", func(t *testing.T) { run(t, Postgres(t)) })
}

// Open opens a database and closes it when the test ends.
func Open(t testing.TB, dsn string) *store.DB {
	t.Helper()
	db, err := store.Open(context.Background(), dsn)
	if err != nil {
		t.Fatalf("opening the test database: %v", err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// Postgres returns the URL of a new, empty PostgreSQL database.
func Postgres(t testing.TB) string {
	t.Helper()
	socket, err := server()
	if err != nil {
		if os.Getenv("CLERESTORY_TEST_ALL") != "" {
			t.Fatalf("PostgreSQL: %v", err)
		}
		t.Skipf("PostgreSQL is not here (apt-get install postgresql): %v", err)
	}
	name := fmt.Sprintf("t%d", databases.Add(1))
	if out, err := exec.Command("psql", "-h", socket, "-U", "clerestory", "-d", "postgres", "-qc", "CREATE DATABASE "+name).CombinedOutput(); err != nil {
		t.Fatalf("making a test database: %v: %s", err, out)
	}
	return fmt.Sprintf("postgres:///%s?host=%s&user=clerestory&sslmode=disable", name, socket)
}

var databases atomic.Int64

// server starts the one PostgreSQL server of this test binary. It dies with the
// test process (Pdeathsig), and its folder is in the system's temporary folder.
var server = sync.OnceValues(func() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) == 0 {
		return "", fmt.Errorf("no /usr/lib/postgresql/*/bin/postgres")
	}
	bin := filepath.Dir(found[len(found)-1])
	dir, err := os.MkdirTemp("", "clerestory-pg-")
	if err != nil {
		return "", err
	}
	cred, err := unprivileged(dir)
	if err != nil {
		return "", err
	}
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "clerestory", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C")
	initdb.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	initdb.Dir = dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return "", fmt.Errorf("initdb: %v: %s", err, out)
	}
	srv := exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=200")
	srv.SysProcAttr = &syscall.SysProcAttr{Credential: cred, Pdeathsig: syscall.SIGQUIT}
	srv.Dir = dir
	started := make(chan error, 1)
	// Pdeathsig fires when the thread that started the child ends: keep it.
	go func() { lockThreadAndStart(srv, started) }()
	if err := <-started; err != nil {
		return "", fmt.Errorf("starting PostgreSQL: %w", err)
	}
	for range 200 {
		out, err := exec.Command("psql", "-h", dir, "-U", "clerestory", "-d", "postgres", "-Atqc", "SELECT 1").CombinedOutput()
		if err == nil && strings.TrimSpace(string(out)) == "1" {
			return dir, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return "", fmt.Errorf("the server did not answer within 10 s")
})
