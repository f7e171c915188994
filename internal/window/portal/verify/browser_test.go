package verify_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	verifier "clerestory.dev/clerestory/internal/window/portal/verify"
	"clerestory.dev/clerestory/verify/verifytest"
)

const page = `<!doctype html><html lang="en"><title>Verify a file</title>
<h1>Verify a file</h1>
<div id="drop" class="drop"><label for="file">The file</label><input type="file" id="file"></div>
<div id="progress"></div><div id="result" aria-live="polite"></div>
<script type="module" src="` + verifier.Script + `"></script></html>`

// site is a vendor's portal as far as the verifier needs it, and its witnesses.
type site struct {
	t         *testing.T
	vendor    *verifytest.Vendor
	server    *httptest.Server
	witnesses []*httptest.Server
	mu        sync.Mutex
	bundles   map[string]string // by sha256
	logNow    string            // /log/checkpoint
	copies    []string          // by witness; "" answers 404
	csp       []string          // reports
	mute      bool              // gives no proofs of growth
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, vendor: verifytest.New(t), bundles: map[string]string{}, copies: make([]string, 3)}
	v := s.vendor
	sum := sha256.Sum256([]byte(v.Log.Origin))
	policy, names := "log "+v.Log.VKey()+"\n", ""
	for i, w := range v.Witnesses {
		srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			s.mu.Lock()
			defer s.mu.Unlock()
			rw.Header().Set("Access-Control-Allow-Origin", "*")
			if s.copies[i] == "" || r.URL.Path != "/checkpoint/"+hex.EncodeToString(sum[:]) {
				http.Error(rw, "not found", 404)
				return
			}
			io.WriteString(rw, s.copies[i])
		}))
		t.Cleanup(srv.Close)
		s.witnesses = append(s.witnesses, srv)
		policy += fmt.Sprintf("witness %s %s %s/\n", w.Name, w.VKey(), srv.URL)
		names += " " + w.Name
	}
	v.Root.Clerestory.Policy = policy + "group two 2" + names + "\nquorum two\n"
	v.Root.Expires = time.Now().AddDate(1, 0, 0).UTC().Truncate(time.Second)
	s.server = httptest.NewServer(s.handler())
	t.Cleanup(s.server.Close)
	return s
}

func (s *site) handler() http.Handler {
	files, err := verifier.Handler()
	if err != nil {
		s.t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET "+verifier.Path, files)
	mux.HandleFunc("GET /verify", func(w http.ResponseWriter, r *http.Request) {
		connect := strings.Join(append([]string{"'self'"}, verifier.Sources(s.vendor.Trust().Policy)...), " ")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; img-src 'self' data:; connect-src "+connect+"; base-uri 'none'; form-action 'none'; report-uri /csp")
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, page)
	})
	mux.HandleFunc("POST /csp", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.csp = append(s.csp, string(b))
	})
	mux.HandleFunc("GET /trusted_root.json", func(w http.ResponseWriter, r *http.Request) { w.Write(s.vendor.TrustFile()) })
	mux.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) })
	mux.HandleFunc("GET /log/checkpoint", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, s.logNow) })
	mux.HandleFunc("GET /growth/{from}/{to}", func(w http.ResponseWriter, r *http.Request) {
		from, _ := strconv.ParseInt(r.PathValue("from"), 10, 64)
		to, _ := strconv.ParseInt(r.PathValue("to"), 10, 64)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.mute || from < 1 || from >= to || to > s.vendor.Log.Size() {
			http.Error(w, "no proof", 404)
			return
		}
		for _, h := range s.vendor.Log.Growth(from, to) {
			fmt.Fprintln(w, h)
		}
	})
	mux.HandleFunc("GET /bundle/sha256/{sum}", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if b, ok := s.bundles[r.PathValue("sum")]; ok {
			io.WriteString(w, b)
			return
		}
		http.Error(w, "no release has these bytes", 404)
	})
	return mux
}

// publish makes the log's present state the one that everybody shows, and a
// bundle for each content.
func (s *site) publish(contents ...string) {
	s.t.Helper()
	b, err := s.vendor.Bundle().Format()
	if err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logNow = string(s.vendor.Checkpoint())
	for i, w := range s.vendor.Witnesses {
		s.copies[i] = string(s.vendor.Log.Sign(s.vendor.Log.Text(s.vendor.Log.Size()), s.vendor.Seen, w))
	}
	for _, c := range contents {
		s.bundles[verifytest.SHA256(c)] = string(b)
	}
}

