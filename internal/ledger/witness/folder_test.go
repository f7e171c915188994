package witness

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
)

// TestMain lets the tests start this program again as a witness of its own.
func TestMain(m *testing.M) {
	if os.Getenv("WITNESS_TEST_DIR") != "" {
		if err := standAlone(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(fault.KindOf(err).Exit)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// standAlone opens a witness, says so, answers one request from standard input
// and waits for its end.
func standAlone() error {
	key, err := ParseKey(os.Getenv("WITNESS_TEST_KEY"))
	if err != nil {
		return err
	}
	w, err := New(Config{Dir: os.Getenv("WITNESS_TEST_DIR"), Key: key, Logs: []string{os.Getenv("WITNESS_TEST_LOG")},
		Clock: func() time.Time { return time.Unix(now, 0) }})
	if err != nil {
		return err
	}
	defer w.Close()
	fmt.Println("open")
	body, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	line, err := w.add(body)
	os.Stdout.Write(line)
	return err
}

func process(c Config, crashAt string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "WITNESS_TEST_DIR="+c.Dir, "WITNESS_TEST_KEY="+c.Key.secret(),
		"WITNESS_TEST_LOG="+c.Logs[0], "CLERESTORY_CRASH="+crashAt)
	return cmd
}

func TestKilledBetweenWriteAndAnswer(t *testing.T) {
	for _, point := range []struct {
		name string
		size int64 // where the witness must stand afterwards
	}{{"witness.before-rename", 3}, {"witness.kept", 8}} {
		t.Run(point.name, func(t *testing.T) {
			l := newLog(t, "log.example")
			l.grow(3, "entry")
			evil := l.fork()
			l.grow(5, "entry")
			evil.grow(5, "lie")
			c := testConfig(t, l)
			s := open(t, c)
			s.cosigned(l, 0, 3)
			s.close()

			cmd := process(c, point.name)
			cmd.Stdin = bytes.NewReader(l.request(3, 8))
			out, err := cmd.Output()
			exit, ok := errors.AsType[*exec.ExitError](err)
			if !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL || string(out) != "open\n" {
				t.Fatalf("the witness was not killed before its answer: %v, said %q", err, out)
			}

			s = open(t, c)
			if left, _ := filepath.Glob(filepath.Join(c.Dir, "*"+tmpSuffix)); left != nil {
				t.Errorf("left over: %v", left)
			}
			s.refused(l.request(0, 1), 409, strconv.FormatInt(point.size, 10)+"\n")
			if point.size == 8 { // it may have answered, for all it knows: no other tree of size 8
				s.refused(evil.request(8, 8), 422, "different tree")
			}
			s.cosigned(l, point.size, 8) // the log tries again and gets its cosignature
		})
	}
}

func TestSecondProcessOnOneFolder(t *testing.T) {
	l := newLog(t, "log.example")
	c := testConfig(t, l)
	first := process(c, "")
	in, _ := first.StdinPipe()
	out, _ := first.StdoutPipe()
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("open\n"))); err != nil {
		t.Fatal(err)
	}
	_, err := New(c)
	pid := strconv.Itoa(first.Process.Pid)
	if !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), c.Dir) || !strings.Contains(err.Error(), pid) {
		t.Errorf("got %v, want a conflict that names %s and process %s", err, c.Dir, pid)
	}
	in.Close()
	first.Process.Kill()
	first.Wait()
	open(t, c) // a killed process does not keep the folder

	if _, err := New(c); !errors.Is(err, fault.Conflict) {
		t.Errorf("twice in one process: %v", err)
	}
}

func TestChangedStateIsNotBelieved(t *testing.T) {
	l := newLog(t, "log.example")
	l.grow(8, "entry")
	for name, change := range map[string]func(c *Config, file string){
		"smaller tree put in its place": func(_ *Config, f string) { os.WriteFile(f, l.checkpoint(2), 0o600) },
		"emptied":                       func(_ *Config, f string) { os.Truncate(f, 0) },
		"cut":                           func(_ *Config, f string) { os.Truncate(f, 60) },
		"filled up":                     func(_ *Config, f string) { os.Truncate(f, 1<<20) },
		"another witness's folder":      func(c *Config, _ string) { c.Key = testConfig(t).Key },
	} {
		t.Run(name, func(t *testing.T) {
			c := testConfig(t, l)
			s := open(t, c)
			s.cosigned(l, 0, 8)
			s.close()
			change(&c, filepath.Join(c.Dir, checkpointName(idOf(l.origin))))
			if _, err := New(c); !errors.Is(err, fault.Tampered) {
				t.Errorf("opened: %v", err)
			}
		})
	}
}

// Nothing is answered that is not on the disk.
func TestNoCosignatureWithoutTheDisk(t *testing.T) {
	l := newLog(t, "log.example")
	l.grow(8, "entry")
	c := testConfig(t, l)
	s := open(t, c)
	s.cosigned(l, 0, 3)
	blocked := filepath.Join(c.Dir, checkpointName(idOf(l.origin))+tmpSuffix)
	if err := os.Mkdir(blocked, 0o700); err != nil {
		t.Fatal(err)
	}
	r := s.post(l.request(3, 8))
	if r.status != 500 || strings.Contains(r.body, "—") || strings.Contains(r.body, c.Dir) {
		t.Errorf("%d %q", r.status, r.body)
	}
	if kept := s.get("/checkpoint/" + idOf(l.origin)); !strings.Contains(kept.body, "\n3\n") {
		t.Errorf("shows what it did not keep: %s", kept.body)
	}
	os.Remove(blocked)
	s.cosigned(l, 3, 8)
}

// A log may change its key: the state is carried over.
func TestLogChangesItsKey(t *testing.T) {
	before, after := newLog(t, "log.example"), newLog(t, "log.example")
	before.grow(6, "entry")
	after.hashes, after.size = before.hashes, before.size
	c := testConfig(t, before, after)
	s := open(t, c)
	s.cosigned(before, 0, 4)
	s.cosigned(after, 4, 6)
	s.close()
	c.Logs = []string{after.vkey}
	s = open(t, c)
	s.refused(before.request(6, 6), 403, "no signature")
	s.cosigned(after, 6, 6)
}
