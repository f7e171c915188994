// Command write measures the way of a statement into the log: durable statements
// per second with 64 writers, a backlog, and the time from commit to a
// checkpoint that two of three witnesses cosigned.
//
// The peer is Tessera's POSIX log with the same entries, the same batching and 64
// adders, each of which waits until its entry is integrated on disk. Rounds of
// ours and theirs take turns.
//
//	go run ./bench/write
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"

	"clerestory.dev/clerestory/bench/kit"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/ledger/log"
	"clerestory.dev/clerestory/statement"
)

const writers = 64

var (
	rounds  = flag.Int("rounds", 3, "rounds of each measurement")
	some    = flag.Int("n", 10000, "statements per round of durable writes")
	backlog = flag.Int("backlog", 50000, "rows of the backlog")
	waits   = flag.Int("waits", 100, "statements whose latency is measured, per round")
)

func main() {
	flag.Parse()
	source, builder := kit.NewSigner(), kit.NewSigner()
	var ours, committed, theirs, oursDrain, theirsDrain, freely []float64
	for r := range *rounds {
		all := kit.Statements(fmt.Sprint("write ", r), 0, *some, source, builder)
		o, c := durable(all)
		t := bare(raws(all))
		ours, committed, theirs = append(ours, o), append(committed, c), append(theirs, t)
		fmt.Printf("durable   round %d: ours %6.0f/s (committed %6.0f/s), tessera %6.0f/s, ratio %.2f\n", r+1, o, c, t, o/t)

		all = kit.Statements(fmt.Sprint("backlog ", r), 0, *backlog, source, builder)
		var free float64
		turns := []func(){func() { o = drained(all) }, func() { t = backlogged(raws(all)) }, func() { free = fed(raws(all)) }}
		for i := range turns { // another one first in each round
			turns[(i+r)%len(turns)]()
		}
		oursDrain, theirsDrain = append(oursDrain, o), append(theirsDrain, t)
		freely = append(freely, free)
		fmt.Printf("backlog   round %d: ours %6.0f/s, tessera fed freely %6.0f/s, ratio %.2f; batch after batch %6.0f/s, ratio %.2f\n", r+1, o, free, o/free, t, o/t)
	}
	fmt.Printf("durable   median: ours %.0f/s in the log, %.0f/s committed, tessera %.0f/s, ratio %.2f\n", kit.Median(ours), kit.Median(committed), kit.Median(theirs), kit.Median(ours)/kit.Median(theirs))
	fmt.Printf("backlog   median: tessera fed freely %.0f/s, ratio %.2f\n", kit.Median(freely), kit.Median(oursDrain)/kit.Median(freely))
	fmt.Printf("backlog   median: ours %.0f/s, tessera %.0f/s, ratio %.2f\n", kit.Median(oursDrain), kit.Median(theirsDrain), kit.Median(oursDrain)/kit.Median(theirsDrain))
	latency(source, builder)
}

func raws(all []*statement.Envelope) [][]byte {
	out := make([][]byte, len(all))
	for i, e := range all {
		raw, err := e.Format()
		kit.Must(err)
		out[i] = raw
	}
	return out
}

// quiet lets the disk write down what was made before the clock starts: an fsync
// would pay for it, and only one side makes a database first.
func quiet() { syscall.Sync() }

// tmp is on the disk, not in memory: fsync must cost what it costs.
func tmp() (string, func()) {
	dir, err := os.MkdirTemp(kit.Cache(), "write-")
	kit.Must(err)
	return dir, func() { os.RemoveAll(dir) }
}

func open(ctx context.Context, dir, policy string, signer func() (log.Config, error)) (*store.DB, func() *log.Writer) {
	db, err := store.Open(ctx, filepath.Join(dir, "db"))
	kit.Must(err)
	return db, func() *log.Writer {
		cfg, err := signer()
		kit.Must(err)
		cfg.DB, cfg.Dir, cfg.Policy, cfg.UnsafeNoWitnesses, cfg.Logger = db, filepath.Join(dir, "log"), policy, policy == "", kit.Quiet()
		w, err := log.Open(ctx, cfg)
		kit.Must(err)
		return w
	}
}

func key() (log.Config, error) {
	s, vkey := kit.LogKey("log.example/bench")
	return log.Config{Signer: s, VKey: vkey}, nil
}

// durable is how fast 64 writers' statements are committed (each its own write,
// fsynced before it returns) and, by the same clock, in the log's tree.
func durable(all []*statement.Envelope) (logged, committed float64) {
	dir, remove := tmp()
	defer remove()
	ctx := context.Background()
	db, start := open(ctx, dir, "", key)
	defer db.Close()
	w := start()
	quiet()
	begun := time.Now()
	each(len(all), func(i int) { say(ctx, db, all[i]) })
	committed = rate(len(all), begun)
	until(w, len(all))
	logged = rate(len(all), begun)
	kit.Must(w.Close())
	return logged, committed
}

func say(ctx context.Context, db *store.DB, e *statement.Envelope) (n int64) {
	kit.Must(db.Write(ctx, func(tx *store.Tx) (err error) {
		n, err = tx.Say(ctx, e, time.Now())
		return err
	}))
	return n
}

