// Package store is the SQL database, with one set of SQL for SQLite and
// PostgreSQL, and the outbox that rooms say their statements to.
//
// It promises: a [DB.Write] that returned nil is durable; everything that one
// Write did, statements included, is there or nothing of it; statements are
// numbered from 0 without gaps in the order in which their transactions commit.
// It refuses a database that a newer version has migrated.
//
// SQL uses $1, $2, … for parameters, TEXT, BIGINT (times are Unix milliseconds)
// and BYTEA; both databases take these as they are.
//
// Start at [Open]; rooms use [DB.Write], [DB.Query] and [Tx.Say].
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"strings"

	_ "github.com/lib/pq" // driver "postgres"
	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // driver "sqlite"

	"clerestory.dev/clerestory/internal/base/crash"
	"clerestory.dev/clerestory/internal/base/fault"
)

//go:embed migrations/*.sql
var migrations embed.FS

// DB is an open database. Its methods may be called concurrently.
type DB struct {
	read    *sql.DB
	write   *sql.DB
	dialect goose.Dialect
	group   *group // SQLite only: commits several writes with one fsync
	said    chan struct{}
	file    string // SQLite only: absolute
}

// Open opens and migrates a database: a file name for SQLite (made when it is
// missing), or a postgres:// URL.
func Open(ctx context.Context, dsn string) (*DB, error) {
	d := &DB{said: make(chan struct{}, 1)}
	var err error
	if strings.HasPrefix(dsn, "postgres://") {
		err = d.openPostgres(dsn)
	} else {
		err = d.openSQLite(dsn)
	}
	if err != nil {
		return nil, err
	}
	if err := d.migrate(ctx); err != nil {
		d.Close()
		return nil, err
	}
	if d.dialect == goose.DialectSQLite3 {
		d.group = newGroup(d.write)
	}
	return d, nil
}

func (d *DB) openPostgres(dsn string) (err error) {
	d.dialect = goose.DialectPostgres
	if d.write, err = sql.Open("postgres", dsn); err != nil {
		return fault.Invalid.New("opening the PostgreSQL database: %w", err)
	}
	d.write.SetMaxOpenConns(24)
	d.write.SetMaxIdleConns(24)
	d.read = d.write
	return nil
}

func (d *DB) openSQLite(file string) (err error) {
	d.dialect = goose.DialectSQLite3
	abs, err := filepath.Abs(file)
	if err != nil {
		return fmt.Errorf("finding the database file: %w", err)
	}
	// synchronous=FULL: an acknowledged statement survives a power cut.
	// temp_store: savepoints keep the pages that they might restore in memory.
	// secure_delete: a deleted salt or wrapped key is really gone from the file.
	d.file = abs
	pragmas := []string{"busy_timeout(15000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "secure_delete(1)", "cache_size(-16000)", "temp_store(MEMORY)"}
	open := func(extra ...string) (*sql.DB, error) {
		q := url.Values{"_pragma": append(pragmas, extra...), "_txlock": {"immediate"}}
		return sql.Open("sqlite", (&url.URL{Scheme: "file", Path: abs, RawQuery: q.Encode()}).String())
	}
	if d.write, err = open(); err != nil {
		return fmt.Errorf("opening the database: %w", err)
	}
	d.write.SetMaxOpenConns(1)
	if d.read, err = open("query_only(1)"); err != nil {
		return fmt.Errorf("opening the database: %w", err)
	}
	d.read.SetMaxOpenConns(8)
	d.read.SetMaxIdleConns(8)
	if err := d.write.Ping(); err != nil {
		return fault.Unavailable.New("opening the database %s: %w", abs, err)
	}
	return nil
}

func (d *DB) migrate(ctx context.Context) error {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("reading the embedded migrations: %w", err)
	}
	p, err := goose.NewProvider(d.dialect, d.write, sub)
	if err != nil {
		return fmt.Errorf("reading the embedded migrations: %w", err)
	}
	current, err := p.GetDBVersion(ctx)
	if err != nil {
		return fault.Unavailable.New("reading the database's version: %w", err)
	}
	sources := p.ListSources()
	if newest := sources[len(sources)-1].Version; current > newest {
		return fault.Stale.New("the database is at version %d, but this program knows versions up to %d: run the newer clerestory that wrote it", current, newest)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrating the database: %w", err)
	}
	return nil
}

// Close waits for the writes under way and closes the database.
func (d *DB) Close() error {
	if d.group != nil {
		d.group.close()
	}
	errRead := d.read.Close()
	if d.write == d.read {
		return errRead
	}
	return errors.Join(errRead, d.write.Close())
}

// Said receives after statements were committed by this process. One receiver:
// the ledger's drainer. It is a hint; polling finds what other processes said.
func (d *DB) Said() <-chan struct{} { return d.said }

// Tx is a write transaction.
type Tx struct {
	*sql.Tx
	said     bool
	prepared *prepared // SQLite only
}

// Write runs do in a transaction and returns nil only when it is durable. When
// do returns an error nothing of it remains, and the error is returned as it is.
// do must use tx for every statement, must not wait for other writers, and may
// run together with others' in one SQL transaction, each under a savepoint.
func (d *DB) Write(ctx context.Context, do func(tx *Tx) error) error {
	var said bool
	var err error
	if d.group != nil {
		said, err = d.group.submit(ctx, do)
	} else {
		said, err = d.commitOne(ctx, do)
	}
	if err == nil && said {
		select {
		case d.said <- struct{}{}:
		default:
		}
	}
	return err
}

func (d *DB) commitOne(ctx context.Context, do func(tx *Tx) error) (said bool, err error) {
	sqltx, err := d.write.BeginTx(ctx, nil)
	if err != nil {
		return false, fault.Unavailable.New("starting a transaction: %w", err)
	}
	defer sqltx.Rollback() // after a commit this does nothing
	tx := &Tx{Tx: sqltx}
	if err := do(tx); err != nil {
		return false, err
	}
	crash.Point("store.before-commit")
	if err := sqltx.Commit(); err != nil {
		return false, fault.Unavailable.New("committing: %w", err)
	}
	crash.Point("store.committed")
	return tx.said, nil
}

// Query reads rows; the caller closes them.
func (d *DB) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return d.read.QueryContext(ctx, query, args...)
}

// QueryRow reads one row.
func (d *DB) QueryRow(ctx context.Context, query string, args ...any) *sql.Row {
	return d.read.QueryRowContext(ctx, query, args...)
}

// BackupTo writes a consistent copy of a SQLite database to file while others
// write. PostgreSQL has tools of its own for that.
func (d *DB) BackupTo(ctx context.Context, file string) error {
	if d.dialect != goose.DialectSQLite3 {
		return fault.Invalid.New("backing up the database: use pg_dump for PostgreSQL")
	}
	// A connection of its own: the writer's would stop every write meanwhile, and
	// the readers' refuse to write at all.
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: d.file, RawQuery: "_pragma=busy_timeout(15000)"}).String())
	if err != nil {
		return fmt.Errorf("opening the database to copy it: %w", err)
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, "VACUUM INTO $1", file); err != nil {
		return fmt.Errorf("copying the database to %s: %w", file, err)
	}
	return nil
}
