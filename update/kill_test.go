//go:build unix

package update

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
)

// childEnv makes the test binary a client that is killed, or runs out of disk.
const childEnv = "CLERESTORY_UPDATE_CHILD"

type child struct {
	Trust  []byte
	Repo   string
	Dir    string
	Now    time.Time
	Health string
	Moment string // die there
	Nth    int    // the nth time
	Fsize  uint64 // bytes that a file may have; 0 for any
}

func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		os.Exit(beChild(text))
	}
	os.Exit(m.Run())
}

// beChild runs one update; its last line is the code of what came of it.
func beChild(text string) int {
	var x child
	if err := json.Unmarshal([]byte(text), &x); err != nil {
		fmt.Println(err)
		return 2
	}
	if x.Fsize > 0 {
		signal.Ignore(syscall.SIGXFSZ)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: x.Fsize, Max: x.Fsize}); err != nil {
			fmt.Println(err)
			return 2
		}
	}
	c, err := New(Config{Trust: x.Trust, Repo: x.Repo, Dir: x.Dir, Product: "lantern", Channel: "stable", Now: func() time.Time { return x.Now }, Health: HealthCommand(x.Health)})
	if err != nil {
		fmt.Println(err)
		return 2
	}
	n := 0
	c.at = func(moment string) {
		if moment == x.Moment {
			if n++; n == x.Nth {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		}
	}
	_, err = c.Update(context.Background())
	fmt.Printf("%v\n%s\n", err, CodeOf(err))
	return 0
}

// runChild tells whether the child died where it should, and what it said.
func (m *mirror) runChild(x child) (killed bool, said string) {
	m.t.Helper()
	x.Trust, x.Repo, x.Now = m.files["metadata/1.root.json"], m.server.URL, m.Now
	text, err := json.Marshal(x)
	if err != nil {
		m.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
			return true, ""
		}
		m.t.Fatalf("%v: %s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return false, lines[len(lines)-1]
}

// moments are where a client can be killed.
var moments = []string{"state-written", "timestamp-believed", "snapshot-believed", "bytes-stored", "file-collected", "tree-built", "version-built",
	"trial-kept", "link-made", "version-in-place", "health-asked", "version-restored", "trial-passed"}

func TestKilledAtAnyMomentItHasTheOldVersionOrTheNewOne(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many processes")
	}
	for name, x := range map[string]struct{ health, ends string }{
		"good": {"true", "1.1.0"},
		"sick": {"grep -q one notes.txt", "1.0.0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			killEverywhere(t, x.health, x.ends)
		})
	}
}

func killEverywhere(t *testing.T, health, ends string) {
	m := newMirror(t)
	m.release("1.0.0", lantern("one"))
	old := m.copyFiles()
	m.release("1.1.0", lantern("two"))
	fresh := m.copyFiles()
	content := map[string]map[string]string{"1.0.0": lantern("one"), "1.1.0": lantern("two")}
	deaths := 0
	for _, moment := range moments {
		for nth := 1; ; nth++ {
			c := m.client(func(cfg *Config) { cfg.Health = HealthCommand(health) })
			m.files = old
			update(t, c)
			m.files = fresh
			killed, _ := m.runChild(child{Dir: c.cfg.Dir, Health: health, Moment: moment, Nth: nth})
			now, err := c.inPlace()
			if err != nil || content[now] == nil {
				t.Fatalf("%s %d: %q is in place: %v", moment, nth, now, err)
			}
			holds(t, c, now, content[now])
			if !killed {
				break
			}
			deaths++
			if _, err := c.Update(context.Background()); err != nil && CodeOf(err) != HealthFailed {
				t.Fatalf("%s %d: afterwards: %v", moment, nth, err)
			}
			if _, err := c.Update(context.Background()); err != nil && CodeOf(err) != HealthFailed {
				t.Fatalf("%s %d: afterwards: %v", moment, nth, err)
			}
			holds(t, c, ends, content[ends])
		}
	}
	t.Logf("killed %d times", deaths)
}

func TestADiskThatIsFull(t *testing.T) {
	m, c := begun(t)
	big := lantern(fmt.Sprint(time.Now(), strings.Repeat("not repeated by anything before", 20_000)))
	m.release("1.1.0", big)
	for i := range m.head.Releases[1].Files {
		m.head.Releases[1].Files[i].Deltas = nil
	}
	m.publish()
	for _, limit := range []uint64{200, 3000, 100_000} {
		if killed, said := m.runChild(child{Dir: c.cfg.Dir, Health: "true", Fsize: limit}); killed || said != string(Disk) {
			t.Fatal(limit, killed, said)
		}
		holds(t, c, "1.0.0", lantern("one"))
	}
	c2 := m.client(func(cfg *Config) { cfg.Dir = c.cfg.Dir })
	update(t, c2)
	holds(t, c, "1.1.0", big)
	if err := c.point("1.0.0"); err != nil { // for the check at the end
		t.Fatal(err)
	}
}
