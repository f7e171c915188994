package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/programme"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/ledger/log"
	"clerestory.dev/clerestory/internal/ledger/witness"
	"clerestory.dev/clerestory/verify"
)

type demoCmd struct {
	Folder  string `kong:"-"` // --dir, or the default
	Fresh   bool   `help:"Throw the demo's folder away and start over."`
	Yes     bool   `help:"Do not ask."`
	Listen  string `default:"127.0.0.1:8700" help:"Where the portal listens."`
	NoServe bool   `help:"Stop after the verification; the exit code tells success."`
	JSON    bool   `help:"Print what was made as JSON."`
}

func (c *demoCmd) Help() string {
	return "Run it in a checkout of Clerestory. Everything is real: the source is the checkout's commit, the binary is built from it, twice, and everything lands in a log with three witnesses. Run again, it continues. It lives in --dir (default: " + demoDir() + ")."
}

func demoDir() string {
	base := os.Getenv("XDG_DATA_HOME")
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			home = os.TempDir()
		}
		base = filepath.Join(home, ".local", "share")
	}
	return filepath.Join(base, "clerestory", "demo")
}

// demo is one run of the main job.
type demo struct {
	cmd        *demoCmd
	term       *terminal
	checkout   string
	home       *home
	db         *store.DB
	writer     *log.Writer
	passphrase []byte
	began      time.Time
	made       demoResult
}

// demoResult is what --json prints.
type demoResult struct {
	Dir         string         `json:"dir"`
	Portal      string         `json:"portal"`
	TrustedRoot string         `json:"trustedRoot"`
	Fingerprint string         `json:"fingerprint"`
	Product     string         `json:"product"`
	Version     string         `json:"version"`
	Commit      string         `json:"commit"`
	Artifact    string         `json:"artifact"`
	Bundle      string         `json:"bundle"`
	SHA256      string         `json:"sha256"`
	Reproduced  bool           `json:"reproduced"` // two builds, the same bytes
	Entry       int64          `json:"entry"`
	Verified    *verify.Report `json:"verified"`
	Refused     *verify.Report `json:"refused"` // of a copy with one flipped byte
	Seconds     float64        `json:"seconds"`
}

// Run tells the story in five steps.
func (c *demoCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	if c.Folder = cli.Dir; c.Folder == "" {
		c.Folder = demoDir()
	}
	d := &demo{cmd: c, term: t, began: time.Now()}
	if c.JSON {
		d.term = &terminal{in: t.in, out: t.err, err: t.err}
	}
	err := d.story(ctx)
	if d.writer != nil {
		err = errors.Join(err, d.writer.Close())
	}
	if d.db != nil {
		err = errors.Join(err, d.db.Close())
	}
	return err
}

func (d *demo) story(ctx context.Context) error {
	checkout, err := findCheckout(ctx)
	if err != nil {
		return err
	}
	d.checkout = checkout
	stop, err := d.found(ctx)
	if err != nil {
		return err
	}
	defer stop()
	if err := d.publish(ctx); err != nil {
		return err
	}
	if err := d.stranger(ctx); err != nil {
		return err
	}
	if err := d.base(ctx); err != nil {
		return err
	}
	d.made.Seconds = time.Since(d.began).Seconds()
	if d.cmd.JSON {
		out := &terminal{in: d.term.in, out: os.Stdout, err: d.term.err}
		if err := out.json(d.made); err != nil {
			return err
		}
	}
	if d.cmd.NoServe {
		return nil
	}
	d.farewell()
	return serve(ctx, d.home, d.db, d.writer, d.passphrase, d.term)
}

// step prints what was done, with the time since the start.
func (d *demo) step(format string, args ...any) {
	d.term.printf("%s %s\n", d.term.style(dim, fmt.Sprintf("%5.1fs", time.Since(d.began).Seconds())), fmt.Sprintf(format, args...))
}

func (d *demo) title(n int, text string) {
	d.term.printf("\n%s\n", d.term.style(bold, fmt.Sprintf("%d. %s", n, text)))
}

// findCheckout finds the root of the Clerestory checkout that we are in.
func findCheckout(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "git", "rev-parse", "--show-toplevel").Output()
	top := strings.TrimSpace(string(out))
	if err == nil {
		var mod []byte
		if mod, err = os.ReadFile(filepath.Join(top, "go.mod")); err == nil && !strings.HasPrefix(string(mod), "module clerestory.dev/clerestory\n") {
			err = errors.New("its go.mod is of another module")
		}
	}
	if err != nil {
		return "", fault.Invalid.New("the demo publishes Clerestory's own source: run it in a git checkout of Clerestory (%v)", err)
	}
	return top, nil
}

