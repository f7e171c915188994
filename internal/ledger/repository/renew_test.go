package repository_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/base/store/storetest"
	"clerestory.dev/clerestory/internal/ledger/keyring"
	"clerestory.dev/clerestory/internal/ledger/repository"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/update"
	"clerestory.dev/clerestory/verify"
)

func TestTheOnlineKeyKeepsARepositoryFresh(t *testing.T) {
	v := newVendor(t, db(t))
	v.publish("1.0.0", "one")
	c := v.client(v.Dir)
	renewed := 0
	for range 20 * 24 / 6 { // 20 days, looked at every six hours
		v.now = v.now.Add(6 * time.Hour)
		done, err := v.Renew(ctx)
		must(t, err)
		if done {
			renewed++
			time.Sleep(25 * time.Millisecond) // the handler looks at the file that often; our days are shorter
		}
		if _, err := c.refresh(); err != nil {
			t.Fatalf("on %v: %v", v.now, err)
		}
	}
	if renewed < 25 || renewed > 40 {
		t.Fatalf("renewed %d times in 20 days", renewed)
	}
	all, err := v.Expiries(ctx)
	must(t, err)
	text := ""
	for _, x := range all {
		text += fmt.Sprintf("%s online=%v soon=%v, ", x.Role, x.Online, x.Soon)
	}
	if want := "timestamp online=true soon=false, "; !strings.HasPrefix(text, want) {
		t.Fatal(text)
	}
	v.now = start.Add(70 * 24 * time.Hour) // release keys sign for 90 days
	all, err = v.Expiries(ctx)
	must(t, err)
	for _, x := range all {
		if x.Role == "agent" && (!x.Soon || x.Online) {
			t.Fatalf("%+v", x)
		}
	}
	stage, err := v.Stage(ctx)
	if err != nil || len(stage.Documents) != 1 || stage.Documents[0].Role != "agent" {
		t.Fatalf("%+v, %v", stage, err)
	}
}

func TestAProductsKeysRotateAndOldClientsFollow(t *testing.T) {
	v := newVendor(t, db(t))
	v.publish("1.0.0", "one")
	c := v.client(v.Dir)
	c.head()
	fresh := []*keyring.Key{v.key("release-4", "release"), v.key("release-5", "release")}
	v.Release = func(context.Context, string) (repository.Keys, error) { return keysOf(2, fresh...), nil }
	if _, err := v.Publish(ctx, nil, v.signers()...); err == nil {
		t.Fatal("the old release keys still sign")
	}
	if _, err := v.Publish(ctx, nil, v.roots[1], v.roots[2], fresh[0], fresh[1]); err != nil {
		t.Fatal(err)
	}
	if h := c.head(); len(h.Releases) != 1 {
		t.Fatalf("%+v", h)
	}
	v.release = fresh
	v.publish("1.1.0", "two")
	if h := c.head(); len(h.Releases) != 2 {
		t.Fatalf("%+v", h)
	}
}

// rotate makes a root with other keys, and another online key.
func (v *vendor) rotate() (old []*keyring.Key) {
	v.t.Helper()
	trust, err := verify.ParseTrust(v.files[len(v.files)-1])
	must(v.t, err)
	n := len(v.files) + 1
	var fresh []*keyring.Key
	for i := range 3 {
		fresh = append(fresh, v.key(fmt.Sprintf("root-%d-v%d", i+1, n), "root"))
	}
	online := v.key(fmt.Sprintf("online-v%d", n), "online")
	v.plan.Online = []keyring.Public{online.Public}
	file, err := keyring.RotateRoot(trust, v.plan, keyring.PublicOf(fresh), append(v.roots[:2:2], fresh...), 0)
	must(v.t, err)
	old, v.roots, v.files = v.roots, fresh, append(v.files, file)
	v.Online = []statement.Signer{v.online, online} // both, while clients move
	v.online = online
	return old
}

func TestTheRootRotatesAndOldClientsFollow(t *testing.T) {
	v := newVendor(t, db(t))
	v.publish("1.0.0", "one")
	c, asleep := v.client(v.Dir), v.client(v.Dir)
	c.head()
	asleep.head()
	old := v.rotate()
	if _, err := v.Publish(ctx, nil, append(v.signers(), old[0], old[1])...); err != nil {
		t.Fatal(err)
	}
	c.head()
	v.Online = v.Online[1:]
	v.publish("1.1.0", "two")
	c.head()
	old = v.rotate() // once more; this time only the new keys sign the list of products
	if _, err := v.Publish(ctx, nil, v.signers()...); err != nil {
		t.Fatal(err)
	}
	_ = old
	v.publish("1.2.0", "three")
	for _, c := range []*client{c, asleep, v.client(v.Dir)} {
		if h := c.head(); len(h.Releases) != 3 {
			t.Fatalf("%+v", h)
		}
	}
	root, err := os.ReadFile(filepath.Join(v.Dir, "metadata", "3.root.json"))
	if err != nil || string(root) != string(v.files[2]) {
		t.Fatal("the root is not the vendor's file, byte for byte", err)
	}
}

