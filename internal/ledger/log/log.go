// Package log writes the one append-only log: it drains the outbox into tiles,
// and publishes witnessed checkpoints (C2SP tlog-tiles, tlog-checkpoint).
//
// It promises: outbox row n becomes log entry n, exactly once, whatever is
// killed when; and it signs no tree head but the one that it computed itself
// from the last signed head and the outbox rows, so a damaged folder or a fault
// in the library below never becomes a signed fork.
//
// It refuses to write when another process writes the same log, when the log
// holds more than the database (Stale: see [Adopt]), and for ever after anything
// differs that must be equal (Tampered). A full disk stops it (Unavailable);
// after a restart it goes on where it was.
//
// Start at [Open]; rooms call [Writer.Wait] and [Writer.Proof] and nothing else.
package log

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/ledger/tile"
)

// Pace: what was measured to publish within about 120 ms at 6,000 entries/s.
const (
	batchSize          = 256
	batchAge           = 5 * time.Millisecond
	checkpointInterval = 100 * time.Millisecond
	// republishInterval bounds how old the newest cosignature gets while nothing
	// is said: a reader can tell a quiet log from a frozen one.
	republishInterval = 10 * time.Minute
	pollInterval      = 250 * time.Millisecond // what other processes said
	witnessTimeout    = 5 * time.Second
)

// Config says which log is written, and with what.
type Config struct {
	DB *store.DB
	// Dir is the static log folder; it is made when it is missing. Any web server
	// can serve it, but for its folder ".state".
	Dir string
	// Signer signs checkpoints; its name is the log's origin. VKey is its public
	// half (C2SP signed-note "vkey"): what the folder holds is checked with it
	// before it is continued.
	Signer note.Signer
	VKey   string
	// Policy is a C2SP tlog-policy: the witnesses that must cosign before a
	// checkpoint is published, each with the URL where it is asked. A log line
	// may be missing; if there is one it must name VKey.
	Policy string
	// UnsafeNoWitnesses allows a policy that is empty or asks for nobody. The log
	// could then show different histories to different people.
	UnsafeNoWitnesses bool
	// Clock gives the times in Status; nil means time.Now.
	Clock func() time.Time
	// Logger gets what happened; nil means slog.Default().
	Logger *slog.Logger
	// CloseWait is how long Close waits for the last entries to be published;
	// 0 means 5 s. They are durable without it, and get published later.
	CloseWait time.Duration
	// HTTPClient asks the witnesses; nil means one without proxies or redirects.
	HTTPClient *http.Client
}

// Writer is the one writer of a log. Its methods may be called concurrently.
type Writer struct {
	cfg    Config
	policy witnessPolicy
	asked  *asked
	guard  *guard
	locks  *locks
	files  tile.Dir
	reader tessera.LogReader
	add    tessera.AddFn

	endTessera func()                      // ends the library's background work
	shutdown   func(context.Context) error // the library's own orderly end
	endDrain   func()
	drained    chan struct{} // closed when the drainer has ended
	working    sync.WaitGroup

	mu        sync.Mutex
	size      int64 // entries 0 to size-1 are in the tree, and were compared with their rows
	published published
	changed   chan struct{} // closed and replaced when published or stopped changes
	stopped   error         // why nothing is written any more
	trouble   error         // what goes wrong with the outbox now, and is tried again
	unseen    error         // what is wrong with the checkpoint file now
	ahead     chan ahead    // rows read ahead; only the drainer touches it
}

// Open takes the ledger's lock, repairs what a crash left, and begins to write.
func Open(ctx context.Context, cfg Config) (*Writer, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	policy, err := parsePolicy(cfg)
	if err != nil {
		return nil, err
	}
	locks, err := lockAll(ctx, cfg.DB, cfg.Dir)
	if err != nil {
		return nil, err
	}
	w := &Writer{cfg: cfg, policy: policy, locks: locks, files: tile.Dir(cfg.Dir), changed: make(chan struct{}), guard: newGuard(cfg.Signer)}
	if err := w.start(ctx); err != nil {
		locks.release()
		return nil, err
	}
	return w, nil
}

