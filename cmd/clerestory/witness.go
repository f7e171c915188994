package main

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/ledger/witness"
)

type witnessCmd struct {
	Folder string   `arg:"" type:"path" help:"The witness's own folder: its key, and the last checkpoint of each log. Never restore an old copy of it."`
	Name   string   `help:"The witness's name, needed the first time, such as witness.example.org."`
	Log    []string `sep:"none" help:"A log to cosign, as its vkey; repeat it."`
	Listen string   `default:"127.0.0.1:8701" help:"Address to listen on."`
	Stdin  bool     `name:"until-stdin-closes" hidden:"" help:"End when standard input closes: for whoever starts witnesses as children."`
	VKey   bool     `name:"vkey" help:"Only print the witness's verifier key, and make the key when there is none."`
}

// Run serves until it is stopped.
func (c *witnessCmd) Run(ctx context.Context, t *terminal) error {
	key, err := c.key()
	if err != nil {
		return err
	}
	if c.VKey {
		t.printf("%s\n", key.VKey())
		return nil
	}
	if len(c.Log) == 0 {
		return fault.Invalid.New("name at least one log with --log vkey; its operator gives it to you (trusted_root.json has it)")
	}
	w, err := witness.New(witness.Config{Dir: filepath.Join(c.Folder, "state"), Key: key, Logs: c.Log, Clock: time.Now, Logger: slog.New(slog.NewTextHandler(t.err, nil))})
	if err != nil {
		return err
	}
	defer w.Close()
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fault.Unavailable.New("listening on %s: %w", c.Listen, err)
	}
	if c.Stdin {
		var stop context.CancelFunc
		ctx, stop = context.WithCancel(ctx)
		go func() {
			io.Copy(io.Discard, t.in)
			stop()
		}()
	}
	t.printf("witness %s listens on http://%s\n%s\n", key.Name(), l.Addr(), key.VKey())
	return witness.Serve(ctx, l, w.Handler())
}

func (c *witnessCmd) key() (*witness.Key, error) {
	file := filepath.Join(c.Folder, "witness.key")
	if exists(file) {
		return witness.ReadKey(file)
	}
	if c.Name == "" {
		return nil, fault.Invalid.New("%s has no key yet: name the new witness with --name", c.Folder)
	}
	if err := os.MkdirAll(c.Folder, 0o700); err != nil {
		return nil, fault.Unavailable.New("making the witness's folder: %w", err)
	}
	return witness.MakeKey(file, c.Name, rand.Reader)
}