func TestARootThatWaitsForSignaturesStopsNobody(t *testing.T) {
	v := newVendor(t, db(t))
	v.publish("1.0.0", "one")
	c := v.client(v.Dir)
	v.rotate()
	renewed := 0
	for range 12 {
		v.now = v.now.Add(6 * time.Hour)
		done, err := v.Renew(ctx)
		must(t, err)
		if done {
			renewed++
		}
		c.head()
	}
	if renewed < 3 || renewed > 6 {
		t.Fatalf("renewed %d times in three days", renewed)
	}
	if st, err := v.Status(ctx); err != nil || !st.Unstaged {
		t.Fatalf("%+v, %v", st, err)
	}
	v.show(nil)
	if _, err := os.Stat(filepath.Join(v.Dir, "metadata", "2.root.json")); err != nil {
		t.Fatal(err)
	}
	c.head()
}

func TestManyTargetsAreSpreadOverBins(t *testing.T) {
	v := newVendor(t, db(t))
	v.Policy.Flat, v.Policy.Keep = 40, 3
	files := 30
	many := func(version string) repository.Release {
		var more []string
		for i := range files {
			more = append(more, fmt.Sprintf("rules/%d.yar", i), fmt.Sprintf("rule %d of %s", i, version))
		}
		return v.version(version, "binary "+version, more...)
	}
	offer := func(version string) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := v.Offer(ctx, many(version), 100, "s")
			return err
		}
	}
	v.show(offer("1.0.0"))
	c := v.client(v.Dir)
	for i, version := range []string{"1.1.0", "1.2.0", "1.3.0", "1.4.0"} {
		v.show(offer(version))
		got, err := c.get("agent/" + version + "/rules/7.yar")
		if err != nil || string(got) != "rule 7 of "+version {
			t.Fatalf("%s: %q, %v", version, got, err)
		}
		if h := c.head(); len(h.Releases) != min(i+2, 3) {
			t.Fatalf("%+v", h)
		}
	}
	if found, _ := filepath.Glob(filepath.Join(v.Dir, "metadata", "*.agent~bin-*.json")); len(found) < 4 {
		t.Fatalf("bins: %v", found)
	}
	// More files, more bins; the old ones are forgotten by all but the snapshot.
	files = 240
	v.show(offer("2.0.0"))
	if found, _ := filepath.Glob(filepath.Join(v.Dir, "metadata", "*.agent~bin-7.json")); len(found) == 0 {
		t.Fatal("the number of bins did not grow")
	}
	if got, err := c.get("agent/2.0.0/rules/239.yar"); err != nil || string(got) != "rule 239 of 2.0.0" {
		t.Fatalf("%q, %v", got, err)
	}
	v.now = v.now.Add(9 * 24 * time.Hour)
	if _, err := v.Renew(ctx); err != nil {
		t.Fatal(err)
	}
	if n, err := v.Sweep(ctx); err != nil || n < 60 {
		t.Fatal(n, err)
	}
	if got, err := v.client(v.Dir).get("agent/2.0.0/agent.bin"); err != nil || string(got) != "binary 2.0.0" {
		t.Fatalf("%q, %v", got, err)
	}
	// A change of the ring alone signs nothing but the product's own list.
	_, err := v.Halt(ctx, "agent", "stable", "1.4.0")
	must(t, err)
	stage, err := v.Stage(ctx)
	if err != nil || len(stage.Documents) != 1 {
		t.Fatalf("%d documents, %v", len(stage.Documents), err)
	}
}

