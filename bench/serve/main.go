// Command serve measures the portal: pages over a large log against the same
// pages over a small one, a tile against nginx, how soon the server is ready and
// what it holds in memory, and a check of the whole log.
//
//	go run ./bench/serve        (needs wrk, nginx and sha256sum; makes its data)
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"clerestory.dev/clerestory/bench/kit"
)

var (
	rounds  = flag.Int("rounds", 3, "rounds of each measurement")
	entries = flag.Int("entries", 1000000, "entries of the large log")
	seconds = flag.Int("seconds", 4, "length of one load")
)

const (
	smallAddr = "127.0.0.1:8792"
	largeAddr = "127.0.0.1:8793"
	nginxAddr = "127.0.0.1:8794"
)

func main() {
	flag.Parse()
	cache := kit.Cache()
	program := filepath.Join(cache, "clerestory")
	run(append(os.Environ(), "CGO_ENABLED=0"), "go", "build", "-o", program, "./cmd/clerestory")
	base, small, large := filepath.Join(cache, "base"), filepath.Join(cache, "small"), filepath.Join(cache, "large")
	if _, err := os.Stat(filepath.Join(base, "trusted_root.json")); err != nil {
		run(nil, program, "--dir", base, "demo", "--no-serve", "--listen", "127.0.0.1:8791")
	}
	run(nil, "go", "run", "./bench/fill", base, small, "1000")
	run(nil, "go", "run", "./bench/fill", base, large, strconv.Itoa(*entries))

	starts(program, large)
	a, b := start(program, small, smallAddr), start(program, large, largeAddr)
	defer a.stop()
	defer b.stop()
	time.Sleep(3 * time.Second)
	fmt.Printf("memory    after the start, idle: %d entries %.0f MB, 1000 entries %.0f MB\n", *entries, b.rss(), a.rss())
	pages(large)
	tile(cache, large)
	fmt.Printf("memory    after the load: %d entries %.0f MB, 1000 entries %.0f MB\n", *entries, b.rss(), a.rss())
	check(program, large)
}

func run(env []string, name string, args ...string) {
	cmd := exec.Command(name, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, os.Stderr, os.Stderr
	kit.Must(cmd.Run())
}

type server struct {
	*exec.Cmd
	ready time.Duration
}

// start runs a server, and knows how long /readyz took to answer.
func start(program, dir, address string) *server {
	begun := time.Now()
	cmd := exec.Command(program, "--dir", dir, "serve", "--listen", address)
	kit.Must(cmd.Start())
	for {
		if res, err := http.Get("http://" + address + "/readyz"); err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return &server{cmd, time.Since(begun)}
			}
		}
		if time.Since(begun) > time.Minute {
			kit.Must(fmt.Errorf("%s is not ready after a minute", dir))
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (s *server) stop() {
	s.Process.Signal(os.Interrupt)
	s.Wait()
}

// rss is the resident memory in MB, as Linux tells it.
func (s *server) rss() float64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Process.Pid))
	kit.Must(err)
	_, after, _ := strings.Cut(string(raw), "VmRSS:")
	kb, err := strconv.ParseFloat(strings.Fields(after)[0], 64)
	kit.Must(err)
	return kb / 1024
}

func starts(program, large string) {
	var all []time.Duration
	for range *rounds {
		s := start(program, large, largeAddr)
		all = append(all, s.ready)
		s.stop()
	}
	fmt.Printf("start     until /readyz answers, %d entries: %d ms\n", *entries, kit.Median(all).Milliseconds())
}

// paths are the pages that are loaded: every kind of filter, and a release.
func paths() [][2]string {
	var list struct {
		Releases []struct{ Product, Version string }
	}
	kit.Must(json.Unmarshal(get("http://"+largeAddr+"/releases.json"), &list))
	var rows struct {
		Statements []struct {
			Kind     string
			Subjects []struct{ Digest map[string]string }
		}
	}
	kit.Must(json.Unmarshal(get("http://"+largeAddr+"/statements.json?kind=source"), &rows))
	rel := list.Releases[0]
	repo := "/statements?subject=" + url.QueryEscape("https://git.example/agent")
	return [][2]string{
		{"explorer", "/statements"}, {"by kind", "/statements?kind=build"}, {"by common name", repo}, {"by name and kind", repo + "&kind=source"},
		{"by digest", "/statements?subject=" + rows.Statements[0].Subjects[0].Digest["gitCommit"]},
		{"release", "/releases/" + rel.Product + "/" + rel.Version}, {"one statement", "/statements/500"},
	}
}

func get(address string) []byte {
	res, err := http.Get(address)
	kit.Must(err)
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	kit.Must(err)
	if res.StatusCode != http.StatusOK {
		kit.Must(fmt.Errorf("%s: %s", address, res.Status))
	}
	return raw
}

