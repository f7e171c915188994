// Command poll measures what most requests to an update repository are: clients
// that ask for timestamp.json. Our handler in a process of its own against nginx
// serving the same file, both loaded by wrk in turns.
//
//	go run ./bench/poll        (needs wrk and nginx)
package main

import (
	"bytes"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"clerestory.dev/clerestory/bench/kit"
	"clerestory.dev/clerestory/internal/ledger/repository"
)

var (
	rounds  = flag.Int("rounds", 5, "rounds of each measurement")
	seconds = flag.Int("seconds", 4, "length of one load")
	clients = flag.Int("clients", 10_000, "connections at once; more than 1,000 need a higher ulimit -n")
	cache   = flag.String("nginx-cache", "off", "nginx's open_file_cache: off is its default, max=100 the fastest")
	folder  = flag.String("serve", "", "be the server of this folder")
)

const (
	oursAddr  = "127.0.0.1:8796"
	nginxAddr = "127.0.0.1:8797"
)

// timestamp has the size and form of a real one.
const timestamp = `{"signatures":[{"keyid":"9f2d1f1c7d3b2ae7f6ab4b0a5f1a0b8be6d1d5b0f6a4a7cf0f2bc4c7e1b3a5d7","sig":"` +
	`6f1ed002ab5595859014ebf0951522d9bdff2d8b5a1d1d7c0b8a9e0f4c3b2a1d6f1ed002ab5595859014ebf0951522d9bdff2d8b5a1d1d7c0b8a9e0f4c3b2a1d` +
	`"}],"signed":{"_type":"timestamp","expires":"2026-11-02T12:00:00Z","meta":{"snapshot.json":{"hashes":{"sha256":` +
	`"5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"},"length":601,"version":31}},"spec_version":"1.0.31","version":42}}`

func main() {
	flag.Parse()
	if *folder != "" {
		kit.Must(http.ListenAndServe(oursAddr, http.StripPrefix("/repository", repository.Handler(*folder))))
	}
	dir, err := os.MkdirTemp("", "clerestory-poll-")
	kit.Must(err)
	defer os.RemoveAll(dir)
	kit.Must(os.Chmod(dir, 0o755))
	kit.Must(os.MkdirAll(filepath.Join(dir, "repository", "metadata"), 0o755))
	kit.Must(os.WriteFile(filepath.Join(dir, "repository", "metadata", "timestamp.json"), []byte(timestamp), 0o644))

	self, err := os.Executable()
	kit.Must(err)
	ours := exec.Command(self, "-serve", filepath.Join(dir, "repository"))
	conf := fmt.Sprintf(`daemon off; pid %[1]s/pid; error_log %[1]s/error.log; worker_processes auto; user root;
worker_rlimit_nofile 65536; events { worker_connections 20000; } http { access_log off; sendfile on; tcp_nopush on; open_file_cache %[3]s; keepalive_requests 1000000; types { application/json json; }
server { listen %[2]s; root %[1]s; location = /repository/metadata/timestamp.json { add_header Cache-Control no-cache; } } }`, dir, nginxAddr, *cache)
	kit.Must(os.WriteFile(filepath.Join(dir, "conf"), []byte(conf), 0o644))
	nginx := exec.Command("nginx", "-c", filepath.Join(dir, "conf"), "-p", dir)
	for address, cmd := range map[string]*exec.Cmd{oursAddr: ours, nginxAddr: nginx} {
		cmd.Stderr = os.Stderr
		kit.Must(cmd.Start())
		defer func() { cmd.Process.Signal(os.Interrupt); cmd.Wait() }()
		listening(address)
	}
	const file = "/repository/metadata/timestamp.json"
	same(file)
	var o, p, o99, p99 []float64
	for range *rounds {
		rate, late := load("http://" + oursAddr + file)
		o, o99 = append(o, rate), append(o99, late)
		rate, late = load("http://" + nginxAddr + file)
		p, p99 = append(p, rate), append(p99, late)
	}
	fmt.Printf("poll      timestamp.json, %d clients   ours %7.0f/s p99 %5.1f ms, nginx %7.0f/s p99 %5.1f ms, ratio %.2f (rounds: ours %.0f, nginx %.0f)\n",
		*clients, kit.Median(o), kit.Median(o99), kit.Median(p), kit.Median(p99), kit.Median(o)/kit.Median(p), o, p)
}

func listening(address string) {
	for range 200 {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	kit.Must(fmt.Errorf("nobody listens at %s", address))
}

// same ends the program when the two do not serve the same bytes.
func same(file string) {
	for _, address := range []string{oursAddr, nginxAddr} {
		res, err := http.Get("http://" + address + file)
		kit.Must(err)
		var b bytes.Buffer
		_, err = b.ReadFrom(res.Body)
		kit.Must(err)
		res.Body.Close()
		if b.String() != timestamp || !strings.Contains(res.Header.Get("Cache-Control"), "no-cache") {
			kit.Must(fmt.Errorf("%s serves something else: %s %v", address, res.Status, res.Header))
		}
	}
}

var (
	rateLine = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)
	lateLine = regexp.MustCompile(`99%\s+([0-9.]+)(us|ms|s)`)
)

func load(address string) (perSecond, p99 float64) {
	out, err := exec.Command("wrk", "-t1", fmt.Sprintf("-c%d", *clients), fmt.Sprintf("-d%ds", *seconds), "--timeout", "20s", "--latency", address).Output()
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