// drained is how fast a backlog in the outbox gets into the tree.
func drained(all []*statement.Envelope) float64 {
	dir, remove := tmp()
	defer remove()
	ctx := context.Background()
	db, start := open(ctx, dir, "", key)
	defer db.Close()
	kit.Must(db.Write(ctx, func(tx *store.Tx) error {
		for _, e := range all {
			if _, err := tx.Say(ctx, e, time.Now()); err != nil {
				return err
			}
		}
		return nil
	}))
	quiet()
	begun := time.Now()
	w := start()
	until(w, len(all))
	per := rate(len(all), begun)
	kit.Must(w.Close())
	return per
}

func until(w *log.Writer, size int) {
	for w.Size() < int64(size) {
		if s := w.Status(context.Background()); s.Stopped {
			kit.Must(s.Err)
		}
		time.Sleep(time.Millisecond)
	}
}

func rate(n int, begun time.Time) float64 { return float64(n) / time.Since(begun).Seconds() }

func each(n int, do func(i int)) {
	var wg sync.WaitGroup
	var next atomic.Int64
	for range writers {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				do(int(i))
			}
		})
	}
	wg.Wait()
}

// bare is the peer: Tessera alone, with the batching that our writer gives it.
func bare(all [][]byte) float64 {
	return theirs(func(ctx context.Context, add tessera.AddFn) {
		each(len(all), func(i int) {
			_, err := add(ctx, tessera.NewEntry(all[i]))()
			kit.Must(err)
		})
	}, len(all))
}

// backlogged adds everything in order, one batch in flight after the other as
// ours must do it: Tessera only keeps the order of one batch.
func backlogged(all [][]byte) float64 {
	return theirs(func(ctx context.Context, add tessera.AddFn) {
		for len(all) > 0 {
			size := min(256, len(all))
			var futures []tessera.IndexFuture
			for _, raw := range all[:size] {
				futures = append(futures, add(ctx, tessera.NewEntry(raw)))
			}
			for _, f := range futures {
				_, err := f()
				kit.Must(err)
			}
			all = all[size:]
		}
	}, len(all))
}

// fed adds everything in order without waiting: the bare log, as its users feed
// it. A failed batch would change the order, which ours may not risk.
func fed(all [][]byte) float64 {
	return theirs(func(ctx context.Context, add tessera.AddFn) {
		futures := make([]tessera.IndexFuture, 0, len(all))
		for _, raw := range all {
			futures = append(futures, add(ctx, tessera.NewEntry(raw)))
		}
		for _, f := range futures {
			_, err := f()
			kit.Must(err)
		}
	}, len(all))
}

func theirs(run func(context.Context, tessera.AddFn), n int) float64 {
	dir, remove := tmp()
	defer remove()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	driver, err := posix.New(ctx, posix.Config{Path: dir})
	kit.Must(err)
	signer, _ := kit.LogKey("log.example/tessera")
	appender, shutdown, _, err := tessera.NewAppender(ctx, driver, tessera.NewAppendOptions().WithCheckpointSigner(signer).
		WithBatching(256, 5*time.Millisecond).WithCheckpointInterval(100*time.Millisecond))
	kit.Must(err)
	quiet()
	begun := time.Now()
	run(ctx, appender.Add)
	per := rate(n, begun)
	kit.Must(shutdown(ctx))
	return per
}

// latency is the time that one statement takes, from the call to Write until a
// witnessed checkpoint covers it, with its parts.
func latency(source, builder statement.Signer) {
	dir, remove := tmp()
	defer remove()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	cfg, _ := key()
	policy := kit.Witnesses(ctx, dir, cfg.VKey)
	db, start := open(ctx, dir, policy, func() (log.Config, error) { return cfg, nil })
	defer db.Close()
	w := start()
	total := *waits * *rounds
	all := kit.Statements("latency", 0, total, source, builder)
	var commit, integrate, publish, whole []time.Duration
	for i, e := range all {
		// Statements come when they come, not in step with the publisher's clock.
		time.Sleep(time.Duration(37*i%101) * time.Millisecond)
		begun := time.Now()
		n := say(ctx, db, e)
		c := time.Now()
		for w.Size() <= n {
			time.Sleep(200 * time.Microsecond)
		}
		in := time.Now()
		_, err := w.Wait(ctx, n)
		kit.Must(err)
		end := time.Now()
		commit, integrate = append(commit, c.Sub(begun)), append(integrate, in.Sub(c))
		publish, whole = append(publish, end.Sub(in)), append(whole, end.Sub(begun))
	}
	for _, p := range []struct {
		name string
		all  []time.Duration
	}{{"commit", commit}, {"in the tree", integrate}, {"cosigned and published", publish}, {"whole", whole}} {
		fmt.Printf("latency   %-22s p50 %6.1f ms  p95 %6.1f ms  p99 %6.1f ms\n", p.name, ms(kit.Median(p.all)), ms(kit.Percentile(p.all, 95)), ms(kit.Percentile(p.all, 99)))
	}
	kit.Must(w.Close())
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
