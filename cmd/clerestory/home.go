package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"golang.org/x/mod/sumdb/tlog"

	"clerestory.dev/clerestory/internal/base/atomicfile"
	"clerestory.dev/clerestory/internal/base/blob"
	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/ledger/keyring"
	"clerestory.dev/clerestory/internal/ledger/log"
	"clerestory.dev/clerestory/internal/ledger/tile"
	"clerestory.dev/clerestory/internal/office/release"
	"clerestory.dev/clerestory/verify"
)

// config is config.yaml in a vendor's folder. Unknown keys are refused.
type config struct {
	// Listen is the address of the portal. Keep it on the loopback interface
	// behind a reverse proxy that speaks TLS.
	Listen string `yaml:"listen"`
	// URL is how visitors reach the portal; passkeys are bound to its host.
	URL string `yaml:"url"`
	// Database is a file in the folder, or a postgres:// URL.
	Database string `yaml:"database"`
	// Proxies are the addresses (CIDR) of reverse proxies in front of the portal:
	// what they say in X-Forwarded-For is believed, so that the limit on sign-in
	// attempts counts visitors and not the proxy. Empty believes nobody.
	Proxies []string `yaml:"proxies,omitempty"`
	// PassphraseFile unlocks the log's key when the server starts unattended.
	// Root keys should have another passphrase.
	PassphraseFile string `yaml:"passphrase_file,omitempty"`
	// UnsafeDemoIdentities lets anybody sign in as anyone with one click.
	UnsafeDemoIdentities bool `yaml:"unsafe_demo_identities,omitempty"`
	// UnsafeNoWitnesses runs the log without witnesses: it could show different
	// histories to different people.
	UnsafeNoWitnesses bool `yaml:"unsafe_no_witnesses,omitempty"`
}

// home is a vendor's folder.
type home struct {
	dir     string
	config  config
	keyCost int           // of new key files; 0 is the keyring's own
	wait    time.Duration // for witnesses; 0 is 30 s
}

const configFile = "config.yaml"

