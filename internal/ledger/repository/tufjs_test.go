package repository_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// stranger is tuf-js: another implementation, in another language.
type stranger struct {
	t           testing.TB
	root, cache string
	url         string
}

func (v *vendor) stranger(url string) *stranger {
	_, err := os.Stat("tufjs/node_modules/tuf-js")
	if node, e := exec.LookPath("node"); err != nil || e != nil {
		if os.Getenv("CLERESTORY_TEST_ALL") != "" {
			v.t.Fatalf("tuf-js: %v (node: %q); .ci/install puts it there", err, node)
		}
		v.t.Skip("tuf-js is not here: npm ci --prefix internal/ledger/repository/tufjs")
	}
	s := &stranger{v.t, filepath.Join(v.t.TempDir(), "root.json"), v.t.TempDir(), url}
	must(v.t, os.WriteFile(s.root, v.files[0], 0o644))
	return s
}

// get downloads a target; what tuf-js says against it is the error.
func (s *stranger) get(target string) ([]byte, error) {
	s.t.Helper()
	out := filepath.Join(s.t.TempDir(), "out")
	text, err := exec.Command("node", "tufjs/client.mjs", s.root, s.url, s.cache, target, out).CombinedOutput()
	if err != nil {
		return nil, errors.New(strings.TrimSpace(string(text)))
	}
	content, err := os.ReadFile(out)
	must(s.t, err)
	return content, nil
}

func TestTufJsBelievesTheRepository(t *testing.T) {
	v := newVendor(t, db(t))
	v.now = time.Now()
	v.publish("1.0.0", "one")
	c := v.client(v.Dir)
	s := v.stranger(c.url)
	want := func(target, content string) {
		t.Helper()
		if got, err := s.get(target); err != nil || content != "" && string(got) != content {
			t.Fatalf("%s: %q, %v", target, got, err)
		}
	}
	want("agent/1.0.0/agent.bin", "one")
	mirror := filepath.Join(t.TempDir(), "mirror")
	must(t, os.CopyFS(mirror, os.DirFS(v.Dir)))

	// Deep names, bins, a stop, other release keys, another root: it follows.
	v.Policy.Flat = 10
	r := v.version("1.1.0", "two", "rules/web/a.yar", "rule a", "x+y~z@1.deb", "package")
	for i := range 20 {
		r.Files = append(r.Files, v.version("1.1.0", fmt.Sprint(i)).Files[0])
		r.Files[len(r.Files)-1].Name = fmt.Sprintf("rules/%d.yar", i)
	}
	_, err := v.Offer(ctx, r, 100, "seed")
	must(t, err)
	v.show(nil)
	want("agent/1.1.0/agent.bin", "two")
	want("agent/1.1.0/rules/web/a.yar", "rule a")
	want("agent/1.1.0/x+y~z@1.deb", "package")
	want("agent/1.1.0/rules/17.yar", "17")
	_, err = v.Halt(ctx, "agent", "stable", "1.1.0")
	must(t, err)
	_, err = v.Renew(ctx)
	must(t, err)
	want("agent/stable/stop.json", `{"mediaType":"application/vnd.clerestory.stop.v1+json","product":"agent","channel":"stable","halted":["1.1.0"]}`)
	// A mirror that is behind is refused.
	s.url = v.client(mirror).url
	if got, err := s.get("agent/1.0.0/agent.bin"); err == nil || !strings.Contains(err.Error(), "BadVersion") && !strings.Contains(err.Error(), "version") {
		t.Fatalf("rollback: %q, %v", got, err)
	}
	s.url = c.url
	old := v.rotate()
	if _, err := v.Publish(ctx, nil, append(v.signers(), old[0], old[1])...); err != nil {
		t.Fatal(err)
	}
	want("agent/stable/head.json", "")

	if _, err := s.get("agent/1.0.0/nothing"); err == nil {
		t.Fatal("it found a target that is not there")
	}
}
