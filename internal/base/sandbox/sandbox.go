// Package sandbox runs a job that may be hostile: a rule compiler, a scanner, an
// unpacker, fed with bytes from outside.
//
// It promises that the job has no network and no socket of any kind, gains no
// privileges, sees a read-only root with the system's programs and its inputs
// only, writes into one folder at most, and is stopped when it takes more than
// its limits: memory, CPU seconds, processes, file size, bytes written, wall
// time, silence, bytes of output. It works as root (the job then runs as a user
// that exists nowhere else) and as anyone else who may make user namespaces.
//
// It refuses to run where it cannot confine, unless the job's Unsafe… field says
// otherwise. What the job leaves in its folder is hostile: open it without
// following links (os.Root).
//
// Start at [Run]; confine.go is the wall, watch.go the guard, filter.go the list
// of system calls that no job needs.
package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"runtime"
	"strings"
	"syscall"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
)

// Bind shows one file or folder of the host to the job, read only.
type Bind struct {
	Host   string // absolute
	Inside string // absolute, clean, outside the system's folders
}

// Job is what to run, and within which bounds.
type Job struct {
	Argv  []string // a program of the system (found by PATH inside) or a path inside
	Binds []Bind
	Write string // a folder of the host that the job sees as /out and may write to; "" for none
	Stdin io.Reader
	Env   []string // besides PATH, HOME, LANG
	Limits

	// UnsafeUnconfined runs the job with the limits but without the wall, where
	// bubblewrap is missing or may not work. Paths are the host's then.
	UnsafeUnconfined bool
}

// Limits bounds a job. A zero takes the default.
type Limits struct {
	Memory    int64         // bytes of the whole job (512 MiB); address space may be twice that and 1 GiB
	CPU       time.Duration // of the whole job (60 s)
	Processes int           // and threads, at one time (64)
	FileSize  int64         // of each file written (64 MiB)
	Written   int64         // of all files in Write (256 MiB)
	Scratch   int64         // of the job's own /tmp, in memory (64 MiB)
	Wall      time.Duration // from start to end (60 s)
	Silence   time.Duration // longest time without a byte of output (none)
	Output    int64         // of stdout, and of stderr (8 MiB)
}

func (l Limits) filled() Limits {
	def := func(v *int64, d int64) {
		if *v <= 0 {
			*v = d
		}
	}
	dur := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&l.Memory, 512<<20)
	def(&l.FileSize, 64<<20)
	def(&l.Written, 256<<20)
	def(&l.Scratch, 64<<20)
	def(&l.Output, 8<<20)
	dur(&l.CPU, time.Minute)
	dur(&l.Wall, time.Minute)
	if l.Processes <= 0 {
		l.Processes = 64
	}
	return l
}

// Why a job was stopped. Each is found by errors.Is in the error of [Run].
var (
	ErrTimeout = errors.New("it took longer than its time")
	ErrSilence = errors.New("it said nothing for too long")
	ErrCPU     = errors.New("it used more CPU time than it may")
	ErrMemory  = errors.New("out of memory")
	ErrOutput  = errors.New("too much output")
	ErrWritten = errors.New("it wrote more than it may")
)

// Result is how a job ended, also when it was stopped: its output up to then.
type Result struct {
	Exit   int // 128+n when signal n ended it
	Stdout []byte
	Stderr []byte
	CPU    time.Duration // as the guard saw it: up to 20 ms too little
	Wall   time.Duration
	Peak   int64  // bytes of memory at one time, as far as the guard saw
	Killed string // why it was stopped, in words; "" when it ended by itself
}

// Run runs a job to its end. An exit code that is not 0 is no error; being
// stopped is (one of the Err values, of kind [fault.Unavailable]), and so is a
// wall that could not be built. When ctx ends, the job is killed.
func Run(ctx context.Context, j Job) (Result, error) {
	if len(j.Argv) == 0 || j.Argv[0] == "" {
		return Result{}, fault.Invalid.New("a job without a command")
	}
	j.Limits = j.Limits.filled()
	res, err := run(ctx, j)
	if err != nil {
		err = fmt.Errorf("running %s in the sandbox: %w", path.Base(j.Argv[0]), err)
	}
	return res, err
}

func run(ctx context.Context, j Job) (Result, error) {
	w, err := build(j)
	if err != nil {
		return Result{}, err
	}
	defer w.close()
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	// bubblewrap dies with the thread that started it: hold that thread until the end.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	started := time.Now()
	g := &guard{limits: j.Limits, write: j.Write, begun: started}
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(w.argv[0], w.argv[1:]...)
	cmd.Env, cmd.ExtraFiles, cmd.Stdin = w.env, w.files, j.Stdin
	cmd.Stdout, cmd.Stderr = g.capped(&stdout), g.capped(&stderr)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 5 * time.Second // a pipe that an escaped child holds open must not hold us
	if err := cmd.Start(); err != nil {
		return Result{}, fault.Unavailable.New("starting %s: %w", w.argv[0], err)
	}
	w.started()
	stop := g.watch(ctx, cmd.Process.Pid)
	waitErr := cmd.Wait()
	stop()
	if w.bare { // no namespace ends with the job: what is left of its group goes
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	w.tidy()
	res := Result{Exit: exitCode(cmd.ProcessState), Stdout: stdout.Bytes(), Stderr: stderr.Bytes(),
		CPU: time.Duration(g.cpu.Load()), Wall: time.Since(started), Peak: g.peak.Load()}
	return judge(ctx, j, g, w, res, waitErr)
}

// judge says why a job ended as it did.
func judge(ctx context.Context, j Job, g *guard, w *wall, res Result, waitErr error) (Result, error) {
	why := g.reason()
	_, exited := errors.AsType[*exec.ExitError](waitErr)
	switch {
	case ctx.Err() != nil:
		res.Killed = "interrupted"
		return res, context.Cause(ctx)
	case why != nil:
	case waitErr != nil && !exited:
		return res, fault.Unavailable.New("waiting for it: %w", waitErr)
	case !w.entered():
		return res, fault.Unavailable.New("the sandbox could not be built (%s): bubblewrap needs user namespaces, or root", firstLine(res.Stderr))
	case res.Exit == 128+int(syscall.SIGXCPU):
		why = fmt.Errorf("%w (%s)", ErrCPU, j.CPU)
	case res.Exit == 128+int(syscall.SIGXFSZ):
		why = fmt.Errorf("%w: a file of more than %d bytes", ErrWritten, j.FileSize)
	case res.Exit != 0 && res.Peak >= j.Memory-j.Memory/8:
		why = fmt.Errorf("%w (%d MiB)", ErrMemory, j.Memory>>20)
	}
	if why == nil {
		return res, nil
	}
	res.Killed = why.Error()
	return res, fault.Unavailable.New("it was stopped: %w", why)
}

func exitCode(s *os.ProcessState) int {
	if ws, ok := s.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return s.ExitCode()
}

func firstLine(b []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	if line == "" {
		return "it says nothing"
	}
	return line[:min(len(line), 300)]
}