func TestOldVersionsLeaveAfterTheirGrace(t *testing.T) {
	v := newVendor(t, db(t))
	v.Policy.Keep = 2
	for i := range 4 {
		v.publish(fmt.Sprintf("1.%d.0", i), strings.Repeat("much the same ", 500)+fmt.Sprint(i))
	}
	c := v.client(v.Dir)
	h := c.head()
	if len(h.Releases) != 2 || h.Releases[0].Version != "1.2.0" || h.Releases[1].Number != 4 {
		t.Fatalf("%+v", h.Releases)
	}
	there := func() string {
		found, _ := filepath.Glob(filepath.Join(v.Dir, "targets", "agent", "*"))
		for i := range found {
			found[i] = filepath.Base(found[i])
		}
		return strings.Join(found, " ")
	}
	half := filepath.Join(v.Dir, "targets", "agent", "1.0.0", ".new-123")
	must(t, os.WriteFile(half, nil, 0o644))
	if n, err := v.Sweep(ctx); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	if _, err := os.Stat(half); err == nil {
		t.Fatal("what a killed writer left is still there")
	}
	if there() != "1.0.0 1.1.0 1.2.0 1.3.0 stable" {
		t.Fatal(there())
	}
	v.now = v.now.Add(8 * 24 * time.Hour)
	if n, err := v.Sweep(ctx); n < 10 || err != nil {
		t.Fatal(n, err)
	}
	if there() != "1.2.0 1.3.0 stable" {
		t.Fatal(there())
	}
	if _, err := v.Renew(ctx); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"agent/1.2.0/agent.bin", "agent/1.3.0/agent.bin", update.DeltaTarget("agent", "1.3.0", "agent.bin", h.Releases[0].Files[0].SHA256)} {
		if _, err := c.get(name); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	if n, err := v.Sweep(ctx); n != 0 || err != nil {
		t.Fatal(n, err)
	}
}

func TestAServerKeepsTheRepository(t *testing.T) {
	v := newVendor(t, db(t))
	v.publish("1.0.0", "one")
	v.now = v.now.Add(20 * time.Hour)
	c := v.client(v.Dir)
	ctx, stop := context.WithCancel(ctx)
	done := make(chan bool)
	go func() {
		v.Keep(ctx, time.Hour, func(err error) { t.Error(err) })
		close(done)
	}()
	for range 200 {
		if x, err := v.Expiries(ctx); err == nil && x[0].At.Equal(v.now.Add(24*time.Hour)) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	<-done
	v.now = v.now.Add(20 * time.Hour)
	c.head()
}

func TestALostFolderIsWrittenAgain(t *testing.T) {
	v := newVendor(t, db(t))
	v.publish("1.0.0", "one")
	v.publish("1.1.0", "two")
	c := v.client(v.Dir)
	c.head()
	must(t, os.RemoveAll(v.Dir))
	if done, err := v.Renew(ctx); !done || err != nil {
		t.Fatal(done, err)
	}
	c.head() // numbers went on
	if got, err := v.client(v.Dir).get("agent/1.0.0/agent.bin"); string(got) != "one" || err != nil {
		t.Fatal(string(got), err)
	}
}

func TestTheVersionForEverybodyStaysHoweverOld(t *testing.T) {
	v := newVendor(t, db(t))
	v.Policy.Keep = 2
	v.publish("1.0.0", "one")
	for i := range 3 {
		_, err := v.Offer(ctx, v.version(fmt.Sprintf("1.%d.0", i+1), fmt.Sprint(i)), 0, "s")
		must(t, err)
	}
	v.show(nil)
	if h := v.client(v.Dir).head(); len(h.Releases) != 2 || h.Releases[0].Version != "1.0.0" || h.Releases[1].Version != "1.3.0" {
		t.Fatalf("%+v", h.Releases)
	}
}

func TestTheLogSaysWhoReleasesAProduct(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		v := newVendor(t, dsn)
		trust, err := verify.ParseTrust(v.files[0])
		must(t, err)
		speaker := keyring.Speaker{Trust: trust, Roots: v.roots[:2], Now: v.Now}
		say := func(do func(tx *store.Tx) (int64, error)) {
			t.Helper()
			must(t, v.DB.Write(ctx, func(tx *store.Tx) error { _, err := do(tx); return err }))
		}
		again, err := v.ring.Create("second", "release", "release-1", pass) // of the same holder
		must(t, err)
		for i, k := range []*keyring.Key{v.release[0], v.release[1], v.release[2], again} {
			products := []string{"*"}
			if i == 2 {
				products = []string{"other"}
			}
			say(func(tx *store.Tx) (int64, error) { return speaker.Grant(ctx, tx, k.Public, products) })
		}
		of := repository.KeysOfLog(v.DB, v.Roots)
		keys, err := of(ctx, "agent")
		if err != nil || len(keys.Parties) != 2 || keys.Threshold != 1 || keys.Parties[0].Public.ID() != again.KeyID() {
			t.Fatalf("%+v, %v", keys, err)
		}
		say(func(tx *store.Tx) (int64, error) {
			return speaker.Revoke(ctx, tx, v.release[1].Public, []string{"*"}, 2, "lost")
		})
		if keys, err = of(ctx, "agent"); err != nil || len(keys.Parties) != 1 {
			t.Fatalf("%+v, %v", keys, err)
		}
	})
}
