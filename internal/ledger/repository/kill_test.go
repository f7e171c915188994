package repository_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"clerestory.dev/clerestory/internal/ledger/repository"
)

// TestKilledWriter is no test: it is the process that the next one kills.
func TestKilledWriter(t *testing.T) {
	dir := os.Getenv("CLERESTORY_KILLED_REPOSITORY")
	if dir == "" {
		t.Skip("run by TestAKilledWriterLeavesAWholeRepository")
	}
	v := openVendor(t, dir, filepath.Join(dir, "clerestory.db"))
	v.now = start.Add(time.Hour)
	// A new version and a new root, so that every moment is met.
	old := v.rotate()
	must(t, os.WriteFile(filepath.Join(dir, "2.root.json"), v.files[1], 0o644))
	_, err := v.Publish(ctx, func(ctx context.Context) error {
		_, err := v.Offer(ctx, v.version("1.1.0", "two"), 100, "seed")
		return err
	}, append(v.signers(), old[0], old[1])...)
	must(t, err)
}

func TestAKilledWriterLeavesAWholeRepository(t *testing.T) {
	for _, moment := range repository.Moments {
		t.Run(moment, func(t *testing.T) {
			dir := t.TempDir()
			v := openVendor(t, dir, filepath.Join(dir, "clerestory.db"))
			v.publish("1.0.0", "one")
			seen := v.client(v.Dir)
			seen.head()

			cmd := exec.Command(os.Args[0], "-test.run=^TestKilledWriter$")
			cmd.Env = append(os.Environ(), "CLERESTORY_KILLED_REPOSITORY="+dir, "CLERESTORY_CRASH="+moment)
			out, err := cmd.CombinedOutput()
			if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.String() != "signal: killed" {
				t.Fatalf("it was not killed: %v\n%s", err, out)
			}
			v.now = start.Add(time.Hour)
			// Who has seen the old state and who comes anew both find a whole one.
			for _, c := range []*client{seen, v.client(v.Dir)} {
				h := c.head()
				if _, err := c.get("agent/" + h.Releases[len(h.Releases)-1].Version + "/agent.bin"); err != nil {
					t.Fatal(err)
				}
			}
			// The next process finishes what was signed.
			v = openVendor(t, dir, filepath.Join(dir, "clerestory.db"))
			root, err := os.ReadFile(filepath.Join(dir, "2.root.json"))
			must(t, err)
			v.files = append(v.files, root)
			v.now = start.Add(2 * time.Hour)
			v.Online = append(v.Online, v.key("online-v2", "online"))
			if done, err := v.Renew(ctx); !done || err != nil {
				t.Fatal(done, err)
			}
			for _, c := range []*client{seen, v.client(v.Dir)} {
				if h := c.head(); len(h.Releases) != 2 {
					t.Fatalf("%+v", h)
				}
			}
			if done, err := v.Renew(ctx); done || err != nil {
				t.Fatalf("it renews again: %v, %v", done, err)
			}
		})
	}
}
