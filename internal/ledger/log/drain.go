package log

import (
	"context"
	"time"

	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera"

	"clerestory.dev/clerestory/internal/base/crash"
	"clerestory.dev/clerestory/internal/base/fault"
)

// addTimeout is when a disk that does not answer counts as gone.
const addTimeout = 60 * time.Second

// fewRows is how many rows at once do not count as a backlog.
const fewRows = 16

// drain is the one goroutine that adds: order in, order out.
func (w *Writer) drain(ctx context.Context) {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		more, err := w.drainOnce(ctx)
		if err != nil {
			w.stop(err)
			return
		}
		if more {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case err := <-w.locks.lost:
			w.stop(err)
			return
		case <-w.cfg.DB.Said():
		case <-tick.C:
			if err := w.guard.broken(); err != nil {
				w.stop(err)
				return
			}
		}
	}
}

// drainOnce adds the next rows, and says whether there may be more. An error
// ends the writer; a database that does not answer does not.
func (w *Writer) drainOnce(ctx context.Context) (more bool, err error) {
	if ctx.Err() != nil {
		return false, nil
	}
	select {
	case err := <-w.locks.lost:
		return false, err
	default:
	}
	rows, err := w.next(ctx)
	if err != nil {
		if ctx.Err() == nil {
			w.troubled(err)
		}
		return false, nil
	}
	if len(rows) == 0 {
		w.troubled(nil)
		return false, nil
	}
	return true, w.append(ctx, rows)
}

// row is an outbox row with what hashing it costs already paid.
type row struct {
	n     int64
	entry *tessera.Entry
	leaf  []byte // its leaf hash, of our own making
}

// ahead is rows that were read while those before them were on their way.
type ahead struct {
	rows []row
	err  error
}

// next reads the rows after those in the log, or takes the ones read ahead.
func (w *Writer) next(ctx context.Context) ([]row, error) {
	if w.ahead != nil {
		a := <-w.ahead
		w.ahead = nil
		if a.err != nil || len(a.rows) > 0 && a.rows[0].n == w.Size() {
			return a.rows, a.err
		}
	}
	return w.read(ctx, w.Size())
}

// read reads a batch of rows from n on, and hashes them.
func (w *Writer) read(ctx context.Context, n int64) ([]row, error) {
	said, err := w.cfg.DB.SaidFrom(ctx, n, batchSize)
	rows := make([]row, len(said))
	for i, s := range said {
		rows[i] = row{s.N, tessera.NewEntry(s.Envelope), rfc6962.DefaultHasher.HashLeaf(s.Envelope)}
	}
	return rows, err
}

// readAhead reads the rows from n on in the background: in a backlog reading and
// hashing them takes about as long as writing the ones before.
func (w *Writer) readAhead(ctx context.Context, n int64) {
	c := make(chan ahead, 1)
	w.ahead = c
	go func() {
		rows, err := w.read(ctx, n)
		c <- ahead{rows, err}
	}()
}

// append adds rows and waits until they are durable, before anything else is
// added. The library gathers entries for batchAge; would a batch fail (disk
// full) while a later one is waiting and then succeeds, the later entries would
// take the earlier ones' places. So all entries in flight must be one batch: no
// entry is added when half the time is over. Should that fail, the guard refuses
// to sign the result.
func (w *Writer) append(ctx context.Context, rows []row) error {
	first := w.Size()
	w.guard.forgetBefore(uint64(max(first-batchSize, 0)))
	begun := time.Now() // the library's own timer runs on this clock, not on ours
	var futures []tessera.IndexFuture
	for i, row := range rows {
		if i > 0 && time.Since(begun) > batchAge/2 {
			break
		}
		if row.n != first+int64(i) {
			return fault.Tampered.New("the outbox has no row %d; the next one is %d", first+int64(i), row.n)
		}
		crash.Point("log.before-add")
		// A tree of every size may be signed when rows trickle in; in a backlog only
		// the whole batch is, and computing a root costs more than the rest.
		w.guard.expect(row.leaf, len(rows) <= fewRows || i == len(rows)-1)
		// Not ctx: an entry on its way is brought to its end.
		futures = append(futures, w.add(context.WithoutCancel(ctx), row.entry))
	}
	w.guard.compare()
	if len(rows) == batchSize {
		w.readAhead(ctx, first+int64(len(futures)))
	}
	if err := settle(first, futures); err != nil {
		return err
	}
	crash.Point("log.added")
	w.mu.Lock()
	w.size = first + int64(len(futures))
	w.mu.Unlock()
	return nil
}

// settle waits for every future. The library can leave one unresolved for ever
// (when its own context ends), so the wait is bounded.
func settle(first int64, futures []tessera.IndexFuture) error {
	done := make(chan error, 1)
	go func() { done <- inOrder(first, futures) }()
	timer := time.NewTimer(addTimeout)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return fault.Unavailable.New("adding entries %d to %d: the disk has not answered for %v", first, first+int64(len(futures))-1, addTimeout)
	}
}

func inOrder(first int64, futures []tessera.IndexFuture) error {
	var failed error
	for i, f := range futures {
		index, err := f()
		switch {
		case err != nil && failed == nil:
			// It may be in the log or not: only the comparison at the next start tells.
			failed = fault.Unavailable.New("adding log entry %d: %w; free the disk and start again", first+int64(i), err)
		case err == nil && index.Index != uint64(first)+uint64(i):
			return fault.Tampered.New("outbox row %d became log entry %d", first+int64(i), index.Index)
		}
	}
	return failed
}
