package main

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"clerestory.dev/clerestory/verify"
)

// TestTheMainJob runs the demo as a newcomer would, in this checkout: once to the
// end, again to see that it continues, then with the portal, where a browser
// verifies the released program. It takes about half a minute.
func TestTheMainJob(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program three times")
	}
	checkout, err := findCheckout(t.Context())
	if err != nil {
		t.Skipf("not in a git checkout: %v", err)
	}
	program := filepath.Join(t.TempDir(), "clerestory")
	build := exec.Command("go", "build", "-o", program, "./cmd/clerestory")
	build.Dir = checkout
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building: %v: %s", err, out)
	}
	dir, port := filepath.Join(t.TempDir(), "demo"), freePort(t)
	args := []string{"demo", "--dir", dir, "--listen", "127.0.0.1:" + port}

	first := runDemo(t, checkout, program, append(args, "--no-serve", "--json")...)
	if first.Verified.Verdict != verify.Verified || first.Refused.Verdict != verify.Refused || !first.Reproduced {
		t.Fatalf("%+v", first)
	}
	again := runDemo(t, checkout, program, append(args, "--no-serve", "--json")...)
	if again.Entry != first.Entry || again.Fingerprint != first.Fingerprint {
		t.Errorf("the second run did not continue the first: %+v", again)
	}

	stop := startDemo(t, checkout, program, "http://localhost:"+port+"/readyz", args...)
	if _, err := os.Stat("/usr/bin/chromium"); err == nil {
		flipped := filepath.Join(dir, "dist", "flipped", "clerestory")
		verifyInBrowser(t, "http://localhost:"+port, map[string]string{first.Artifact: "verified", flipped: "unknown"})
	} else if os.Getenv("CLERESTORY_TEST_ALL") != "" {
		t.Error("chromium is missing")
	}
	if err := stop(); err != nil {
		t.Errorf("Ctrl-C: %v", err)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func runDemo(t *testing.T, checkout, program string, args ...string) demoResult {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = checkout
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, stderr.String())
	}
	var r demoResult
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("reading what the demo made: %v: %s", err, out)
	}
	return r
}

// startDemo runs the demo with its portal until stop, which presses Ctrl-C.
func startDemo(t *testing.T, checkout, program, url string, args ...string) (stop func() error) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = checkout
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
		}
	}()
	for range 600 {
		res, err := http.Get(url)
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return func() error {
					cmd.Process.Signal(syscall.SIGINT)
					return cmd.Wait()
				}
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("the portal did not get ready within a minute")
	return nil
}

// verifyInBrowser drops each file on the page and compares the verdict.
func verifyInBrowser(t *testing.T, portal string, want map[string]string) {
	t.Helper()
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath("/usr/bin/chromium"), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-gpu", true))
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), opts...)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx)
	defer cancel()
	evaluate := func(js string) string {
		v, err := chromedp.Run(ctx, chromedp.Evaluate[string](js))
		if err != nil {
			t.Fatalf("%s: %v", js, err)
		}
		return v
	}
	for file, verdict := range want {
		if err := chromedp.Do(ctx, chromedp.Navigate(portal+"/verify")); err != nil {
			t.Fatal(err)
		}
		waitFor(t, func() bool { return evaluate(`document.documentElement.dataset.verifierReady ?? ""`) != "" })
		if err := chromedp.Do(ctx, chromedp.SetUploadFiles(chromedp.CSS("#file"), []string{file})); err != nil {
			t.Fatal(err)
		}
		waitFor(t, func() bool {
			return evaluate(`document.querySelector("#result .verdict")?.dataset.verdict ?? ""`) != ""
		})
		if got := evaluate(`document.querySelector("#result .verdict").dataset.verdict`); got != verdict {
			t.Errorf("%s: the browser says %q, want %q:\n%s", file, got, verdict, evaluate(`document.querySelector("#result").innerText`))
		}
	}
}

func waitFor(t *testing.T, what func() bool) {
	t.Helper()
	for range 600 {
		if what() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("waited for half a minute in vain")
}