func pages(string) {
	for _, p := range paths() {
		compare("page", p[0], "http://"+largeAddr+p[1], "http://"+smallAddr+smallPath(p))
	}
}

// smallPath asks the small log for a digest that it has.
func smallPath(p [2]string) string {
	if p[0] != "by digest" {
		return p[1]
	}
	var rows struct {
		Statements []struct {
			Subjects []struct{ Digest map[string]string }
		}
	}
	kit.Must(json.Unmarshal(get("http://"+smallAddr+"/statements.json?kind=source"), &rows))
	return "/statements?subject=" + rows.Statements[0].Subjects[0].Digest["gitCommit"]
}

// compare loads two addresses in turns and prints medians.
func compare(what, name, ours, peer string) {
	get(ours)
	get(peer)
	var o, p, o99, p99 []float64
	for range *rounds {
		rate, late := load(ours)
		o, o99 = append(o, rate), append(o99, late)
		rate, late = load(peer)
		p, p99 = append(p, rate), append(p99, late)
	}
	fmt.Printf("%-9s %-18s ours %7.0f/s p99 %7.1f ms, peer %7.0f/s p99 %7.1f ms, ratio %.2f\n", what, name, kit.Median(o), kit.Median(o99), kit.Median(p), kit.Median(p99), kit.Median(o)/kit.Median(p))
}

var (
	rateLine = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)
	lateLine = regexp.MustCompile(`99%\s+([0-9.]+)(us|ms|s)`)
)

func load(address string) (perSecond, p99 float64) {
	out, err := exec.Command("wrk", "-t1", "-c16", fmt.Sprintf("-d%ds", *seconds), "--timeout", "20s", "--latency", address).Output()
	kit.Must(err)
	if bytes.Contains(out, []byte("Non-2xx")) {
		kit.Must(fmt.Errorf("%s: %s", address, out))
	}
	perSecond, err = strconv.ParseFloat(string(rateLine.FindSubmatch(out)[1]), 64)
	kit.Must(err)
	m := lateLine.FindSubmatch(out)
	p99, err = strconv.ParseFloat(string(m[1]), 64)
	kit.Must(err)
	return perSecond, p99 * map[string]float64{"us": 0.001, "ms": 1, "s": 1000}[string(m[2])]
}

// tile compares a full tile from our handler with nginx on the same file.
func tile(cache, large string) {
	dir, err := os.MkdirTemp(cache, "nginx-")
	kit.Must(err)
	defer os.RemoveAll(dir)
	kit.Must(os.Chmod(dir, 0o755))
	conf := fmt.Sprintf(`daemon off; pid %[1]s/pid; error_log %[1]s/error.log; worker_processes auto; user root;
events {} http { access_log off; sendfile on; open_file_cache off; server { listen %[2]s; root %[3]s; } }`, dir, nginxAddr, filepath.Join(large, "log"))
	kit.Must(os.WriteFile(filepath.Join(dir, "conf"), []byte(conf), 0o644))
	cmd := exec.Command("nginx", "-c", filepath.Join(dir, "conf"), "-p", dir)
	cmd.Stderr = os.Stderr
	kit.Must(cmd.Start())
	defer func() { cmd.Process.Signal(os.Interrupt); cmd.Wait() }()
	time.Sleep(500 * time.Millisecond)
	compare("static", "full tile", "http://"+largeAddr+"/log/tile/0/001", "http://"+nginxAddr+"/tile/0/001")
	compare("static", "bundle of entries", "http://"+largeAddr+"/log/tile/entries/001", "http://"+nginxAddr+"/tile/entries/001")
}

// check reads, parses and recomputes the whole log; the peer hashes the bytes.
func check(program, large string) {
	var ours, theirs []float64
	home, err := os.MkdirTemp("", "clerestory-bench-state-")
	kit.Must(err)
	defer os.RemoveAll(home)
	for i := range *rounds {
		begun := time.Now()
		run(append(os.Environ(), fmt.Sprint("XDG_STATE_HOME=", home, "/", i)), program, "log", "check", filepath.Join(large, "log"), "--trust", filepath.Join(large, "trusted_root.json"))
		ours = append(ours, time.Since(begun).Seconds())
		begun = time.Now()
		run(nil, "sh", "-c", "find "+filepath.Join(large, "log", "tile")+" -type f -print0 | xargs -0 cat | sha256sum")
		theirs = append(theirs, time.Since(begun).Seconds())
	}
	o, t := kit.Median(ours), kit.Median(theirs)
	fmt.Printf("log check of %d entries: ours %.1f s (%.0f entries/s), sha256sum of the same bytes %.1f s, %.1f times\n", *entries, o, float64(*entries)/o, t, o/t)
}
