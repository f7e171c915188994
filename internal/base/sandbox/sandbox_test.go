package sandbox_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/sandbox"
)

// need skips where there is no wall to test.
func need(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("bwrap"); err != nil {
		t.Skip("bubblewrap is not installed")
	}
}

func script(text string) sandbox.Job {
	return sandbox.Job{Argv: []string{"/bin/bash", "-c", text}, Limits: sandbox.Limits{Wall: 10 * time.Second, Memory: 64 << 20, Processes: 16}}
}

func run(t *testing.T, j sandbox.Job) (sandbox.Result, error) {
	t.Helper()
	need(t)
	res, err := sandbox.Run(t.Context(), j)
	t.Logf("exit %d, killed %q, CPU %s, wall %s, peak %d MiB, stdout %.200q, stderr %.200q, error %v",
		res.Exit, res.Killed, res.CPU, res.Wall, res.Peak>>20, res.Stdout, res.Stderr, err)
	return res, err
}

func TestAJobGetsItsInputsAndGivesItsOutput(t *testing.T) {
	in, out := filepath.Join(t.TempDir(), "in"), t.TempDir()
	if err := os.WriteFile(in, []byte("given"), 0o644); err != nil {
		t.Fatal(err)
	}
	j := script(`cat /in/a; cat; echo "$WORD"; echo made > made; exit 7`)
	j.Binds = []sandbox.Bind{{Host: in, Inside: "/in/a"}}
	j.Write, j.Stdin, j.Env = out, strings.NewReader(" piped "), []string{"WORD=said"}
	res, err := run(t, j)
	if err != nil || res.Exit != 7 || string(res.Stdout) != "given piped said\n" {
		t.Fatal(res.Exit, err)
	}
	if b, err := os.ReadFile(filepath.Join(out, "made")); err != nil || string(b) != "made\n" {
		t.Fatalf("%q, %v", b, err)
	}
}

