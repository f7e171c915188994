package log

import (
	"bytes"
	"context"
	"errors"
	"time"

	"clerestory.dev/clerestory/internal/base/crash"
	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/verify"
)

// published is what the world can see.
type published struct {
	size     int64
	raw      []byte
	at       time.Time
	cosigned []string
}

// Status is the writer's health, for pages, metrics and /readyz.
type Status struct {
	Size       int64     // entries in the tree
	Published  int64     // entries that the checkpoint covers
	Checkpoint []byte    // as published; nil before the first
	At         time.Time // when it was seen published, by our clock
	Pending    int64     // statements said but not published
	Cosigned   []string  // names of the witnesses that cosigned the checkpoint
	Witnesses  []WitnessStatus
	// Stopped: nothing is written until a restart; Err says why. Without Stopped,
	// Err is what fails now and is tried again.
	Stopped bool
	Err     error
}

// Status says how the log is. Without an answer from the database, Pending is -1.
func (w *Writer) Status(ctx context.Context) Status {
	next, errNext := w.cfg.DB.Next(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	s := Status{
		Size: w.size, Published: w.published.size, Checkpoint: bytes.Clone(w.published.raw), At: w.published.at,
		Cosigned: w.published.cosigned, Witnesses: w.asked.status(), Stopped: w.stopped != nil, Err: w.stopped,
	}
	s.Pending = next - s.Published
	if errNext != nil {
		s.Pending = -1
	}
	if s.Err == nil {
		s.Err = errors.Join(w.trouble, w.unseen, errNext)
	}
	if s.Err == nil && s.Size > s.Published {
		s.Err = w.asked.failing()
	}
	return s
}

// Size is the number of entries in the tree.
func (w *Writer) Size() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.size
}

// Wait returns the first published, witnessed checkpoint that it sees to cover
// statement n. When the wait ends early the statement is as safe as before: it
// is in the outbox, and nothing needs to be said again.
func (w *Writer) Wait(ctx context.Context, n int64) (checkpoint []byte, err error) {
	for {
		w.mu.Lock()
		p, stopped, changed := w.published, w.stopped, w.changed
		w.mu.Unlock()
		if p.raw != nil && p.size > n {
			return bytes.Clone(p.raw), nil
		}
		if stopped != nil {
			return nil, stopped
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fault.Unavailable.New("statement %d is not in a published checkpoint yet: %w", n, ctx.Err())
		}
	}
}

// watch sees what is published. The library publishes on its own; the file is
// what readers get, so the file is what waiters are told of.
func (w *Writer) watch(ctx context.Context) {
	const eager, calm = 15 * time.Millisecond, 250 * time.Millisecond
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		raw, err := w.files.Checkpoint(ctx)
		if err == nil {
			err = w.note(raw)
		}
		if errors.Is(err, fault.NotFound) {
			err = nil // a new log, before its first checkpoint
		}
		w.unpublished(err)
		w.mu.Lock()
		waiting := w.published.size < w.size || w.published.raw == nil
		w.mu.Unlock()
		if waiting {
			timer.Reset(eager)
		} else {
			timer.Reset(calm)
		}
	}
}

// note takes in a checkpoint file, if it is new, ours and sufficiently witnessed.
func (w *Writer) note(raw []byte) error {
	w.mu.Lock()
	known := bytes.Equal(raw, w.published.raw)
	before := w.published.size
	w.mu.Unlock()
	if known {
		return nil
	}
	cp, err := w.policy.Open(raw)
	if verify.CodeOf(err) == verify.CodeQuorum {
		// Published under an earlier policy; it is being renewed (see readHead).
		return fault.Unavailable.New("the published checkpoint waits for the witnesses of the present policy: %w", err)
	}
	if err != nil {
		return fault.Tampered.New("the published checkpoint: %w", err)
	}
	if cp.Size < before {
		return fault.Tampered.New("the published checkpoint went back from size %d to %d", before, cp.Size)
	}
	crash.Point("log.published")
	w.mu.Lock()
	defer w.mu.Unlock()
	w.published = published{size: cp.Size, raw: raw, at: w.cfg.Clock(), cosigned: witnessNames(cp)}
	w.announce()
	return nil
}

// stop ends writing for good, and tells everybody who waits.
func (w *Writer) stop(err error) {
	w.guard.shut(err)
	w.endTessera()
	w.cfg.Logger.Error("the log is not written any more", "error", err, "folder", w.cfg.Dir)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = err
	w.announce()
}

func (w *Writer) troubled(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil && w.trouble == nil {
		w.cfg.Logger.Warn("reading the outbox; trying again", "error", err)
	}
	w.trouble = err
}

// unpublished keeps what is wrong with the checkpoint file.
func (w *Writer) unpublished(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil && (w.unseen == nil || w.unseen.Error() != err.Error()) {
		w.cfg.Logger.Error("reading the published checkpoint", "error", err)
	}
	w.unseen = err
}

func (w *Writer) announce() {
	close(w.changed)
	w.changed = make(chan struct{})
}
