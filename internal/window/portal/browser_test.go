package portal_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

const chromium = "/usr/bin/chromium"

// needs skips a test that can not run here, unless everything has to run.
func needs(t *testing.T) (axe string) {
	t.Helper()
	lib, err := os.ReadFile(filepath.Join("browsertest", "node_modules", "axe-core", "axe.min.js"))
	if err == nil {
		_, err = os.Stat(chromium)
	}
	if err == nil {
		return string(lib)
	}
	const hint = "browser tests need Debian's chromium, and npm ci in internal/window/portal/browsertest: %v"
	if os.Getenv("CLERESTORY_TEST_ALL") != "" {
		t.Fatalf(hint, err)
	}
	t.Skipf(hint, err)
	return ""
}

// browser is a tab that remembers what it complained about.
type browser struct {
	t          *testing.T
	ctx        context.Context
	mu         sync.Mutex
	complaints []string
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium), chromedp.UserDataDir(t.TempDir()))
	for _, flag := range []string{"no-sandbox", "disable-gpu", "disable-quic", "disable-component-update"} {
		options = append(options, chromedp.Flag(flag, true))
	}
	tab, closeTab := chromedp.NewContext(context.Background(), chromedp.WithAllocatorOptions(options...))
	t.Cleanup(closeTab)
	b := &browser{t: t, ctx: tab}
	if err := chromedp.Listen(tab, b.hear); err != nil {
		t.Fatal(err)
	}
	b.run(chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := cdp.Call(ctx, tab, log.Enable, cdp.Empty{})
		return err
	}))
	return b
}

// hear collects console errors, exceptions and what the browser itself logs: a
// breach of the content security policy is among these.
func (b *browser) hear(event any) {
	text := ""
	switch e := event.(type) {
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			text = e.Entry.Text + " " + e.Entry.URL
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			for _, a := range e.Args {
				text += string(a.Value) + a.Description + " "
			}
		}
	case *runtime.EventExceptionThrown:
		text = e.ExceptionDetails.Text + " " + e.ExceptionDetails.Exception.Description
	}
	if text != "" {
		b.mu.Lock()
		b.complaints = append(b.complaints, text)
		b.mu.Unlock()
	}
}

func (b *browser) heard() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.complaints
	b.complaints = nil
	return all
}

