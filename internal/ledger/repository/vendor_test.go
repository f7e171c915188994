package repository_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"clerestory.dev/clerestory/internal/base/blob"
	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store/storetest"
	"clerestory.dev/clerestory/internal/ledger/keyring"
	"clerestory.dev/clerestory/internal/ledger/repository"
	"clerestory.dev/clerestory/internal/ledger/signing"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/update"
)

var (
	ctx   = context.Background()
	start = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	pass  = []byte("correct horse battery")
)

// vendor is one with three root keys and three release keys, two of which must
// sign, one online key, and a repository.
type vendor struct {
	*repository.Service
	t       testing.TB
	ring    *keyring.Ring
	now     time.Time
	roots   []*keyring.Key
	online  *keyring.Key
	release []*keyring.Key // two of these must sign
	files   [][]byte       // root versions
	plan    keyring.RootPlan
}

func newVendor(t testing.TB, dsn string) *vendor { return openVendor(t, t.TempDir(), dsn) }

// openVendor makes a vendor in a folder, or opens the one that is there.
func openVendor(t testing.TB, dir, dsn string) *vendor {
	v := &vendor{t: t, ring: &keyring.Ring{Dir: filepath.Join(dir, "keys"), WorkFactor: 2}, now: start}
	for i := range 3 {
		v.roots = append(v.roots, v.key(fmt.Sprintf("root-%d", i+1), "root"))
		v.release = append(v.release, v.key(fmt.Sprintf("release-%d", i+1), "release"))
	}
	v.online = v.key("online", "online")
	_, vkey, err := v.key("log", "log").Note("example.org/log")
	must(t, err)
	v.plan = keyring.RootPlan{Vendor: "acme", Policy: "log " + vkey + "\nquorum none\n", Approvals: 2, Threshold: 2,
		Expires: v.now.AddDate(1, 0, 0), Online: []keyring.Public{v.online.Public}}
	file, err := keyring.NewRoot(v.plan, v.roots)
	must(t, err)
	v.files = [][]byte{file}
	blobs, err := blob.NewDisk(filepath.Join(dir, "blobs"))
	must(t, err)
	v.Service = &repository.Service{
		DB: storetest.Open(t, dsn), Blobs: blobs, Dir: filepath.Join(dir, "repository"), Now: func() time.Time { return v.now },
		Roots: func() ([][]byte, error) { return v.files, nil }, Online: []statement.Signer{v.online},
		Release: func(context.Context, string) (repository.Keys, error) { return keysOf(2, v.release...), nil },
	}
	return v
}

func keysOf(threshold int, keys ...*keyring.Key) repository.Keys {
	k := repository.Keys{Threshold: threshold}
	for _, x := range keys {
		k.Parties = append(k.Parties, signing.Party{Public: statement.PublicKey(x.Public.Public), Holder: x.Holder})
	}
	return k
}

func (v *vendor) key(name, role string) *keyring.Key {
	v.t.Helper()
	k, err := v.ring.Create(name, role, name, pass)
	if errors.Is(err, fault.Conflict) {
		k, err = v.ring.Unlock(name, pass)
	}
	must(v.t, err)
	return k
}

// version makes a release whose one file has this content.
func (v *vendor) version(version, content string, more ...string) repository.Release {
	v.t.Helper()
	r := repository.Release{Product: "agent", Channel: "stable", Version: version, Entry: 10, Reproducible: 2}
	for i := 0; i < len(more)+2; i += 2 {
		name, text := "agent.bin", content
		if i > 0 {
			name, text = more[i-2], more[i-1]
		}
		info, err := v.Blobs.Put(ctx, strings.NewReader(text), 1<<30)
		must(v.t, err)
		r.Files = append(r.Files, repository.File{Name: name, SHA256: info.SHA256, Size: info.Size, Bundle: []byte("bundle of " + name + " " + version)})
	}
	return r
}

// publish offers a version to everybody.
func (v *vendor) publish(version, content string) *update.Head {
	v.t.Helper()
	var h *update.Head
	v.show(func(ctx context.Context) (err error) {
		h, err = v.Offer(ctx, v.version(version, content), 100, "seed-"+version)
		return err
	})
	return h
}

// show publishes a change with two root keys and two release keys.
func (v *vendor) show(change func(context.Context) error) {
	v.t.Helper()
	if _, err := v.Publish(ctx, change, v.signers()...); err != nil {
		v.t.Fatal(err)
	}
}

func (v *vendor) signers() []statement.Signer {
	return []statement.Signer{v.roots[0], v.roots[1], v.release[0], v.release[1]}
}

// client is go-tuf's own, with a cache that outlives a refresh.
type client struct {
	t     testing.TB
	url   string
	cache string
	root  []byte
	now   func() time.Time
}

func (v *vendor) client(dir string) *client {
	server := httptest.NewServer(http.StripPrefix("/repository", repository.Handler(dir)))
	v.t.Cleanup(server.Close)
	return &client{v.t, server.URL + "/repository/", v.t.TempDir(), v.files[0], func() time.Time { return v.now }}
}

func (c *client) refresh() (*updater.Updater, error) {
	c.t.Helper()
	cfg, err := config.New(c.url+"metadata", c.root)
	must(c.t, err)
	cfg.RemoteTargetsURL, cfg.LocalMetadataDir, cfg.LocalTargetsDir = c.url+"targets", c.cache, filepath.Join(c.cache, "targets")
	must(c.t, cfg.SetDefaultFetcherRetry(time.Millisecond, 1))
	must(c.t, cfg.EnsurePathsExist())
	u, err := updater.New(cfg)
	must(c.t, err)
	u.UnsafeSetRefTime(c.now())
	return u, u.Refresh()
}

// get downloads a target.
func (c *client) get(name string) ([]byte, error) {
	c.t.Helper()
	u, err := c.refresh()
	if err != nil {
		return nil, err
	}
	info, err := u.GetTargetInfo(name)
	if err != nil {
		return nil, err
	}
	_, content, err := u.DownloadTarget(info, filepath.Join(c.cache, url.PathEscape(name)), "")
	return content, err
}

// head downloads and reads a channel's head.
func (c *client) head() *update.Head {
	c.t.Helper()
	content, err := c.get("agent/stable/head.json")
	must(c.t, err)
	h, err := update.ParseHead(content)
	must(c.t, err)
	return h
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