// patience is how long the page may take; the large file has its own loop.
const patience = 15 * time.Second

// tab is a page of the site in a real browser, which remembers every complaint.
type tab struct {
	t    *testing.T
	ctx  context.Context
	mu   sync.Mutex
	said []string // console errors, exceptions, CSP reports
}

func (s *site) open(t *testing.T) *tab {
	t.Helper()
	const chromium = "/usr/bin/chromium"
	if _, err := os.Stat(chromium); err != nil {
		t.Skipf("%s is not installed: %v", chromium, err)
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-gpu", true))
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), opts...)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 5*time.Minute)
	t.Cleanup(cancel)
	b := &tab{t: t}
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithListener(b.listen))
	t.Cleanup(cancel)
	b.ctx = ctx
	if err := chromedp.Do(ctx, chromedp.Navigate(s.server.URL+"/verify")); err != nil {
		t.Fatal(err)
	}
	b.wait(`!!document.querySelector("#fingerprint") && document.documentElement.dataset.verifierReady`)
	return b
}

func (b *tab) listen(ev any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch ev := ev.(type) {
	case *runtime.EventExceptionThrown:
		b.said = append(b.said, "exception: "+ev.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		text := ""
		for _, a := range ev.Args {
			text += string(a.Value) + a.Description + " "
		}
		b.said = append(b.said, fmt.Sprintf("console %s: %s", ev.Type, text))
	case *cdplog.EventEntryAdded:
		b.said = append(b.said, fmt.Sprintf("%s %s: %s %s", ev.Entry.Source, ev.Entry.Level, ev.Entry.Text, ev.Entry.URL))
	}
}

func eval[T any](b *tab, js string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](js))
	if err != nil {
		b.t.Fatalf("evaluating %s: %v", js, err)
	}
	return v
}

// wait waits until js is true. It asks again and again, because the page's
// policy forbids what chromedp's own polling does.
func (b *tab) wait(js string) {
	b.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if eval[bool](b, "!!("+js+")") {
			return
		}
	}
	b.t.Fatalf("waited in vain for %s; the page says:\n%s\n%s", js, eval[string](b, "document.body.innerText"), strings.Join(b.said, "\n"))
}

// give chooses files in the file input.
func (b *tab) give(paths ...string) {
	b.t.Helper()
	eval[bool](b, `delete document.querySelector("#result").dataset.done, document.querySelector("#result").replaceChildren(), true`)
	if err := setFiles(b, "#file", paths...); err != nil {
		b.t.Fatal(err)
	}
}

type seen struct {
	Verdict, Code, Word, Reason, Text string
	Focused, Live                     bool
	Copies                            map[string]string // state by name
}

// verdict waits for a verdict; done waits for the comparison with others too.
func (b *tab) verdict(done bool) seen {
	b.t.Helper()
	b.wait(`document.querySelector("#result .verdict") && document.querySelector("#result").getAttribute("aria-busy") !== "true"`)
	if done {
		b.wait(`document.querySelector("#result").dataset.done`)
	}
	var s seen
	text := eval[string](b, `(() => {
		const v = document.querySelector("#result .verdict");
		const copies = Object.fromEntries([...document.querySelectorAll("#copies > li")].map((l) => [l.dataset.name, l.dataset.state]));
		return JSON.stringify({verdict: v.dataset.verdict, code: v.dataset.code, word: v.querySelector("h2").textContent,
			reason: v.querySelector("p").textContent, text: document.querySelector("#result").innerText, copies,
			focused: document.activeElement === v.querySelector("h2"), live: document.querySelector("#result").getAttribute("aria-live") === "polite"});
	})()`)
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		b.t.Fatal(err)
	}
	if !s.Focused || !s.Live {
		b.t.Errorf("the verdict is focused: %v, in a live region: %v", s.Focused, s.Live)
	}
	return s
}

// quiet checks that the page broke no rule: no CSP report, no console message
// but the browser's own about an answer of 404, which is how "not known" comes.
func (s *site) quiet(b *tab) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.csp {
		s.t.Errorf("CSP report: %s", r)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.said {
		if !strings.Contains(m, "status of 404") {
			s.t.Errorf("the browser complained: %s", m)
		}
	}
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func setFiles(b *tab, selector string, paths ...string) error {
	return chromedp.Do(b.ctx, chromedp.SetUploadFiles(chromedp.CSS(selector), paths))
}