// found makes the demo's folder, or continues in the one that is there.
func (d *demo) found(ctx context.Context) (stop func(), err error) {
	d.title(1, "A vendor: programme, keys, a log with three witnesses")
	if d.cmd.Fresh && exists(d.cmd.Folder) {
		if err := d.clear(); err != nil {
			return nil, err
		}
	}
	if exists(filepath.Join(d.cmd.Folder, configFile)) {
		if d.home, err = openHome(d.cmd.Folder); err != nil {
			return nil, err
		}
		d.step("continuing in %s", line(d.cmd.Folder))
	} else if err := d.begin(ctx); err != nil {
		return nil, err
	}
	if d.passphrase, err = d.term.passphrase(d.home.path("passphrase"), "the demo"); err != nil {
		return nil, err
	}
	trust, err := d.home.trust()
	if err != nil {
		return nil, err
	}
	stop, err = d.startWitnesses(trust)
	if err != nil {
		return nil, err
	}
	if err := d.open(ctx, trust); err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}

// clear removes an earlier demo; it asks, and only removes what is a demo.
func (d *demo) clear() error {
	h, err := openHome(d.cmd.Folder)
	if err != nil || !h.config.UnsafeDemoIdentities {
		return fault.Invalid.New("%s is no demo's folder: it is not thrown away", d.cmd.Folder)
	}
	if !d.cmd.Yes {
		if err := d.term.confirm(fmt.Sprintf("Throw %s away?", d.cmd.Folder), "--yes."); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(d.cmd.Folder); err != nil {
		return fault.Unavailable.New("throwing the old demo away: %w", err)
	}
	return nil
}

// begin founds the demo's vendor. Its keys have a random passphrase in a file
// beside them, so a low scrypt cost gives nothing away.
func (d *demo) begin(ctx context.Context) error {
	_, port, err := net.SplitHostPort(d.cmd.Listen)
	if err != nil {
		return fault.Invalid.New("--listen %s: %w", d.cmd.Listen, err)
	}
	url := "http://localhost:" + port
	pass := make([]byte, 24)
	rand.Read(pass)
	secret := []byte(hex.EncodeToString(pass))
	keysDir, err := os.MkdirTemp("", "clerestory-witnesses-")
	if err != nil {
		return fault.Unavailable.New("making the witnesses: %w", err)
	}
	defer os.RemoveAll(keysDir)
	d.home, err = found(ctx, founding{
		dir: d.cmd.Folder, passphrase: secret, rootPassphrase: secret, workFactor: 8, origin: "clerestory.demo/log", rootKeys: 3, rootNeed: 2,
		machines: []string{"rebuilder", "tester", "security", "reviewer"},
		config:   config{Listen: d.cmd.Listen, URL: url, Database: "clerestory.db", PassphraseFile: "passphrase", UnsafeDemoIdentities: true},
		policy:   func(vkey string) (string, error) { return demoPolicy(keysDir, vkey, url) },
		folder: func(dir string) error {
			if err := os.WriteFile(filepath.Join(filepath.Dir(dir), "passphrase"), append(secret, '\n'), 0o600); err != nil {
				return fault.Unavailable.New("writing the demo's passphrase: %w", err)
			}
			return os.CopyFS(dir, visible{os.DirFS(filepath.Join(d.checkout, "programmes", "demo"))})
		},
	})
	if err != nil {
		return err
	}
	for _, name := range demoWitnesses {
		if err := moveKey(filepath.Join(keysDir, name), d.home.path("witnesses", name)); err != nil {
			return err
		}
	}
	d.step("made %s", line(d.cmd.Folder))
	return nil
}

// visible hides what begins with a dot: editors' and tools' files.
type visible struct{ fs.FS }

// ReadDir implements fs.ReadDirFS.
func (v visible) ReadDir(name string) ([]fs.DirEntry, error) {
	all, err := fs.ReadDir(v.FS, name)
	var kept []fs.DirEntry
	for _, e := range all {
		if !strings.HasPrefix(e.Name(), ".") {
			kept = append(kept, e)
		}
	}
	return kept, err
}

var demoWitnesses = []string{"north", "east", "south"}

// demoPolicy makes the three witnesses' keys and the policy: any two must cosign.
func demoPolicy(dir, logVKey, url string) (string, error) {
	text := fmt.Sprintf("log %s %s/log/\n", logVKey, url)
	for _, name := range demoWitnesses {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			return "", fault.Unavailable.New("making witness %s: %w", name, err)
		}
		key, err := witness.MakeKey(filepath.Join(dir, name, "witness.key"), name+".witness.demo", rand.Reader)
		if err != nil {
			return "", err
		}
		l, err := net.Listen("tcp", "127.0.0.1:0") // a port that is free now
		if err != nil {
			return "", fault.Unavailable.New("finding a port for witness %s: %w", name, err)
		}
		text += fmt.Sprintf("witness %s %s http://%s\n", name, key.VKey(), l.Addr())
		l.Close()
	}
	return text + "group witnesses 2 " + strings.Join(demoWitnesses, " ") + "\nquorum witnesses\n", nil
}

