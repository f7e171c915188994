package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// guard stops a job that takes too much. The kernel's limits are per process;
// the guard looks at the job as a whole, where control groups may be missing.
type guard struct {
	limits Limits
	write  string
	kill   func()
	last   atomic.Int64 // when the job last said something, in nanoseconds since begun
	peak   atomic.Int64
	cpu    atomic.Int64
	begun  time.Time
	mu     sync.Mutex
	why    error
}

const tick = 15 * time.Millisecond

// watch looks after the processes below pid until stop is called.
func (g *guard) watch(ctx context.Context, pid int) (stop func()) {
	// Ours to be killed first when the machine itself runs out.
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte("1000"), 0o644)
	done, gone := make(chan struct{}), make(chan struct{})
	g.mu.Lock()
	g.kill = func() { _ = syscall.Kill(-pid, syscall.SIGKILL); _ = syscall.Kill(pid, syscall.SIGKILL) }
	late := g.why != nil
	g.mu.Unlock()
	if late { // it talked too much before we got here
		g.kill()
	}
	go func() {
		defer close(gone)
		t := time.NewTicker(tick)
		defer t.Stop()
		for n := 1; ; n++ {
			select {
			case <-done:
				return
			case <-ctx.Done():
				g.kill()
				<-done
				return
			case <-t.C:
				if err := g.look(pid, n); err != nil {
					g.end(err)
				}
			}
		}
	}()
	return func() { close(done); <-gone }
}

func (g *guard) look(pid, n int) error {
	ran := time.Since(g.begun)
	if ran > g.limits.Wall {
		return fmt.Errorf("%w (%s)", ErrTimeout, g.limits.Wall)
	}
	if s := g.limits.Silence; s > 0 && ran-time.Duration(g.last.Load()) > s {
		return fmt.Errorf("%w (%s)", ErrSilence, s)
	}
	used, cpu := taken(pid)
	g.peak.Store(max(used, g.peak.Load()))
	g.cpu.Store(max(int64(cpu), g.cpu.Load())) // what ends unseen takes its time with it: never less than before
	if cpu > g.limits.CPU {
		return fmt.Errorf("%w (%s)", ErrCPU, g.limits.CPU)
	}
	if used > g.limits.Memory {
		return fmt.Errorf("%w (%d MiB)", ErrMemory, g.limits.Memory>>20)
	}
	if g.write != "" && n%8 == 0 && written(g.write, g.limits.Written) > g.limits.Written {
		return fmt.Errorf("%w (%d bytes)", ErrWritten, g.limits.Written)
	}
	return nil
}

// end kills the job, for the first reason found.
func (g *guard) end(why error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.why == nil {
		g.why = why
	}
	if g.kill != nil {
		g.kill()
	}
}

func (g *guard) reason() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.why
}

// capped passes output on up to the limit; beyond it the job is killed, and what
// it still says is thrown away, so that it can not block on a full pipe.
func (g *guard) capped(to *bytes.Buffer) io.Writer {
	return writerFunc(func(p []byte) (int, error) {
		g.last.Store(int64(time.Since(g.begun)))
		room := g.limits.Output - int64(to.Len())
		if int64(len(p)) > room {
			to.Write(p[:max(room, 0)])
			g.end(fmt.Errorf("%w (%d bytes)", ErrOutput, g.limits.Output))
			return len(p), nil
		}
		to.Write(p)
		return len(p), nil
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// taken adds up what pid and all below it hold and have used: memory of their own
// (files that are only mapped do not count), and CPU time with that of children
// which have ended. It looks at 4,096 processes at most.
func taken(pid int) (bytes int64, cpu time.Duration) {
	page, ticks := int64(os.Getpagesize()), int64(0)
	for queue, n := []int{pid}, 0; len(queue) > 0 && n < 4096; n++ {
		dir := "/proc/" + strconv.Itoa(queue[0])
		queue = queue[1:]
		if b, err := os.ReadFile(dir + "/statm"); err == nil {
			var size, resident, shared int64
			if k, _ := fmt.Sscan(string(b), &size, &resident, &shared); k == 3 {
				bytes += (resident - shared) * page
			}
		}
		if b, err := os.ReadFile(dir + "/stat"); err == nil { // proc(5): fields 14 to 17, counted behind the name's last bracket
			if f := strings.Fields(string(b)[strings.LastIndexByte(string(b), ')')+1:]); len(f) > 15 {
				for _, field := range f[11:15] {
					v, _ := strconv.ParseInt(field, 10, 64)
					ticks += v
				}
			}
		}
		tasks, _ := os.ReadDir(dir + "/task")
		for _, t := range tasks {
			b, _ := os.ReadFile(dir + "/task/" + t.Name() + "/children")
			for child := range strings.FieldsSeq(string(b)) {
				if c, err := strconv.Atoi(child); err == nil {
					queue = append(queue, c)
				}
			}
		}
	}
	return bytes, time.Duration(ticks) * (time.Second / 100) // USER_HZ is 100 on every Linux that Go runs on
}

// written adds up the files in a folder until the sum, or 100,000 files, are too many.
func written(dir string, most int64) int64 {
	var sum int64
	files := 0
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // it vanished: nothing to count
		}
		if st, err := d.Info(); err == nil {
			sum += st.Size()
		}
		if files++; files > 100_000 {
			sum = most + 1
		}
		if sum > most {
			return fs.SkipAll
		}
		return nil
	})
	return sum
}
