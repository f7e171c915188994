package main

import (
	"archive/tar"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain makes this test binary the program as well: scripts run what users run.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"clerestory": func() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

// TestScripts runs one script per promise to a user, refusals included.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", RequireExplicitExec: true, RequireUniqueNames: true, UpdateScripts: os.Getenv("UPDATE") != "",
		Setup: func(e *testscript.Env) error {
			for name, value := range map[string]string{
				"XDG_STATE_HOME": "$WORK/state", "XDG_CONFIG_HOME": "$WORK/conf", "XDG_DATA_HOME": "$WORK/share", "HOME": "$WORK/home",
				"CLERESTORY_PASSPHRASE_FILE": "$WORK/pass", "CLERESTORY_UNSAFE_KEY_COST": "2",
			} {
				e.Setenv(name, strings.Replace(value, "$WORK", e.WorkDir, 1))
			}
			return os.WriteFile(filepath.Join(e.WorkDir, "pass"), []byte("correct horse battery\n"), 0o600)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"vendor": makeVendor, "product": makeProduct, "flip": flip, "capture": capture("stdout"), "capture-stderr": capture("stderr"), "port": pickPort, "listening": listening,
			"escape-free": escapeFree, "archive": makeArchive, "receiver": makeReceiver, "exit": exitIs, "replace": replaceText, "untar": unpackArchive,
			"request": makeRequest, "assembled": assembled, "ssh-agent": startAgent,
		},
	})
}

// vendor DIR [FLAGS]: a new vendor's folder, without witnesses unless told.
func makeVendor(ts *testscript.TestScript, neg bool, args []string) {
	flags := []string{"init", args[0], "--vendor", "acme", "--name", "Acme", "--url", "https://trust.acme.example", "--product", "agent"}
	if !strings.Contains(strings.Join(args, " "), "--witness") {
		flags = append(flags, "--unsafe-no-witnesses")
	}
	ts.Check(ts.Exec("clerestory", append(flags, args[1:]...)...))
	ts.Check(ts.Exec("clerestory", "apply", args[0], "--yes"))
}

// built is a small Go program and its source, made once for all scripts.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "clerestory-test-product-")
	if err != nil {
		return "", err
	}
	src := filepath.Join(dir, "src")
	for name, text := range map[string]string{"go.mod": "module acme.example/agent\n\ngo 1.26\n", "main.go": "package main\n\nfunc main() { println(\"agent\") }\n"} {
		if err := os.MkdirAll(src, 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(src, name), []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	for _, words := range []string{
		"git init -q -b main", "git add .", "git -c user.name=a -c user.email=a@acme.example commit -q -m first", "go build -trimpath -buildvcs=false -o ../agent .",
	} {
		w := strings.Fields(words)
		cmd := exec.Command(w[0], w[1:]...)
		cmd.Dir, cmd.Env = src, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOPROXY=off", "GOTOOLCHAIN=local", "GIT_CONFIG_GLOBAL=/dev/null")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%s: %w: %s", words, err, out)
		}
	}
	return dir, nil
})

// product: the folder src (a git checkout) and the binary agent built from it.
func makeProduct(ts *testscript.TestScript, neg bool, args []string) {
	dir, err := built()
	ts.Check(err)
	ts.Check(os.CopyFS(ts.MkAbs("src"), os.DirFS(filepath.Join(dir, "src"))))
	b, err := os.ReadFile(filepath.Join(dir, "agent"))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs("agent"), b, 0o755))
}

// flip FILE: changes one byte in the middle.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	b, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	b[len(b)/2] ^= 1
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o644))
}

// capture NAME REGEXP: sets a variable to what its group matches in the output.
func capture(stream string) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		m := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile(stream))
		if m == nil {
			ts.Fatalf("%s does not match %s", stream, args[1])
		}
		ts.Setenv(args[0], m[1])
	}
}

// port NAME: sets a variable to a port that is free.
func pickPort(ts *testscript.TestScript, neg bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	ts.Check(err)
	ts.Setenv(args[0], port)
}

// listening ADDRESS: waits until somebody listens there.
func listening(ts *testscript.TestScript, neg bool, args []string) { ts.Check(answers(args[0])) }

// escape-free: neither stdout nor stderr holds a control character.
func escapeFree(ts *testscript.TestScript, neg bool, args []string) {
	for _, stream := range []string{"stdout", "stderr"} {
		for _, r := range ts.ReadFile(stream) {
			if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e {
				ts.Fatalf("%s holds U+%04X", stream, r)
			}
		}
	}
}

// exit CODE COMMAND…: runs it and compares the exit code, which is a promise.
func exitIs(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if got != args[0] {
		ts.Fatalf("exit code %s; expected %s", got, args[0])
	}
}

// replace OLD NEW FILE: replaces all of a text.
func replaceText(ts *testscript.TestScript, neg bool, args []string) {
	text := ts.ReadFile(args[2])
	if !strings.Contains(text, args[0]) {
		ts.Fatalf("%s does not hold %q", args[2], args[0])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(strings.ReplaceAll(text, args[0], args[1])), 0o644))
}

// untar ARCHIVE DIR: what a stranger's tar would unpack.
func unpackArchive(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(os.MkdirAll(ts.MkAbs(args[1]), 0o755))
	f, err := os.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	defer f.Close()
	zip, err := gzip.NewReader(f)
	ts.Check(err)
	for r := tar.NewReader(zip); ; {
		h, err := r.Next()
		if err == io.EOF {
			return
		}
		ts.Check(err)
		b, err := io.ReadAll(r)
		ts.Check(err)
		name := filepath.Join(ts.MkAbs(args[1]), h.Name)
		ts.Check(os.MkdirAll(filepath.Dir(name), 0o755))
		ts.Check(os.WriteFile(name, b, 0o644))
	}
}

// archive ATTACK FILE: a backup as an attacker would make it.
func makeArchive(ts *testscript.TestScript, neg bool, args []string) {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: "config.yaml", Mode: 0o644, Size: 3}
	content := "a\n#"
	switch args[0] {
	case "climbing":
		h.Name = "../outside"
	case "absolute":
		h.Name = "/tmp/clerestory-outside"
	case "link":
		h.Typeflag, h.Linkname, h.Size, content = tar.TypeSymlink, "/etc", 0, ""
	case "escape":
		h.Name = "keys/\x1b[2J"
	case "bomb":
		content = strings.Repeat("\x00", 80<<20)
		h.Size = int64(len(content))
	case "bare": // no manifest
	default:
		ts.Fatalf("no attack %s", args[0])
	}
	f, err := os.Create(ts.MkAbs(args[1]))
	ts.Check(err)
	zip := gzip.NewWriter(f)
	w := tar.NewWriter(zip)
	ts.Check(w.WriteHeader(h))
	_, err = io.WriteString(w, content)
	ts.Check(err)
	ts.Check(w.Close())
	ts.Check(zip.Close())
	ts.Check(f.Close())
}

// receiver NAME FILE: a web server that appends what is posted to it to a file;
// its first answer is a refusal.
func makeReceiver(ts *testscript.TestScript, neg bool, args []string) {
	file, asked := ts.MkAbs(args[1]), 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked++; asked == 1 {
			http.Error(w, "busy", http.StatusServiceUnavailable)
			return
		}
		b, _ := io.ReadAll(r.Body)
		f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err == nil {
			f.Write(append(b, '\n'))
			f.Close()
		}
	}))
	ts.Defer(s.Close)
	ts.Setenv(args[0], s.URL)
}
