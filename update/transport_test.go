package update

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"clerestory.dev/clerestory/verify/verifytest"
)

// on makes the mirror hostile about files whose name ends so.
func (m *mirror) on(suffix string, answer func(w http.ResponseWriter, r *http.Request)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hostile = func(w http.ResponseWriter, r *http.Request, name string) bool {
		if strings.HasSuffix(name, suffix) {
			answer(w, r)
			return true
		}
		return false
	}
}

// endless sends until the client has had enough, and counts.
func endless(sent *atomic.Int64) func(w http.ResponseWriter, r *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		for b := make([]byte, 64<<10); r.Context().Err() == nil; {
			n, err := w.Write(b)
			if sent.Add(int64(n)); err != nil || sent.Load() > 50<<30 {
				return
			}
		}
	}
}

func TestEndlessData(t *testing.T) {
	for _, suffix := range []string{"timestamp.json", "2.root.json", ".snapshot.json", ".lantern.json", ".head.json", "checkpoint", ".clerestory", ".notes.txt"} {
		t.Run(suffix, func(t *testing.T) {
			m, c := begun(t)
			m.release("1.1.0", lantern("two"))
			var sent atomic.Int64
			m.on(suffix, endless(&sent))
			refused(t, c, EndlessData, "endless data")
			m.server.CloseClientConnections()
			if n := sent.Load(); n > 64<<20 {
				t.Errorf("%d bytes were taken", n)
			}
		})
	}
}

func TestASlowDrip(t *testing.T) {
	for _, suffix := range []string{"timestamp.json", "lantern.json", ".lantern"} {
		t.Run(suffix, func(t *testing.T) {
			m, c := begun(t, func(cfg *Config) { cfg.Limits.Patience = 150 * time.Millisecond })
			m.release("1.1.0", lantern(strings.Repeat("two ", 5000)))
			m.on(suffix, func(w http.ResponseWriter, r *http.Request) {
				for r.Context().Err() == nil {
					if _, err := w.Write([]byte("x")); err != nil {
						return
					}
					w.(http.Flusher).Flush()
					time.Sleep(5 * time.Millisecond)
				}
			})
			start := time.Now()
			refused(t, c, Slow, "would never end")
			if time.Since(start) > 5*time.Second {
				t.Error("it was patient for", time.Since(start))
			}
		})
	}
}

func TestAMirrorThatNeverAnswersIsUnreachable(t *testing.T) {
	m, c := begun(t, func(cfg *Config) { cfg.Limits.Patience = 100 * time.Millisecond })
	m.release("1.1.0", lantern("two"))
	m.on("timestamp.json", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	_, err := c.Update(context.Background())
	if !errors.Is(err, Unreachable) || Definite(err) {
		t.Fatal(err)
	}
}

func TestWrongLengthAndWrongHash(t *testing.T) {
	for why, x := range map[string]struct {
		code Code
		body func(good string) string
	}{
		"shorter":     {WrongLength, func(good string) string { return good[:len(good)-1] }},
		"nothing":     {WrongLength, func(string) string { return "" }},
		"longer":      {EndlessData, func(good string) string { return good + "x" }},
		"other bytes": {WrongHash, func(good string) string { return strings.Repeat("x", len(good)) }},
	} {
		for _, name := range []string{"notes.txt", "head.json", "lantern.clerestory"} {
			t.Run(why+" "+name, func(t *testing.T) {
				m, c := begun(t)
				m.release("1.1.0", lantern("two"))
				good := ""
				for path, b := range m.files {
					if strings.HasPrefix(path, "targets/lantern/1.1.0/") && strings.HasSuffix(path, "."+name) || name == "head.json" && strings.HasSuffix(path, m.targetSum(HeadTarget("lantern", "stable"))+".head.json") {
						good = string(b)
					}
				}
				m.on("."+name, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, x.body(good)) })
				refused(t, c, x.code)
			})
		}
	}
}

func (m *mirror) targetSum(name string) string { return m.targets[name].Hashes["sha256"].String() }

