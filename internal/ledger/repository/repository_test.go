package repository_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store/storetest"
	"clerestory.dev/clerestory/update"
)

func TestAnIndependentClientInstallsWhatIsOffered(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		v := newVendor(t, dsn)
		old := strings.Repeat("the first content of the agent\n", 4000)
		v.publish("1.0.0", old)
		c := v.client(v.Dir)
		if got, err := c.get("agent/1.0.0/agent.bin"); err != nil || string(got) != old {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		v.now = v.now.Add(time.Hour)
		fresh := strings.Replace(old, "first", "second", 7)
		v.publish("1.1.0", fresh)
		h := c.head()
		if len(h.Releases) != 2 || h.Sequence != 2 || h.Releases[1].Number != 2 || h.Releases[1].Reproducible != 2 {
			t.Fatalf("%+v", h)
		}
		deltas := h.Releases[1].Files[0].Deltas
		if len(deltas) != 1 {
			t.Fatalf("no delta: %+v", h.Releases[1].Files)
		}
		delta, err := c.get(update.DeltaTarget("agent", "1.1.0", "agent.bin", deltas[0].From))
		must(t, err)
		got, err := update.ApplyDelta([]byte(old), delta, int64(len(fresh)))
		if err != nil || string(got) != fresh {
			t.Fatalf("the delta leads to %d bytes, %v", len(got), err)
		}
		if b, err := c.get("agent/1.1.0/agent.bin.clerestory"); string(b) != "bundle of agent.bin 1.1.0" || err != nil {
			t.Fatalf("bundle %q, %v", b, err)
		}
	})
}

func TestAVersionNeverGetsASecondContent(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		v := newVendor(t, dsn)
		v.Policy.Keep = 1
		v.publish("1.0.0", "one")
		if _, err := v.Offer(ctx, v.version("1.0.0", "one"), 100, "s"); !errors.Is(err, fault.Conflict) {
			t.Fatalf("offered twice: %v", err)
		}
		v.publish("1.1.0", "two") // 1.0.0 leaves
		if _, err := v.client(v.Dir).get("agent/1.0.0/agent.bin"); err == nil {
			t.Fatal("1.0.0 is still offered")
		}
		if _, err := v.Offer(ctx, v.version("1.0.0", "other bytes"), 100, "s"); !errors.Is(err, fault.Conflict) {
			t.Fatalf("other bytes after it has left: %v", err)
		}
		beta := v.version("1.1.0", "other bytes")
		beta.Channel = "beta"
		if _, err := v.Offer(ctx, beta, 100, "s"); !errors.Is(err, fault.Conflict) {
			t.Fatalf("other bytes in another channel: %v", err)
		}
	})
}

func TestRingsGrowHaltResumeAndWithdraw(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		v := newVendor(t, dsn)
		v.publish("1.0.0", "one")
		_, err := v.Offer(ctx, v.version("1.1.0", "two"), 10, "seed")
		must(t, err)
		if _, err := v.Ring(ctx, "agent", "stable", "1.1.0", 5); !errors.Is(err, fault.Invalid) {
			t.Fatalf("a ring that shrinks: %v", err)
		}
		_, err = v.Halt(ctx, "agent", "stable", "1.1.0")
		must(t, err)
		if _, err := v.Ring(ctx, "agent", "stable", "1.1.0", 50); !errors.Is(err, fault.Conflict) {
			t.Fatalf("a halted offer grows: %v", err)
		}
		_, err = v.Resume(ctx, "agent", "stable", "1.1.0")
		must(t, err)
		_, err = v.Ring(ctx, "agent", "stable", "1.1.0", 50)
		must(t, err)
		v.show(nil)
		c := v.client(v.Dir)
		if o := c.head().Releases[1]; o.Percent != 50 || o.Halted {
			t.Fatalf("%+v", o)
		}
		_, err = v.Withdraw(ctx, "agent", "stable", "1.1.0", 10, "it deletes what it should not")
		must(t, err)
		v.show(nil)
		h := c.head()
		if w, ok := h.RevokedVersion("1.1.0"); !ok || len(h.Releases) != 1 || w.Reason != "it deletes what it should not" {
			t.Fatalf("%+v", h)
		}
		if _, err := c.get("agent/1.1.0/agent.bin"); err == nil {
			t.Fatal("a withdrawn version is still offered")
		}
		if _, err := v.Offer(ctx, v.version("1.1.0", "two"), 100, "s"); !errors.Is(err, fault.Conflict) {
			t.Fatalf("a withdrawn version comes back: %v", err)
		}
		// A rollback is a new version with old content.
		if h := v.publish("1.2.0", "one"); h.Releases[1].Number != 3 {
			t.Fatalf("%+v", h.Releases)
		}
	})
}

func TestTooManyFailuresHaltARollout(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		v := newVendor(t, dsn)
		v.publish("1.0.0", "one")
		_, err := v.Offer(ctx, v.version("1.1.0", "two"), 10, "seed")
		must(t, err)
		v.show(nil)
		for _, step := range []struct {
			ok, failed int64
			halted     bool
		}{{0, 9, false}, {10, 0, false}, {1, 0, true}, {1000, 0, true}} {
			r, err := v.Health(ctx, "agent", "stable", "1.1.0", step.ok, step.failed)
			if err != nil || r.Halted != step.halted {
				t.Fatalf("%+v: %+v, %v", step, r, err)
			}
		}
		if _, err := v.Health(ctx, "agent", "stable", "0.9", 1, 1); !errors.Is(err, fault.NotFound) {
			t.Fatalf("a version that is not offered: %v", err)
		}
		// Clients are told at once, with the online key alone.
		done, err := v.Renew(ctx)
		if err != nil || !done {
			t.Fatal(done, err)
		}
		c := v.client(v.Dir)
		stop, err := c.get("agent/stable/stop.json")
		if err != nil || !strings.Contains(string(stop), `"halted":["1.1.0"]`) {
			t.Fatalf("%s, %v", stop, err)
		}
		if c.head().Releases[1].Halted {
			t.Fatal("the head changed without its keys")
		}
		v.show(nil)
		if !c.head().Releases[1].Halted {
			t.Fatal("the signed head does not say that the offer is halted")
		}
		if _, err := v.Resume(ctx, "agent", "stable", "1.1.0"); err != nil {
			t.Fatal(err)
		}
		if r, err := v.Health(ctx, "agent", "stable", "1.1.0", 1, 1); err != nil || r.Halted || r.OK != 1 {
			t.Fatalf("old reports halt a resumed offer: %+v, %v", r, err)
		}
	})
}