// openHome finds the vendor's folder: the one named, the current one, the demo's.
func openHome(dir string) (*home, error) {
	if dir == "" {
		dir = "."
		if _, err := os.Stat(configFile); err != nil {
			if dir = demoDir(); !exists(filepath.Join(dir, configFile)) {
				return nil, fault.NotFound.New("there is no %s here: name the vendor's folder with --dir, or make one with clerestory init or clerestory demo", configFile)
			}
		}
	}
	h := &home{dir: dir}
	b, err := os.ReadFile(h.path(configFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.NotFound.New("%s is no vendor's folder: it has no %s (clerestory init makes one)", dir, configFile)
	}
	if err != nil {
		return nil, fault.Unavailable.New("opening the vendor's folder: %w", err)
	}
	if err := yaml.UnmarshalWithOptions(b, &h.config, yaml.Strict()); err != nil {
		return nil, fault.Invalid.New("%s: %s", h.path(configFile), yaml.FormatError(err, false, false))
	}
	return h, nil
}

func (h *home) path(parts ...string) string {
	return filepath.Join(append([]string{h.dir}, parts...)...)
}

func (h *home) keys() *keyring.Ring {
	return &keyring.Ring{Dir: h.path("keys"), WorkFactor: h.keyCost, Agent: sshAgent()}
}
func (h *home) rootKeys() *keyring.Ring {
	return &keyring.Ring{Dir: h.path("root-keys"), WorkFactor: h.keyCost, Agent: sshAgent()}
}
func (h *home) logDir() string { return h.path("log") }

func (h *home) openDB(ctx context.Context) (*store.DB, error) {
	dsn := h.config.Database
	if dsn == "" {
		dsn = "clerestory.db"
	}
	if len(dsn) < 11 || dsn[:11] != "postgres://" {
		dsn = h.path(dsn)
	}
	return store.Open(ctx, dsn)
}

// roots are all versions of the trusted root, the first one first.
func (h *home) roots() ([][]byte, error) {
	var all [][]byte
	for v := int64(1); ; v++ {
		b, err := os.ReadFile(h.rootPath(v))
		if errors.Is(err, fs.ErrNotExist) && v > 1 {
			return all, nil
		}
		if err != nil {
			return nil, fault.Unavailable.New("reading the root of trust: %w", err)
		}
		all = append(all, b)
	}
}

func (h *home) rootPath(version int64) string {
	return h.path("roots", strconv.FormatInt(version, 10)+".root.json")
}

// addRoot writes the next version of the root, and trusted_root.json.
func (h *home) addRoot(version int64, file []byte) error {
	if err := os.MkdirAll(h.path("roots"), 0o755); err != nil {
		return fmt.Errorf("writing the root of trust: %w", err)
	}
	for _, path := range []string{h.rootPath(version), h.path("trusted_root.json")} {
		if err := atomicfile.Write(path, file, 0o644); err != nil {
			return fmt.Errorf("writing the root of trust: %w", err)
		}
	}
	return nil
}

// trust is the root in force.
func (h *home) trust() (*verify.Trust, error) {
	all, err := h.roots()
	if err != nil {
		return nil, err
	}
	return verify.ParseTrust(all[len(all)-1])
}

// releases opens the release room.
func (h *home) releases(db *store.DB) (*release.Service, error) {
	blobs, err := blob.NewDisk(h.path("blobs"))
	if err != nil {
		return nil, err
	}
	return &release.Service{DB: db, Blobs: blobs, Ledger: &staticLog{h, db}, Roots: h.roots, Now: time.Now}, nil
}

// staticLog proves entries from the published files, whoever writes them.
type staticLog struct {
	home *home
	db   *store.DB
}

// Checkpoint implements release.Ledger.
func (l *staticLog) Checkpoint(ctx context.Context) ([]byte, error) {
	cp, err := tile.Dir(l.home.logDir()).Checkpoint(ctx)
	if errors.Is(err, fault.NotFound) {
		return nil, fault.Unavailable.New("the log has no published checkpoint yet")
	}
	return cp, err
}

// Prove implements release.Ledger.
func (l *staticLog) Prove(ctx context.Context, n int64, checkpoint []byte) (*verify.Proof, error) {
	t, err := l.home.trust()
	if err != nil {
		return nil, err
	}
	c, err := t.Policy.Open(checkpoint)
	if err != nil {
		return nil, err
	}
	if n >= c.Size {
		return nil, fault.Unavailable.New("entry %d is not in a published checkpoint yet (it covers %d)", n, c.Size)
	}
	said, err := l.db.SaidAt(ctx, n)
	if err != nil {
		return nil, err
	}
	return tile.Prove(ctx, tile.Dir(l.home.logDir()), c, n, said.Envelope)
}

// Growth implements check.Log.
func (l *staticLog) Growth(ctx context.Context, from, to int64) ([]tlog.Hash, error) {
	t, err := l.home.trust()
	if err != nil {
		return nil, err
	}
	cp, err := l.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	c, err := t.Policy.Open(cp)
	if err != nil {
		return nil, err
	}
	return tile.ProveGrowth(ctx, tile.Dir(l.home.logDir()), c, from, to)
}

// openWriter opens the log for writing; Conflict means that another process
// does that already.
func (h *home) openWriter(ctx context.Context, db *store.DB, passphrase []byte) (*log.Writer, error) {
	t, err := h.trust()
	if err != nil {
		return nil, err
	}
	key, err := h.keys().Unlock("log", passphrase)
	if err != nil {
		return nil, err
	}
	signer, vkey, err := key.Note(t.Policy.Log.Origin())
	if err != nil {
		return nil, err
	}
	if vkey != t.Policy.Log.VKey {
		return nil, fault.Tampered.New("the key %q is not the log key that the root of trust names", "log")
	}
	return log.Open(ctx, log.Config{
		DB: db, Dir: h.logDir(), Signer: signer, VKey: vkey, Policy: t.Policy.Text(),
		UnsafeNoWitnesses: h.config.UnsafeNoWitnesses, Clock: time.Now, Logger: quietLogger(),
		CloseWait: min(5*time.Second, cmp.Or(h.wait, 5*time.Second)),
	})
}

// notBehind refuses a database that is older than its log.
func (h *home) notBehind(ctx context.Context, db *store.DB) error {
	t, err := h.trust()
	if err != nil {
		return err
	}
	return log.CheckBehind(ctx, db, h.logDir(), t.Policy.Log.VKey)
}

// settle waits until statement n is in a witnessed checkpoint. When no server
// runs, it writes the log itself meanwhile.
func (h *home) settle(ctx context.Context, db *store.DB, n int64, passphrase []byte) error {
	ctx, stop := context.WithTimeout(ctx, cmp.Or(h.wait, 30*time.Second))
	defer stop()
	w, err := h.openWriter(ctx, db, passphrase)
	for errors.Is(err, fault.Conflict) {
		// Another process writes. If that is no server but a command like this one,
		// it may end before it gets to our entry: then it is our turn.
		if err := h.waitPublished(ctx, n, anotherTurn); !errors.Is(err, errNotYet) {
			return err
		}
		w, err = h.openWriter(ctx, db, passphrase)
	}
	if err != nil {
		return fmt.Errorf("writing the log: %w", err)
	}
	defer w.Close()
	if _, err := w.Wait(ctx, n); err != nil {
		return unwitnessed(n, w.Status(context.WithoutCancel(ctx)), err)
	}
	return nil
}

// unwitnessed says what it means that nobody answered: nothing is lost, and
// nothing has to be said again.
func unwitnessed(n int64, s log.Status, err error) error {
	if s.Stopped || errors.Is(err, fault.Tampered) {
		return fmt.Errorf("waiting until entry %d is witnessed: %w", n, err)
	}
	why := []string{"no answer in time"}
	for _, w := range s.Witnesses {
		if w.Err != nil {
			why = append(why, fmt.Sprintf("witness %s: %v", w.Name, w.Err))
		}
	}
	return fault.Unavailable.New("entry %d is written, but not witnessed yet (%s): do not say it again; it is published when enough witnesses answer, by clerestory serve or by the next command that writes", n, strings.Join(why, "; "))
}

// anotherTurn is how long somebody else is left to write the log. Unlocking the
// key for another attempt costs a second of computing.
const anotherTurn = 3 * time.Second

var errNotYet = errors.New("not published yet")

// waitPublished waits for whoever writes the log; after a while it is errNotYet.
func (h *home) waitPublished(ctx context.Context, n int64, patience time.Duration) error {
	enough := time.After(patience)
	t, err := h.trust()
	if err != nil {
		return err
	}
	for {
		if raw, err := tile.Dir(h.logDir()).Checkpoint(ctx); err == nil {
			if c, err := t.Policy.Open(raw); err == nil && c.Size > n {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fault.Unavailable.New("entry %d is written, but no witnessed checkpoint covers it yet; the server publishes it when enough witnesses answer", n)
		case <-enough:
			return errNotYet
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// passphrase is what unlocks the keys: the flag's file, the folder's, a person.
func (h *home) passphrase(c *cli, t *terminal) ([]byte, error) {
	file := c.PassphraseFile
	if file == "" && h.config.PassphraseFile != "" {
		if file = h.config.PassphraseFile; !filepath.IsAbs(file) {
			file = h.path(file)
		}
	}
	return t.passphrase(file, "the keys in "+h.path("keys"))
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