func TestADownloadThatBreaksOffGoesOnWhereItWas(t *testing.T) {
	m, c := begun(t)
	big := lantern(strings.Repeat("a longer text. ", 100_000))
	o := m.release("1.1.0", big)
	for i := range o.Files {
		o.Files[i].Deltas = nil
	}
	m.publish()
	var tries, ranges atomic.Int64
	m.hostile = func(w http.ResponseWriter, r *http.Request, name string) bool {
		if !strings.HasSuffix(name, ".notes.txt") {
			return false
		}
		if r.Header.Get("Range") != "" {
			ranges.Add(1)
		}
		if tries.Add(1) > 2 {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(big["notes.txt"])))
		fmt.Fprint(w, big["notes.txt"][:200_000])
		w.(http.Flusher).Flush()
		time.Sleep(50 * time.Millisecond) // a connection that is cut at once is asked again without a word
		panic(http.ErrAbortHandler)
	}
	r := update(t, c)
	holds(t, c, "1.1.0", big)
	if ranges.Load() != 2 || r.Traffic.Bytes > int64(2*len(big["notes.txt"]))+600_000 {
		t.Errorf("%d ranges, %d bytes", ranges.Load(), r.Traffic.Bytes)
	}
	m.hostile = nil
	m.release("1.1.1", lantern("one"))
	update(t, c)
	if err := os.Rename(c.versions("1.1.1"), c.versions("1.0.0")); err != nil { // for the check at the end
		t.Fatal(err)
	}
	if err := c.point("1.0.0"); err != nil {
		t.Fatal(err)
	}
}

func TestABeginningThatIsWrongIsNotBuiltUpon(t *testing.T) {
	m := newMirror(t)
	m.release("1.0.0", lantern("one"))
	c := m.client()
	if err := os.MkdirAll(c.state("parts"), 0o700); err != nil {
		t.Fatal(err)
	}
	sum := verifytest.SHA256("one")
	if err := os.WriteFile(c.part(sum)+".part", []byte("xx"), 0o600); err != nil {
		t.Fatal(err)
	}
	update(t, c)
	holds(t, c, "1.0.0", lantern("one"))
}

func TestABadDeltaGivesWayToTheFullFile(t *testing.T) {
	old, new := map[string]string{"base.hsb": string(base(2000, 0))}, map[string]string{"base.hsb": string(base(2000, 1))}
	for why, change := range map[string]func(m *mirror, c *Client, d *Delta){
		"it leads elsewhere": func(m *mirror, _ *Client, d *Delta) {
			other := base(2000, 5)
			b, err := MakeDelta([]byte(old["base.hsb"]), other[:len(new["base.hsb"])])
			if err != nil {
				t.Fatal(err)
			}
			m.swapDelta(d, b)
		},
		"it expands without end": func(m *mirror, _ *Client, d *Delta) { m.swapDelta(d, bomb(t)) },
		"it is not there": func(m *mirror, _ *Client, d *Delta) {
			delete(m.files, "targets/lantern/2/"+d.SHA256+".base.hsb.from-"+d.From[:16])
		},
		"nobody signed it": func(m *mirror, _ *Client, d *Delta) {
			delete(m.targets, DeltaTarget("lantern", "2", "base.hsb", d.From))
		},
		"the installed file was changed": func(_ *mirror, c *Client, _ *Delta) {
			if err := os.WriteFile(filepath.Join(c.versions("1"), "base.hsb"), []byte("mine"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(why, func(t *testing.T) {
			m := newMirror(t)
			m.release("1", old)
			c := m.client()
			update(t, c)
			o := m.release("2", new)
			if len(o.Files[0].Deltas) != 1 {
				t.Fatal("there is no delta")
			}
			change(m, c, &o.Files[0].Deltas[0])
			m.publish()
			r := update(t, c)
			holds(t, c, "2", new)
			if len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "full file") {
				t.Error(r.Notes)
			}
			t.Log(r.Notes)
		})
	}
}

func (m *mirror) swapDelta(d *Delta, b []byte) {
	d.SHA256, d.Size = verifytest.SHA256(string(b)), int64(len(b))
	m.addTarget(DeltaTarget("lantern", "2", "base.hsb", d.From), b)
}

func TestAServerInTroubleIsNotARefusal(t *testing.T) {
	m, c := begun(t)
	m.release("1.1.0", lantern("two"))
	for _, suffix := range []string{"timestamp.json", ".snapshot.json", ".lantern.json", ".notes.txt"} {
		m.on(suffix, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "tired", http.StatusBadGateway) })
		_, err := c.Update(context.Background())
		if !errors.Is(err, Unreachable) || Definite(err) || !strings.Contains(err.Error(), "502") {
			t.Errorf("%s: %v", suffix, err)
		}
	}
	m.publish()
	m.on(".snapshot.json", func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) })
	if _, err := c.Update(context.Background()); !errors.Is(err, Unreachable) {
		t.Error(err)
	}
}

