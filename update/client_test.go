package update

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func lantern(text string) map[string]string {
	return map[string]string{"bin/lantern": "#!/bin/sh\necho " + text + "\n", "notes.txt": text}
}

// holds fails unless the version in place is this one, whole.
func holds(t *testing.T, c *Client, version string, files map[string]string) {
	t.Helper()
	got, err := c.inPlace()
	if err != nil || got != version {
		t.Fatalf("version %q is in place; expected %q (%v)", got, version, err)
	}
	for name, content := range files {
		b, err := os.ReadFile(filepath.Join(c.cfg.Dir, "current", name))
		if err != nil || string(b) != content {
			t.Fatalf("%s of %s is %.40q; expected %.40q (%v)", name, version, b, content, err)
		}
	}
}

func update(t *testing.T, c *Client) *Result {
	t.Helper()
	r, err := c.Update(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// refused fails unless an update is refused with a code, and says so in one line.
func refused(t *testing.T, c *Client, code Code, words ...string) *Result {
	t.Helper()
	r, err := c.Update(context.Background())
	if !errors.Is(err, code) || CodeOf(err) != code {
		t.Fatalf("expected %s, got %q: %v", code, CodeOf(err), err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("the reason is not one line: %q", err)
	}
	t.Logf("%s: %v", code, err)
	return r
}

func TestAReleaseArrivesAndTheNextOneReplacesIt(t *testing.T) {
	m := newMirror(t)
	m.release("1.0.0", lantern("one"))
	c := m.client()
	r := update(t, c)
	if !r.Updated || r.Version != "1.0.0" || r.Builders != 2 || r.LogSize != m.Log.Size() {
		t.Fatalf("%+v", r)
	}
	holds(t, c, "1.0.0", lantern("one"))
	if info, err := os.Stat(filepath.Join(c.cfg.Dir, "current/bin/lantern")); err != nil || info.Mode().Perm() != 0o755 {
		t.Error("the program can not be run", err)
	}
	m.release("1.1.0", lantern("two"))
	if r := update(t, c); !r.Updated || r.Before != "1.0.0" || r.Version != "1.1.0" {
		t.Fatalf("%+v", r)
	}
	holds(t, c, "1.1.0", lantern("two"))
	if _, err := os.Stat(c.versions("1.0.0")); err != nil {
		t.Error("the version before was not kept:", err)
	}
	m.release("1.2.0", lantern("three"))
	update(t, c)
	if _, err := os.Stat(c.versions("1.0.0")); err == nil {
		t.Error("versions pile up")
	}
}

func TestACheckWithNothingNewIsOneSmallRequest(t *testing.T) {
	m := newMirror(t)
	m.release("1.0.0", lantern("one"))
	c := m.client()
	update(t, c)
	m.requests()
	r := update(t, c)
	if got := m.requests(); len(got) != 1 || got[0] != "metadata/timestamp.json" {
		t.Fatal(got)
	}
	if r.Updated || r.Version != "1.0.0" || r.Traffic.Requests != 1 || r.Traffic.Bytes >= 2000 {
		t.Fatalf("%+v", r)
	}
	t.Log(r.Traffic.Bytes, "bytes")
}

func TestCheckDownloadsNothing(t *testing.T) {
	m := newMirror(t)
	m.release("1.0.0", lantern("one"))
	c := m.client()
	r, err := c.Check(context.Background())
	if err != nil || r.Available != "1.0.0" || r.Updated || r.Version != "" {
		t.Fatalf("%+v %v", r, err)
	}
	for _, name := range m.requests() {
		if strings.HasSuffix(name, "notes.txt") {
			t.Error("it fetched", name)
		}
	}
	holds(t, c, "", nil)
	update(t, c)
}

func TestAPlainFolderIsARepository(t *testing.T) {
	m := newMirror(t)
	m.release("1.0.0", lantern("one"))
	root := m.folder()
	for _, where := range []string{root, "file://" + filepath.ToSlash(root)} {
		c := m.client(func(cfg *Config) { cfg.Repo = where })
		update(t, c)
		holds(t, c, "1.0.0", lantern("one"))
	}
}

func TestADayOfABaseTravelsAsADelta(t *testing.T) {
	m := newMirror(t)
	old, new := map[string]string{"base.hsb": string(base(2000, 0))}, map[string]string{"base.hsb": string(base(2000, 1))}
	m.release("1", old)
	c := m.client()
	update(t, c)
	o := m.release("2", new)
	m.requests()
	r := update(t, c)
	holds(t, c, "2", new)
	asked := m.requests()
	full := "targets/lantern/2/" + o.Files[0].SHA256 + ".base.hsb"
	if slices.Contains(asked, full) || len(r.Notes) > 0 {
		t.Fatal(asked, r.Notes)
	}
}

func TestAHeldBackReleaseWaitsAndAHaltedOneStops(t *testing.T) {
	m := newMirror(t)
	m.release("1.0.0", lantern("one"))
	c := m.client()
	update(t, c)
	m.release("1.1.0", lantern("two"))
	offer := &m.head.Releases[1]
	for _, change := range []func(){func() { offer.Percent = 0 }, func() { offer.Percent, offer.Halted = 100, true }} {
		change()
		m.publish()
		if r := update(t, c); r.Updated {
			t.Fatalf("%+v", r)
		}
	}
	offer.Halted = false
	m.publish()
	update(t, c)
	holds(t, c, "1.1.0", lantern("two"))
	offer.Halted = true // who has it keeps it
	m.publish()
	update(t, c)
	holds(t, c, "1.1.0", lantern("two"))
}

func TestAVersionThatIsSickGivesWayToTheOneBefore(t *testing.T) {
	m := newMirror(t)
	m.release("1.0.0", lantern("one"))
	c := m.client(func(cfg *Config) {
		cfg.Health = HealthCommand(`grep -q -e one -e three notes.txt || { echo "no light"; exit 4; }`)
	})
	update(t, c)
	m.release("1.1.0", lantern("two"))
	refused(t, c, HealthFailed, "1.1.0", "1.0.0 is back", "no light")
	holds(t, c, "1.0.0", lantern("one"))
	r := update(t, c)
	if r.Updated || len(r.Notes) != 1 {
		t.Fatalf("it was tried again: %+v", r)
	}
	m.requests()
	if r := update(t, c); len(m.requests()) != 1 || len(r.Notes) != 1 {
		t.Fatalf("%+v", r)
	}
	m.release("1.2.0", lantern("three"))
	update(t, c)
	holds(t, c, "1.2.0", lantern("three"))
}

func TestAHealthCheckThatHangsIsAFailure(t *testing.T) {
	m := newMirror(t)
	m.release("1.0.0", lantern("one"))
	c := m.client(func(cfg *Config) {
		cfg.Health, cfg.Limits.Health = HealthCommand("sleep 60"), 200*time.Millisecond
	})
	refused(t, c, HealthFailed, "did not end in time")
	holds(t, c, "", nil)
}

func TestARollbackIsANewVersionWithOldContent(t *testing.T) {
	m := newMirror(t)
	m.release("1.0.0", lantern("one"))
	m.release("1.1.0", lantern("two"))
	c := m.client()
	update(t, c)
	m.release("1.1.1", lantern("one"))
	update(t, c)
	holds(t, c, "1.1.1", lantern("one"))
}

func TestOneClientAtATime(t *testing.T) {
	m := newMirror(t)
	m.release("1.0.0", lantern("one"))
	c := m.client()
	c.at = func(moment string) {
		if moment == "version-built" {
			if _, err := c.Check(context.Background()); !errors.Is(err, Busy) {
				t.Error("a second client came in:", err)
			}
		}
	}
	update(t, c)
}

func TestAnOfferThatIsStoppedAtOnceIsNotTaken(t *testing.T) {
	m := newMirror(t)
	m.release("1.0.0", lantern("one"))
	c := m.client()
	update(t, c)
	m.release("1.1.0", lantern("two"))
	stop := func(product, versions string) {
		m.addTarget(StopTarget("lantern", "stable"), []byte(`{"mediaType":"`+StopType+`","product":"`+product+`","channel":"stable","halted":[`+versions+`]}`))
		m.sign()
	}
	stop("lantern", `"1.1.0"`)
	update(t, c)
	holds(t, c, "1.0.0", lantern("one"))
	stop("other", `"1.1.0"`)
	refused(t, c, MixAndMatch, "stops of other")
	stop("lantern", `1`)
	refused(t, c, Malformed, "stops")
	stop("lantern", ``)
	update(t, c)
	holds(t, c, "1.1.0", lantern("two"))
}

func TestAVersionThatWasDeletedIsInstalledAgain(t *testing.T) {
	m := newMirror(t)
	m.release("1.0.0", lantern("one"))
	c := m.client()
	update(t, c)
	if err := os.RemoveAll(c.versions("1.0.0")); err != nil {
		t.Fatal(err)
	}
	if r := update(t, c); !r.Updated || len(r.Notes) != 1 {
		t.Fatalf("%+v", r)
	}
	holds(t, c, "1.0.0", lantern("one"))
}

func TestWatchGoesOnAfterAFailureUntilItIsStopped(t *testing.T) {
	m := newMirror(t)
	m.release("1.0.0", lantern("one"))
	m.files["metadata/timestamp.json"], m.files["kept"] = nil, m.files["metadata/timestamp.json"]
	c := m.client()
	ctx, stop := context.WithCancel(context.Background())
	var told []string
	err := c.Watch(ctx, 5*time.Millisecond, func(r *Result, err error) {
		told = append(told, string(CodeOf(err))+r.Version)
		m.mu.Lock()
		m.files["metadata/timestamp.json"] = m.files["kept"]
		m.mu.Unlock()
		if len(told) == 3 {
			stop()
		}
	})
	if !errors.Is(err, context.Canceled) || !slices.Equal(told, []string{"malformed", "1.0.0", "1.0.0"}) {
		t.Fatal(err, told)
	}
}

func TestWhatCanNotWorkIsRefusedAtOnce(t *testing.T) {
	m := newMirror(t)
	for why, change := range map[string]func(*Config){
		"no trust":          func(cfg *Config) { cfg.Trust = []byte("{}") },
		"no folder":         func(cfg *Config) { cfg.Dir = "" },
		"no repository":     func(cfg *Config) { cfg.Repo = "" },
		"an odd scheme":     func(cfg *Config) { cfg.Repo = "ftp://updates.example" },
		"a far file":        func(cfg *Config) { cfg.Repo = "file://server/share" },
		"no product":        func(cfg *Config) { cfg.Product = "" },
		"a product's path":  func(cfg *Config) { cfg.Product = "../x" },
		"fewer than nobody": func(cfg *Config) { cfg.Policy.Builders = -1 },
	} {
		cfg := Config{Trust: m.files["metadata/1.root.json"], Repo: m.server.URL, Dir: t.TempDir(), Product: "lantern", Channel: "stable"}
		change(&cfg)
		if _, err := New(cfg); err == nil {
			t.Error(why)
		}
	}
}