func (b *browser) run(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, end := context.WithTimeout(b.ctx, 30*time.Second)
	defer end()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// value runs a step and gives what it found.
func value[T any](b *browser, step chromedp.Action[T]) T {
	b.t.Helper()
	ctx, end := context.WithTimeout(b.ctx, 30*time.Second)
	defer end()
	v, err := chromedp.Run(ctx, step)
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// look sets the width and the colour scheme.
func (b *browser) look(width int64, scheme string) {
	b.t.Helper()
	b.run(chromedp.EmulateViewport(width, 900), chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := cdp.Call(ctx, tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
		return err
	}))
}

// axeRun reports violations, and contrast that could not be computed.
const axeRun = `axe.run(document, {resultTypes: ["violations", "incomplete"]}).then((r) => JSON.stringify(
  [...r.violations, ...r.incomplete.filter((i) => i.id === "color-contrast")].map((v) => v.id + ": " + v.nodes.map((n) => n.html.slice(0, 160) + " " + (n.any[0] ? n.any[0].message : "")).slice(0, 3).join(" | "))))`

// inspect checks what holds on every page.
func (b *browser) inspect(axe, name string) {
	b.t.Helper()
	for _, complaint := range b.heard() {
		b.t.Errorf("%s: the browser complains: %s", name, complaint)
	}
	b.run(chromedp.Evaluate[chromedp.Void](axe))
	found := value(b, chromedp.Evaluate[string](axeRun, chromedp.EvalAwaitPromise))
	var violations []string
	if err := json.Unmarshal([]byte(found), &violations); err != nil {
		b.t.Fatal(err)
	}
	for _, v := range violations {
		b.t.Errorf("%s: axe: %s", name, v)
	}
	b.heard() // axe's own
}

// shoot keeps a picture where CLERESTORY_SCREENSHOTS says.
func (b *browser) shoot(name string) {
	dir := os.Getenv("CLERESTORY_SCREENSHOTS")
	if dir == "" {
		return
	}
	png := value(b, chromedp.FullScreenshot(100))
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

func (b *browser) overflow(name string) {
	b.t.Helper()
	wide := value(b, chromedp.Evaluate[[]string](`document.documentElement.scrollWidth <= innerWidth ? [] : [document.documentElement.scrollWidth + "px", ...[...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".scroll, pre")).slice(0, 4).map((e) => e.outerHTML.slice(0, 120))]`))
	if len(wide) > 0 {
		b.t.Errorf("%s overflows: %s", name, strings.Join(wide, "\n  "))
	}
}

// visit opens a page in every look, and checks it.
func (b *browser) visit(axe, url, name string) {
	b.t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{320, 360, 1280} {
			if width == 320 && scheme == "dark" {
				continue // what is too wide is so in the light too
			}
			look := fmt.Sprintf("%s-%d-%s", name, width, scheme)
			b.look(width, scheme)
			b.run(chromedp.Navigate(url), chromedp.WaitReady("main"))
			b.overflow(look)
			if width != 320 {
				b.shoot(look)
				b.inspect(axe, look)
			}
		}
	}
}

func (b *browser) signIn(s *site, person string) {
	b.t.Helper()
	b.run(chromedp.Navigate(s.url+"/demo-identities"), chromedp.Click(fmt.Sprintf(`//input[@value=%q]/following-sibling::button`, person)), chromedp.WaitVisible(`//h1[not(contains(., "Demo"))]`))
}

func TestPagesLookAndWorkInABrowser(t *testing.T) {
	axe := needs(t)
	s := newSite(t)
	s.furnish()
	warned := s.warn()
	b := newBrowser(t)
	for _, p := range []struct{ name, as, path string }{
		{"home", "", "/"}, {"statements", "", "/statements"}, {"statements-wrong", "", "/statements?from=yesterday&kind=release"}, {"statements-none", "", "/statements?subject=nothing"},
		{"statement-key", "", "/statements/0"}, {"statement-build", "", "/statements/7"}, {"statement-release", "", "/statements/9"}, {"statement-unknown", "", "/statements/" + fmt.Sprint(s.hostile())},
		{"statements-hostile", "", "/statements"}, {"waiting", "", "/statements/" + fmt.Sprint(s.waiting())},
		{"releases", "", "/releases"}, {"release", "", "/releases/lantern/1.3.0"}, {"revoked", "", "/releases/lantern/1.2.0"}, {"sbom", "", "/releases/lantern/1.3.0/sbom?q=g&sort=-version"},
		{"advisories", "", "/advisories"}, {"advisory", "", "/advisories/lantern-2026-001"}, {"affected", "", "/releases/lantern/1.2.0"}, {"security", "", "/security"}, {"reports", "femi", "/security/reports"},
		{"statement-advisory", "", "/statements/" + fmt.Sprint(warned.Entry)}, {"statement-vex", "", "/statements/" + fmt.Sprint(warned.VEXEntry())}, {"statement-disclosure", "", "/statements/" + fmt.Sprint(warned.Entry+2)},
		{"verify", "", "/verify"}, {"about", "", "/about"}, {"api", "", "/api"}, {"account", "", "/account"}, {"enrol", "", "/enrol"}, {"demo", "", "/demo-identities"},
		{"not-found", "", "/nowhere"},
		{"drafts", "boris", "/releases"}, {"draft", "boris", "/releases/lantern/1.4.0"}, {"account-in", "boris", "/account"},
		{"people", "ada", "/account/people"}, {"audit", "chidi", "/audit"}, {"policies", "chidi", "/audit/policies"},
	} {
		t.Run(p.name, func(t *testing.T) {
			b.t = t
			if p.as != "" {
				b.look(1280, "light")
				b.signIn(s, p.as)
			}
			if p.name == "not-found" {
				b.run(chromedp.Navigate(s.url + p.path))
				b.heard() // that the page is missing is logged by the browser
				b.inspect(axe, p.name)
				b.shoot(p.name)
				return
			}
			if strings.HasSuffix(p.name, "wrong") {
				b.look(1280, "light")
				b.run(chromedp.Navigate(s.url + p.path))
				b.heard() // so is status 400
				b.inspect(axe, p.name)
				b.overflow(p.name)
				b.shoot(p.name)
				return
			}
			b.visit(axe, s.url+p.path, p.name)
		})
	}
}