func TestAJobIsNobodyAndCanBecomeNobodyElse(t *testing.T) {
	res, err := run(t, script(`id -u; grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status; ls /proc | grep -c '^[0-9]'; env | wc -l; ulimit -c`))
	if err != nil {
		t.Fatal(err)
	}
	got := string(res.Stdout)
	for _, want := range []string{"CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
	if os.Geteuid() == 0 && strings.HasPrefix(got, "0\n") {
		t.Error("a job of root's runs as root")
	}
}

func TestAttackAForkBombStaysInItsBox(t *testing.T) {
	started := time.Now()
	j := script(`f() { f | f & }; f; sleep 30`)
	j.Wall = 2 * time.Second
	if _, err := run(t, j); !errors.Is(err, sandbox.ErrTimeout) || !errors.Is(err, fault.Unavailable) {
		t.Fatal(err)
	}
	if time.Since(started) > 8*time.Second {
		t.Error("it outlived its time")
	}
}

func TestAttackMemoryIsEatenByOneProcess(t *testing.T) {
	if _, err := run(t, script(`x=$(head -c 2000000000 /dev/zero | tr '\0' x); echo ${#x}`)); !errors.Is(err, sandbox.ErrMemory) {
		t.Fatal(err)
	}
}

func TestAttackMemoryIsEatenByManyProcesses(t *testing.T) {
	// Each takes less than the limit; together they take more.
	if _, err := run(t, script(`for i in 1 2 3 4 5 6; do (x=$(head -c 25000000 /dev/zero | tr '\0' x); sleep 5) & done; wait`)); !errors.Is(err, sandbox.ErrMemory) {
		t.Fatal(err)
	}
}

func TestAttackMemoryIsEatenByFiles(t *testing.T) {
	j := script(`head -c 50000000 /dev/zero > /tmp/a; head -c 1000 /dev/zero > /dev/shm/a; echo done`)
	j.Scratch = 1 << 20
	res, err := run(t, j)
	if err != nil || !strings.Contains(string(res.Stderr), "No space left") || !strings.Contains(string(res.Stderr), "/dev/shm/a: Read-only") {
		t.Fatal(err)
	}
}

func TestAttackOutputWithoutEnd(t *testing.T) {
	for _, text := range []string{`yes`, `yes >&2`} {
		j := script(text)
		j.Output = 1 << 20
		res, err := run(t, j)
		if !errors.Is(err, sandbox.ErrOutput) || len(res.Stdout) > 1<<20 || len(res.Stderr) > 1<<20 {
			t.Fatal(len(res.Stdout), len(res.Stderr), err)
		}
	}
}

func TestAttackAFileWithoutEnd(t *testing.T) {
	j := script(`head -c 100000000 /dev/zero > /out/a`)
	j.Write, j.FileSize = t.TempDir(), 1<<20
	if _, err := run(t, j); !errors.Is(err, sandbox.ErrWritten) {
		t.Fatal(err)
	}
}

func TestAttackFilesWithoutEnd(t *testing.T) {
	j := script(`for i in {1..100000}; do head -c 500000 /dev/zero > /out/$i; done`)
	j.Write, j.FileSize, j.Written = t.TempDir(), 1<<20, 8<<20
	if _, err := run(t, j); !errors.Is(err, sandbox.ErrWritten) {
		t.Fatal(err)
	}
}

func TestAttackAJobHangs(t *testing.T) {
	j := script(`sleep 100`)
	j.Wall = 300 * time.Millisecond
	res, err := run(t, j)
	if !errors.Is(err, sandbox.ErrTimeout) || res.Killed == "" || res.Wall > 5*time.Second {
		t.Fatal(err)
	}
	j = script(`echo here; sleep 100`)
	j.Silence = 300 * time.Millisecond
	if res, err = run(t, j); !errors.Is(err, sandbox.ErrSilence) || string(res.Stdout) != "here\n" {
		t.Fatal(err)
	}
}

func TestAttackAJobSpins(t *testing.T) {
	j := script(`while :; do :; done`)
	j.CPU = time.Second
	if _, err := run(t, j); !errors.Is(err, sandbox.ErrCPU) {
		t.Fatal(err)
	}
}

func TestAttackAJobCallsHome(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := t.TempDir()
	u, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	j := script(fmt.Sprintf(`exec 3<>/dev/tcp/127.0.0.1/%d && echo reached; true`, l.Addr().(*net.TCPAddr).Port))
	if res, err := run(t, j); err != nil || bytes.Contains(res.Stdout, []byte("reached")) {
		t.Fatal("the network was reached", err)
	}
	py, err := exec.LookPath("python3")
	if err != nil || !strings.HasPrefix(py, "/usr/") {
		t.Skip("no python3 of the system's for the unix socket")
	}
	j = sandbox.Job{Argv: []string{"/usr/bin/python3", "-c", "import socket; s=socket.socket(socket.AF_UNIX); s.connect('/in/s'); print('reached')"},
		Binds: []sandbox.Bind{{Host: dir, Inside: "/in"}}}
	if res, err := run(t, j); err != nil || bytes.Contains(res.Stdout, []byte("reached")) {
		t.Fatal("a socket in a bound folder was reached", err)
	}
}

func TestAttackAJobWritesWhereItMayNot(t *testing.T) {
	in := t.TempDir()
	if err := os.Chmod(in, 0o777); err != nil {
		t.Fatal(err)
	}
	j := script(`for f in /x /usr/x /dev/x /in/x /proc/sys/kernel/core_pattern /etc/x; do echo evil > $f && echo "wrote $f"; done; true`)
	j.Binds = []sandbox.Bind{{Host: in, Inside: "/in"}}
	if res, err := run(t, j); err != nil || len(res.Stdout) != 0 {
		t.Fatalf("%s%v", res.Stdout, err)
	}
}

func TestAttackAJobReadsTheHost(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CLERESTORY_PASSPHRASE", "secret")
	res, err := run(t, script(`cat `+secret+` /etc/passwd /root/.ssh/* /proc/1/environ; env`))
	if err != nil || bytes.Contains(res.Stdout, []byte("secret")) || bytes.Contains(res.Stdout, []byte("root:")) {
		t.Fatalf("%s%v", res.Stdout, err)
	}
}

func TestAttackAJobMakesNamespacesOfItsOwn(t *testing.T) {
	res, err := run(t, script(`unshare -U true && echo "new user namespace"; unshare -r mount -t tmpfs x /tmp && echo mounted; true`))
	if err != nil || len(res.Stdout) != 0 {
		t.Fatalf("%s%v", res.Stdout, err)
	}
}

func TestAnInterruptedJobIsGone(t *testing.T) {
	need(t)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	mark := fmt.Sprintf("1%09d", time.Now().UnixNano()%1e9)
	_, err := sandbox.Run(ctx, script(`sleep `+mark+` & sleep `+mark))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	for end := time.Now().Add(3 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		b, _ := exec.Command("sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").Output()
		if !strings.Contains(string(b), "sleep "+mark) {
			return
		}
		if time.Now().After(end) {
			t.Fatal("its processes are still there")
		}
	}
}

func TestWithoutAWallNothingRuns(t *testing.T) {
	prlimit, err := exec.LookPath("prlimit")
	if err != nil {
		t.Skip("no prlimit")
	}
	bin := t.TempDir()
	if err := os.Symlink(prlimit, filepath.Join(bin, "prlimit")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	j := script(`echo ran`)
	res, err := sandbox.Run(t.Context(), j)
	if !errors.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "install the package bubblewrap") || len(res.Stdout) > 0 {
		t.Fatal(err)
	}
	j.UnsafeUnconfined = true
	if res, err = sandbox.Run(t.Context(), j); err != nil || string(res.Stdout) != "ran\n" {
		t.Fatal(err)
	}
	j = script(`sleep 100 & sleep 100`)
	j.UnsafeUnconfined, j.Wall = true, 200*time.Millisecond
	if _, err = sandbox.Run(t.Context(), j); !errors.Is(err, sandbox.ErrTimeout) {
		t.Fatal("the limits hold without the wall, too:", err)
	}
}

func TestAWallThatFailsIsNotAJobThatFailed(t *testing.T) {
	bin := t.TempDir()
	for _, c := range []string{"prlimit", "setpriv"} {
		p, err := exec.LookPath(c)
		if err != nil {
			t.Skip("no " + c)
		}
		if err := os.Symlink(p, filepath.Join(bin, c)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(bin, "bwrap"), []byte("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	if _, err := sandbox.Run(t.Context(), script(`true`)); !errors.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "No permissions") {
		t.Fatal(err)
	}
}

func TestInputsThatWouldReplaceTheSystemAreRefused(t *testing.T) {
	need(t)
	for _, b := range []sandbox.Bind{{"relative", "/in"}, {t.TempDir(), "/usr/lib"}, {t.TempDir(), "/in/../etc"}, {t.TempDir(), "/"}, {t.TempDir(), "in"}} {
		j := script(`true`)
		j.Binds = []sandbox.Bind{b}
		if _, err := sandbox.Run(t.Context(), j); !errors.Is(err, fault.Invalid) {
			t.Errorf("%v: %v", b, err)
		}
	}
}

// TestTheWallStandsForSomeoneElseThanRoot runs this test program again as nobody.
func TestTheWallStandsForSomeoneElseThanRoot(t *testing.T) {
	need(t)
	if os.Geteuid() != 0 {
		t.Skip("we are not root, so the other tests have shown it")
	}
	b, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/tmp", "clerestory-sandbox-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(dir, "sandbox.test")
	if err := os.WriteFile(exe, b, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--", exe, "-test.run", "Attack|AJob|Interrupted", "-test.v")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "TMPDIR="+dir, "HOME="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Contains(string(out), "--- SKIP: TestAttack") {
		t.Fatalf("%v\n%s", err, out)
	}
}