func (cfg *Config) complete() error {
	if cfg.DB == nil || cfg.Signer == nil || cfg.Dir == "" {
		return fault.Invalid.New("opening the log: database, folder and signer are needed")
	}
	if id := fmt.Sprintf("%s+%08x+", cfg.Signer.Name(), cfg.Signer.KeyHash()); !strings.HasPrefix(cfg.VKey, id) {
		return fault.Invalid.New("opening the log: the signer is %s…, but the verifier key is %q", id, cfg.VKey)
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return fmt.Errorf("finding the log folder: %w", err)
	}
	cfg.Dir = dir
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.CloseWait == 0 {
		cfg.CloseWait = 5 * time.Second
	}
	return nil
}

// start opens the folder with the guard shut, compares it with the outbox, and
// only then lets anything be signed or added.
func (w *Writer) start(ctx context.Context) error {
	quietLibrary(w.cfg.Logger)
	head, err := readHead(ctx, w.cfg.Dir, w.policy)
	if err != nil {
		return err
	}
	if head == nil && !hasState(w.cfg.Dir) {
		// A new log: the library publishes the empty tree at once.
		w.guard.allow(compactEmpty())
	}
	background, cancel := context.WithCancel(context.Background())
	w.endTessera = cancel
	if err := w.openTessera(background); err != nil {
		cancel()
		return err
	}
	rng, err := w.reconcile(ctx, head)
	if err != nil {
		cancel()
		return fmt.Errorf("opening the log in %s: %w", w.cfg.Dir, err)
	}
	w.size = int64(rng.End())
	w.guard.allow(rng)
	drain, endDrain := context.WithCancel(background)
	w.endDrain = endDrain
	w.drained = make(chan struct{})
	w.working.Go(func() {
		defer close(w.drained)
		w.drain(drain)
	})
	w.working.Go(func() { w.watch(background) })
	return nil
}

func (w *Writer) openTessera(ctx context.Context) error {
	w.asked = newAsked(w.cfg.HTTPClient, w.policy, w.cfg.Clock)
	driver, err := posix.New(ctx, posix.Config{Path: w.cfg.Dir, HTTPClient: w.asked.client()})
	if err != nil {
		return fmt.Errorf("opening the log folder: %w", err)
	}
	opts := tessera.NewAppendOptions().
		WithCheckpointSigner(w.guard).
		WithBatching(batchSize, batchAge).
		WithCheckpointInterval(checkpointInterval).
		WithCheckpointRepublishInterval(republishInterval).
		WithShutdownTimeout(w.cfg.CloseWait)
	if w.policy.Needed() {
		opts = opts.WithWitnesses(w.policy.group, &tessera.WitnessOptions{Timeout: witnessTimeout})
	}
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, opts)
	if err != nil && hasState(w.cfg.Dir) {
		// Making a new log ends with publishing the empty tree. When the witnesses
		// do not answer just then, the folder is made all the same, and the second
		// attempt opens it.
		appender, shutdown, reader, err = tessera.NewAppender(ctx, driver, opts)
	}
	if err != nil {
		return fault.Unavailable.New("opening the log folder %s: %w", w.cfg.Dir, err)
	}
	w.add, w.shutdown, w.reader = appender.Add, shutdown, reader
	return nil
}

// Close stops writing, waits a while for the last entries to be published, and
// gives the lock back.
func (w *Writer) Close() error {
	w.endDrain()
	ctx, cancel := context.WithTimeout(context.Background(), w.cfg.CloseWait)
	defer cancel()
	// An entry on its way is brought to its end first: the library would leave it
	// hanging, and Close with it, the lock held.
	select {
	case <-w.drained:
	case <-ctx.Done():
	}
	w.mu.Lock()
	last, stopped := w.size-1, w.stopped
	w.mu.Unlock()
	if last >= 0 && stopped == nil {
		if _, err := w.Wait(ctx, last); err != nil {
			w.cfg.Logger.Warn("the last log entries are written, and will be published after the next start", "size", last+1, "error", err)
		}
	}
	w.guard.shut(errors.New("the log is closing"))
	if stopped == nil {
		// Bounded by CloseWait; without witnesses it would otherwise wait for ever.
		w.shutdown(ctx)
	}
	w.endTessera()
	w.working.Wait()
	w.locks.release()
	return nil
}

func compactEmpty() *compact.Range {
	return ranges.NewEmptyRange(0)
}

var ranges = &compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
