package logread

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"clerestory.dev/clerestory/internal/base/atomicfile"
	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/ledger/tile"
	"clerestory.dev/clerestory/verify"
)

// Memory is a folder that keeps, per log, the newest checkpoint that this
// machine has checked: without it a log could show it a different past each time.
type Memory string

// Fork is the evidence of a log that showed two states that can not both be
// true. Both are signed by its key. errors.As finds it in a Tampered error.
type Fork struct {
	Older, Newer []byte // checkpoints as they came
	File         string // where both are kept
	Why          error
}

// Error implements error.
func (f *Fork) Error() string {
	s := "the log contradicts what it showed before: " + f.Why.Error()
	if f.File != "" {
		s += "; both checkpoints are kept in " + f.File
	}
	return s
}

// Unwrap gives the refusal.
func (f *Fork) Unwrap() error { return f.Why }

func (m Memory) file(p *verify.Policy) string {
	sum := sha256.Sum256([]byte(p.Log.VKey))
	return filepath.Join(string(m), fmt.Sprintf("%x.checkpoint", sum[:12]))
}

// Last is the checkpoint that was remembered for the policy's log; nil if none,
// or if there is no memory. It was believed when it was written; now only the
// log's own signature is looked at, because witnesses may have changed.
func (m Memory) Last(p *verify.Policy) (*verify.Checkpoint, error) {
	if m == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(m.file(p))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.Unavailable.New("reading what was seen of the log: %w", err)
	}
	c, err := openBare(raw, p)
	if err != nil {
		return nil, fault.Tampered.New("the remembered checkpoint %s is damaged: %w", m.file(p), err)
	}
	return c, nil
}

// openBare checks the log's own signature only.
func openBare(raw []byte, p *verify.Policy) (*verify.Checkpoint, error) {
	bare, err := verify.ParsePolicy([]byte("log " + p.Log.VKey + "\nquorum none\n"))
	if err != nil {
		return nil, err
	}
	return bare.Open(raw)
}

// keep remembers c, unless a larger one was remembered meanwhile.
func (m Memory) keep(p *verify.Policy, c *verify.Checkpoint) error {
	if m == "" {
		return nil
	}
	if last, err := m.Last(p); err != nil || last != nil && last.Size > c.Size {
		return err
	}
	return put(m.file(p), c.Raw)
}

// fork keeps the evidence and makes the error. The file's name comes from its
// content, so the same fork met again is the same file.
func (m Memory) fork(older, newer *verify.Checkpoint, why error) error {
	f := &Fork{Older: older.Raw, Newer: newer.Raw, Why: why}
	text := fmt.Appendf(nil, "%v\n\n--- shown before\n%s\n--- shown now\n%s", why, older.Raw, newer.Raw)
	if m != "" {
		sum := sha256.Sum256(text)
		name := filepath.Join(string(m), fmt.Sprintf("fork-%x.txt", sum[:8]))
		if err := put(name, text); err != nil {
			f.Why = errors.Join(why, err)
		} else {
			f.File = name
		}
	}
	return fault.Tampered.New("%w", f)
}

// continues checks that newer, read from src, continues older (nil: nothing was
// seen). A contradiction becomes evidence.
func (m Memory) continues(ctx context.Context, src tile.Source, older, newer *verify.Checkpoint) error {
	if older == nil {
		return nil
	}
	err := tile.CheckGrowth(ctx, src, older, newer)
	if verify.CodeOf(err) == verify.CodeFork {
		return m.fork(older, newer, err)
	}
	return missing(err, newer)
}

// put writes a file so that a crash leaves the old content or the new one.
func put(name string, b []byte) error {
	dir := filepath.Dir(name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fault.Unavailable.New("making the folder %s: %w", dir, err)
	}
	if err := atomicfile.Write(name, b, 0o644); err != nil {
		return fault.Unavailable.New("%w", err)
	}
	return nil
}
