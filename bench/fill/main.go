// Command fill copies a vendor's folder that clerestory demo made, and says that
// many statements into the copy, signed by the vendor's own keys, until all are
// in witnessed checkpoints.
//
//	go run ./bench/fill BASE COPY 1000000
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"clerestory.dev/clerestory/bench/kit"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/ledger/keyring"
	"clerestory.dev/clerestory/internal/ledger/log"
	"clerestory.dev/clerestory/internal/ledger/witness"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

const batch = 20000

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: fill BASE COPY ENTRIES")
		os.Exit(2)
	}
	base, dir := os.Args[1], os.Args[2]
	total, err := strconv.Atoi(os.Args[3])
	kit.Must(err)
	if _, err := os.Stat(dir); err != nil {
		kit.Must(exec.Command("cp", "-a", base, dir).Run()) // keeps the keys' modes
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	db, err := store.Open(ctx, filepath.Join(dir, "clerestory.db"))
	kit.Must(err)
	defer db.Close()
	pass, err := os.ReadFile(filepath.Join(dir, "passphrase"))
	kit.Must(err)
	ring := &keyring.Ring{Dir: filepath.Join(dir, "keys")}
	unlock := func(name string) *keyring.Key {
		k, err := ring.Unlock(name, []byte(strings.TrimSpace(string(pass))))
		kit.Must(err)
		return k
	}
	say(ctx, db, total, unlock("source"), unlock("builder"))
	drain(ctx, db, dir, unlock("log"))
}

// say fills the outbox in large transactions.
func say(ctx context.Context, db *store.DB, total int, source, builder *keyring.Key) {
	begun := time.Now()
	next, err := db.Next(ctx)
	kit.Must(err)
	for n := int(next); n < total; {
		size := min(batch, total-n)
		all := kit.Statements("fill", n, size, source, builder)
		kit.Must(db.Write(ctx, func(tx *store.Tx) error { return insert(ctx, tx, n, all) }))
		n += size
		if n%100000 < batch {
			fmt.Printf("said %d of %d, %.0fs\n", n, total, time.Since(begun).Seconds())
		}
	}
}

// insert writes the rows that Tx.Say writes, many with one INSERT: one by one, a
// million takes a quarter of an hour.
func insert(ctx context.Context, tx *store.Tx, n int, all []*statement.Envelope) error {
	rows, subjects, signers := table{into: "statement (n, envelope, sha256, kind, said_at)"}, table{into: "statement_subject (n, name, digest)"}, table{into: "statement_signer (n, keyid)"}
	now := time.Now().UnixMilli()
	for i, e := range all {
		raw, err := e.Format()
		if err != nil {
			return err
		}
		s, err := statement.Parse(e.Payload)
		if err != nil {
			return err
		}
		rows.add(n+i, raw, statement.HashOf(raw), s.Kind(), now)
		for _, sub := range s.Subject {
			for _, digest := range sub.Digest {
				subjects.add(n+i, sub.Name, digest)
			}
		}
		signers.add(n+i, e.Signatures[0].KeyID)
	}
	if _, err := tx.ExecContext(ctx, "UPDATE outbox_head SET next = $1 WHERE id = 1 AND next = $2", n+len(all), n); err != nil {
		return err
	}
	return errors.Join(rows.insert(ctx, tx), subjects.insert(ctx, tx), signers.insert(ctx, tx))
}

// table gathers rows for one table.
type table struct {
	into    string
	columns int
	args    []any
}

func (t *table) add(row ...any) {
	t.columns = len(row)
	t.args = append(t.args, row...)
}

func (t *table) insert(ctx context.Context, tx *store.Tx) error {
	one := "(" + strings.TrimSuffix(strings.Repeat("?,", t.columns), ",") + ")"
	for args := range slices.Chunk(t.args, 250*t.columns) {
		query := "INSERT INTO " + t.into + " VALUES " + strings.TrimSuffix(strings.Repeat(one+",", len(args)/t.columns), ",")
		if _, err := tx.ExecContext(ctx, query, args...); err != nil {
			return err
		}
	}
	return nil
}

// drain writes the log until its witnessed checkpoint covers everything.
func drain(ctx context.Context, db *store.DB, dir string, key *keyring.Key) {
	file, err := os.ReadFile(filepath.Join(dir, "trusted_root.json"))
	kit.Must(err)
	trust, err := verify.ParseTrust(file)
	kit.Must(err)
	for _, w := range trust.Policy.Witnesses {
		home := filepath.Join(dir, "witnesses", w.Name)
		k, err := witness.ReadKey(filepath.Join(home, "witness.key"))
		kit.Must(err)
		kit.Serve(ctx, filepath.Join(home, "state"), k, trust.Policy.Log.VKey, strings.TrimPrefix(w.URL, "http://"))
	}
	signer, vkey, err := key.Note(trust.Policy.Log.Origin())
	kit.Must(err)
	begun := time.Now()
	w, err := log.Open(ctx, log.Config{DB: db, Dir: filepath.Join(dir, "log"), Signer: signer, VKey: vkey, Policy: trust.Policy.Text(), Logger: kit.Quiet()})
	kit.Must(err)
	next, err := db.Next(ctx)
	kit.Must(err)
	first := w.Size()
	_, err = w.Wait(ctx, next-1)
	kit.Must(err)
	took := time.Since(begun).Seconds()
	fmt.Printf("drained %d entries in %.0fs, %.0f/s\n", next-first, took, float64(next-first)/took)
	kit.Must(w.Close())
}