func moveKey(from, to string) error {
	b, err := os.ReadFile(filepath.Join(from, "witness.key"))
	if err == nil {
		err = os.MkdirAll(to, 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(to, "witness.key"), b, 0o600)
	}
	if err != nil {
		return fault.Unavailable.New("making a witness: %w", err)
	}
	return nil
}

// startWitnesses runs each witness in a process of its own. They end with us:
// their standard input is a pipe that closes when we do.
func (d *demo) startWitnesses(trust *verify.Trust) (stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fault.Unavailable.New("finding our own program: %w", err)
	}
	var stops []func()
	stop = func() {
		for _, s := range stops {
			s()
		}
	}
	for _, w := range trust.Policy.Witnesses {
		cmd := exec.Command(self, "witness", d.home.path("witnesses", w.Name), "--until-stdin-closes",
			"--log", trust.Policy.Log.VKey, "--listen", strings.TrimPrefix(w.URL, "http://"))
		pipe, err := cmd.StdinPipe()
		if err != nil {
			return nil, fault.Unavailable.New("starting witness %s: %w", w.Name, err)
		}
		out, err := os.Create(d.home.path("witnesses", w.Name, "output.log"))
		if err != nil {
			return nil, fault.Unavailable.New("starting witness %s: %w", w.Name, err)
		}
		cmd.Stdout, cmd.Stderr = out, out
		err = cmd.Start()
		out.Close()
		if err != nil {
			stop()
			return nil, fault.Unavailable.New("starting witness %s: %w", w.Name, err)
		}
		stops = append(stops, func() { pipe.Close(); cmd.Wait() })
		if err := answers(strings.TrimPrefix(w.URL, "http://")); err != nil {
			stop()
			return nil, fault.Unavailable.New("witness %s does not answer at %s (see %s): %w", w.Name, w.URL, out.Name(), err)
		}
		d.step("witness %-5s pid %d, %s", w.Name, cmd.Process.Pid, w.URL)
	}
	return stop, nil
}

func answers(address string) error {
	var err error
	for range 100 {
		var c net.Conn
		if c, err = net.Dial("tcp", address); err == nil {
			return c.Close()
		}
		time.Sleep(50 * time.Millisecond)
	}
	return err
}

// open opens database and log, and puts the demo's programme in force.
func (d *demo) open(ctx context.Context, trust *verify.Trust) (err error) {
	if d.db, err = d.home.openDB(ctx); err != nil {
		return err
	}
	if d.writer, err = d.home.openWriter(ctx, d.db, d.passphrase); err != nil {
		return err
	}
	next, err := programme.Open(d.home.path("programme"))
	if err != nil {
		return err
	}
	applied, err := applyProgramme(ctx, d.home, d.db, next, d.passphrase)
	if err != nil {
		return err
	}
	d.made.Dir, d.made.Portal = d.home.dir, d.home.config.URL
	d.made.TrustedRoot, d.made.Fingerprint = d.home.path("trusted_root.json"), trust.Fingerprint()
	d.step("programme of %s in force (version %d)", line(next.Vendor.Name), applied.Version)
	d.step("root of trust %s, fingerprint %s", d.made.TrustedRoot, trust.Fingerprint())
	return nil
}

// farewell says where it is, who can sign in, and what is worth trying.
func (d *demo) farewell() {
	t := d.term
	d.title(5, "The portal")
	t.printf("%s   (everybody may read it; stop with Ctrl-C)\nSign in with one click as ada, boris, chidi, dana or eve: %s/demo-identities\n\nWorth trying:\n", t.style(bold, d.made.Portal), d.made.Portal)
	program := filepath.Join(filepath.Dir(d.made.Artifact), filepath.Base(d.made.Artifact))
	for _, c := range []string{
		fmt.Sprintf("%s verify %s --trust %s --log %s/log/", program, d.made.Artifact, d.made.TrustedRoot, d.made.Portal),
		fmt.Sprintf("%s log check %s/log/ --trust %s", program, d.made.Portal, d.made.TrustedRoot),
		fmt.Sprintf("%s log list --dir %s", program, d.made.Dir),
		fmt.Sprintf("%s release revoke clerestory %s --reason 'just to see it' --yes --dir %s", program, d.made.Version, d.made.Dir),
		fmt.Sprintf("%s monitor %s/log/ --trust %s", program, d.made.Portal, d.made.TrustedRoot),
	} {
		t.printf("  %s\n", c)
	}
	t.printf("\n")
}