func TestALogThatCanNotBeReadStopsWhatWouldNeedIt(t *testing.T) {
	m, c := begun(t, func(cfg *Config) { cfg.Log = cfg.Repo + "/log" })
	m.release("1.1.0", lantern("two"))
	for name := range m.files {
		if strings.HasPrefix(name, "log/") {
			delete(m.files, name)
		}
	}
	// What this client saw before can not be shown to be continued.
	_, err := c.Update(context.Background())
	if !errors.Is(err, Unreachable) || !strings.Contains(err.Error(), "continue") {
		t.Fatal(err)
	}
	// A client that has seen nothing relies on the bundle, and says what it did not look for.
	fresh := m.client(func(cfg *Config) { cfg.Log = cfg.Repo + "/log" })
	if r := update(t, fresh); len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "revocations") {
		t.Error(r.Notes)
	}
}

func TestADamagedMemoryIsNoFreshStart(t *testing.T) {
	m, c := begun(t)
	m.release("1.1.0", lantern("two"))
	if err := os.WriteFile(c.state("memory.json"), []byte(`{"product":`), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, c, Disk, "led back")
}

func TestDamagedMetadataIsFetchedAgain(t *testing.T) {
	m, c := begun(t)
	for _, role := range []string{"root", "timestamp", "snapshot", "targets", "lantern"} {
		if err := c.write("metadata/"+role+".json", []byte("{")); err != nil {
			t.Fatal(err)
		}
	}
	m.head.Releases[0].Percent = 99
	m.publish()
	update(t, c)
}

func TestACheckWithNothingNewReceivesLessThan2KBWithHeaders(t *testing.T) {
	m := newMirror(t)
	m.release("1.0.0", lantern("one"))
	var received atomic.Int64
	dialer := &net.Dialer{}
	c := m.client(func(cfg *Config) {
		cfg.HTTP = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			return counted{conn, &received}, err
		}}}
	})
	update(t, c)
	received.Store(0)
	update(t, c)
	if n := received.Load(); n == 0 || n >= 2048 {
		t.Errorf("%d bytes were received", n)
	}
	t.Log(received.Load(), "bytes with headers")
}

type counted struct {
	net.Conn
	n *atomic.Int64
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.n.Add(int64(n))
	return n, err
}

func TestThroughAProxy(t *testing.T) {
	m := newMirror(t)
	m.release("1.0.0", lantern("one"))
	var asked atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Host != "updates.lantern.example" {
			http.Error(w, "not for this proxy", http.StatusBadGateway)
			return
		}
		asked.Add(1)
		m.serve(w, r)
	}))
	defer proxy.Close()
	at, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := m.client(func(cfg *Config) {
		cfg.Repo, cfg.HTTP = "http://updates.lantern.example", &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(at)}}
	})
	update(t, c)
	holds(t, c, "1.0.0", lantern("one"))
	if asked.Load() == 0 {
		t.Error("the proxy was not asked")
	}
}

func TestTheStandardClientFollowsTheProxyOfTheEnvironment(t *testing.T) {
	m := newMirror(t)
	c := m.client(func(cfg *Config) { cfg.HTTP = nil })
	if tr := c.cfg.HTTP.Transport.(*http.Transport); tr.Proxy == nil {
		t.Error("there is no proxy function")
	}
}
