package log

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"clerestory.dev/clerestory/internal/base/crash"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/base/store/storetest"
	"clerestory.dev/clerestory/internal/ledger/logread"
	"clerestory.dev/clerestory/internal/ledger/tile"
	"clerestory.dev/clerestory/statement"
)

// childEnv makes the test binary a server that says statements until it dies.
const childEnv = "CLERESTORY_LOG_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		speakUntilKilled(dir)
	}
	os.Exit(m.Run())
}

// speakUntilKilled prints a line for each statement that it was told is durable.
func speakUntilKilled(dir string) {
	t := &testing.T{} // for helpers that only fail where this process dies anyway
	v := newVendor(t, filepath.Join(dir, "log"))
	db, err := store.Open(context.Background(), filepath.Join(dir, "db"))
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	w, err := v.open(db)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	for i := range 4 {
		go func() {
			for j := 0; ; j++ {
				n, sum, err := v.trySay(db, fmt.Sprintf("process %d at %d, writer %d, statement %d", os.Getpid(), time.Now().UnixNano(), i, j))
				if err != nil {
					fmt.Println("error", err)
					os.Exit(1)
				}
				fmt.Println("said", n, sum)
				if j%3 == 0 {
					if _, err := w.Wait(context.Background(), n); err != nil {
						fmt.Println("error", err)
						os.Exit(1)
					}
				}
			}
		}()
	}
	select {}
}

func TestKilledAtAnyMomentNothingIsLostOrDoubled(t *testing.T) {
	budget := 25 * time.Second
	if testing.Short() {
		budget = 5 * time.Second
	}
	end := time.Now().Add(budget)
	dir := t.TempDir()
	said := map[int64]string{}
	deaths := map[string]int{}
	// Each named moment, soon after the start and in full swing, ...
	for _, k := range []int{1, 40} {
		for _, point := range crash.Points {
			if died := runChild(t, dir, fmt.Sprintf("%s:%d", point, k), 4*time.Second, said); died {
				deaths[point]++
			}
		}
	}
	for _, point := range crash.Points {
		if deaths[point] == 0 {
			t.Errorf("no process got as far as %s", point)
		}
	}
	// ... and moments that nobody thought of.
	random := rand.New(rand.NewPCG(1, 2))
	for time.Now().Before(end) {
		runChild(t, dir, "", time.Duration(20+random.IntN(600))*time.Millisecond, said)
		deaths["at random"]++
	}
	t.Logf("%d acknowledged statements; killed %v", len(said), deaths)

	v := newVendor(t, filepath.Join(dir, "log"))
	db := storetest.Open(t, filepath.Join(dir, "db"))
	w := v.write(t, db)
	next, err := db.Next(context.Background())
	if err != nil || next == 0 || len(said) == 0 {
		t.Fatalf("%d statements, %d acknowledged, %v", next, len(said), err)
	}
	if _, err := w.Wait(soon(t), next-1); err != nil {
		t.Fatal(err)
	}
	allEntriesAreRows(t, v.config.Dir, db)
	for n, sum := range said {
		row, err := db.SaidAt(context.Background(), n)
		if err != nil || statement.HashOf(row.Envelope) != sum {
			t.Errorf("statement %d (%s) was acknowledged and is not there: %v", n, sum, err)
		}
	}
	r, err := logread.Check(context.Background(), tile.Dir(v.config.Dir), w.policy.Policy, logread.Options{})
	if err != nil || r.Entries != next {
		t.Errorf("checking the whole log: %+v, %v", r, err)
	}
}

// runChild lets a server speak until it kills itself at a crash point, or is
// killed after a while, and gathers what it was told. It reports whether it died
// by itself.
func runChild(t *testing.T, dir, point string, after time.Duration, said map[int64]string) bool {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^$")
	child.Env = append(os.Environ(), childEnv+"="+dir, "CLERESTORY_CRASH="+point)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var byUs atomic.Bool
	timer := time.AfterFunc(after, func() { byUs.Store(true); child.Process.Kill() })
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var n int64
		var sum string
		if strings.HasPrefix(lines.Text(), "error") {
			t.Errorf("at %q: %s", point, lines.Text())
		}
		// The last line may have been cut by the kill: then it was not acknowledged.
		if c, _ := fmt.Sscanf(lines.Text(), "said %d %s", &n, &sum); c == 2 && len(sum) == 64 {
			if before, ok := said[n]; ok && before != sum {
				t.Errorf("statement %d was acknowledged twice, for different texts", n)
			}
			said[n] = sum
		}
	}
	timer.Stop()
	child.Wait()
	return !byUs.Load()
}
