package update

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"
	"golang.org/x/mod/sumdb/tlog"

	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
	"clerestory.dev/clerestory/verify/verifytest"
)

// mirror is a vendor's repository with its log, as static files in memory, and a
// server of them that a test can make hostile.
type mirror struct {
	*verifytest.Vendor
	t        testing.TB
	files    map[string][]byte
	online   *verifytest.Key
	product  []*verifytest.Key // two of these sign the product's role
	signers  []*verifytest.Key // who signs it now
	head     Head
	targets  map[string]*metadata.TargetFiles
	versions map[string]int64 // of metadata files
	number   int64
	expires  map[string]time.Duration // of metadata files, when not a year
	mu       sync.Mutex
	asked    []string
	// hostile answers instead of the mirror when it returns true.
	hostile func(w http.ResponseWriter, r *http.Request, name string) bool
	server  *httptest.Server
}

func newMirror(t testing.TB) *mirror {
	t.Helper()
	m := &mirror{Vendor: verifytest.New(t), t: t, files: map[string][]byte{}, online: verifytest.NewKey("online"),
		head: Head{Product: verifytest.Product, Channel: "stable"}, targets: map[string]*metadata.TargetFiles{}, versions: map[string]int64{},
		expires: map[string]time.Duration{"timestamp": 24 * time.Hour}}
	for i := range 3 {
		m.product = append(m.product, verifytest.NewKey(fmt.Sprint("product ", i)))
	}
	m.signers = m.product[:2]
	m.Root = m.tufRoot(1)
	m.files["metadata/1.root.json"] = m.TrustFile()
	m.server = httptest.NewServer(http.HandlerFunc(m.serve))
	t.Cleanup(m.server.Close)
	return m
}

// tufRoot is the trusted root with an online key for snapshot and timestamp.
func (m *mirror) tufRoot(version int64) verify.Root {
	r := m.NewRoot(version, m.RootKeys...)
	k := verify.RootKey{KeyType: "ed25519", Scheme: "ed25519"}
	k.KeyVal.Public = hex.EncodeToString(m.online.Public())
	r.Keys[m.online.KeyID()] = k
	r.Roles["targets"] = r.Roles["root"]
	for _, role := range []string{"snapshot", "timestamp"} {
		r.Roles[role] = verify.RootRole{KeyIDs: []string{m.online.KeyID()}, Threshold: 1}
	}
	return r
}

func (m *mirror) serve(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	m.mu.Lock()
	m.asked = append(m.asked, name)
	b, ok := m.files[name]
	hostile := m.hostile
	m.mu.Unlock()
	if hostile != nil && hostile(w, r, name) {
		return
	}
	if !ok {
		http.NotFound(w, r)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

// requests gives the files that were asked for since the last call.
func (m *mirror) requests() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.asked
	m.asked = nil
	return a
}

func (m *mirror) addTarget(name string, b []byte) {
	m.t.Helper()
	f, err := metadata.TargetFile().FromBytes(name, b, "sha256")
	if err != nil {
		m.t.Fatal(err)
	}
	m.targets[name] = f
	m.files[path.Join("targets", path.Dir(name), verifytest.SHA256(string(b))+"."+path.Base(name))] = b
}

// release logs a release, offers it to everyone, and publishes.
func (m *mirror) release(version string, files map[string]string, change ...func(p *verifytest.Plan)) *Offer {
	m.t.Helper()
	p := verifytest.Plan{Files: files, Release: func(r *statement.Release) { r.Version = version }}
	for _, c := range change {
		c(&p)
	}
	out := m.Release(p)
	m.number++
	o := Offer{Version: version, Number: m.number, Entry: out.Release, Percent: 100, Seed: version, Reproducible: 2}
	for _, f := range out.Manifest.Files {
		content := files[f.Name]
		m.addTarget(FileTarget(verifytest.Product, version, f.Name), []byte(content))
		entry := File{Name: f.Name, SHA256: f.SHA256, Size: int64(len(content))}
		for _, old := range m.head.Releases {
			entry.Deltas = append(entry.Deltas, m.delta(version, f.Name, content, old)...)
		}
		o.Files = append(o.Files, entry)
	}
	m.bundles(o)
	m.head.Releases = append(m.head.Releases, o)
	m.publish()
	return &m.head.Releases[len(m.head.Releases)-1]
}

// bundles makes the bundles of an offer anew, under the log's state now.
func (m *mirror) bundles(o Offer) {
	m.t.Helper()
	b, err := m.Bundle().Format()
	if err != nil {
		m.t.Fatal(err)
	}
	for _, f := range o.Files {
		m.addTarget(BundleTarget(verifytest.Product, o.Version, f.Name), b)
	}
}

func (m *mirror) delta(version, name, content string, old Offer) []Delta {
	for _, f := range old.Files {
		before := m.files[path.Join("targets", verifytest.Product, old.Version, f.SHA256+"."+f.Name)]
		d, err := MakeDelta(before, []byte(content))
		if f.Name != name || err != nil {
			continue
		}
		m.addTarget(DeltaTarget(verifytest.Product, version, name, f.SHA256), d)
		return []Delta{{From: f.SHA256, SHA256: verifytest.SHA256(string(d)), Size: int64(len(d))}}
	}
	return nil
}

// publish writes head, metadata and log.
func (m *mirror) publish() {
	m.mu.Lock() // clients in other processes read at any time
	defer m.mu.Unlock()
	m.t.Helper()
	m.head.Sequence++
	b, err := m.head.Format()
	if err != nil {
		m.t.Fatal(err)
	}
	m.addTarget(HeadTarget(verifytest.Product, "stable"), b)
	m.sign()
	m.publishLog()
}

// sign makes all metadata anew.
func (m *mirror) sign() {
	m.t.Helper()
	product := metadata.Targets(m.until("lantern"))
	maps.Copy(product.Signed.Targets, m.targets)
	m.put("lantern", product, m.signers...)
	m.signAbove(2)
}

// signAbove makes targets, snapshot and timestamp for the product's role as it is.
func (m *mirror) signAbove(threshold int) {
	m.t.Helper()
	top := metadata.Targets(m.until("targets"))
	top.Signed.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{}}
	role := metadata.DelegatedRole{Name: "lantern", Threshold: threshold, Terminating: true, Paths: []string{"lantern/*", "lantern/*/*", "lantern/*/*/*"}}
	for _, k := range m.product {
		key, err := metadata.KeyFromPublicKey(ed25519.PublicKey(k.Public()))
		if err != nil {
			m.t.Fatal(err)
		}
		top.Signed.Delegations.Keys[k.KeyID()] = key
		role.KeyIDs = append(role.KeyIDs, k.KeyID())
	}
	top.Signed.Delegations.Roles = []metadata.DelegatedRole{role}
	m.put("targets", top, m.RootKeys[0], m.RootKeys[1])
	m.signOnline()
}

func (m *mirror) signOnline() {
	m.t.Helper()
	snap := metadata.Snapshot(m.until("snapshot"))
	for _, role := range []string{"targets", "lantern"} {
		snap.Signed.Meta[role+".json"] = m.meta(role)
	}
	m.put("snapshot", snap, m.online)
	stamp := metadata.Timestamp(m.until("timestamp"))
	stamp.Signed.Meta["snapshot.json"] = m.meta("snapshot")
	m.put("timestamp", stamp, m.online)
}

func (m *mirror) meta(role string) *metadata.MetaFiles {
	f := metadata.MetaFile(m.versions[role])
	b := m.files[fmt.Sprintf("metadata/%d.%s.json", f.Version, role)]
	sum := sha256.Sum256(b)
	f.Length, f.Hashes = int64(len(b)), metadata.Hashes{"sha256": sum[:]}
	return f
}

func (m *mirror) until(role string) time.Time {
	d := m.expires[role]
	if d == 0 {
		d = 300 * 24 * time.Hour
	}
	return m.Now.Add(d).UTC()
}

// put signs a role's next version and writes its file.
func (m *mirror) put(role string, meta any, keys ...*verifytest.Key) {
	m.t.Helper()
	m.versions[role]++
	v := m.versions[role]
	var b []byte
	var err error
	switch x := meta.(type) {
	case *metadata.Metadata[metadata.TargetsType]:
		x.Signed.Version = v
		b, err = signed(x, keys)
	case *metadata.Metadata[metadata.SnapshotType]:
		x.Signed.Version = v
		b, err = signed(x, keys)
	case *metadata.Metadata[metadata.TimestampType]:
		x.Signed.Version = v
		b, err = signed(x, keys)
	}
	if err != nil {
		m.t.Fatal(err)
	}
	name := fmt.Sprintf("metadata/%d.%s.json", v, role)
	if role == "timestamp" {
		name = "metadata/timestamp.json"
	}
	m.files[name] = b
}

func signed[T metadata.Roles](x *metadata.Metadata[T], keys []*verifytest.Key) ([]byte, error) {
	for _, k := range keys {
		s, err := signature.LoadSigner(k.Private, crypto.Hash(0))
		if err != nil {
			return nil, err
		}
		if _, err := x.Sign(s); err != nil {
			return nil, err
		}
	}
	return x.ToBytes(false)
}

// publishLog writes the log's static files.
func (m *mirror) publishLog() {
	m.t.Helper()
	m.files["log/checkpoint"] = m.Checkpoint()
	var hashes []tlog.Hash
	reader := tlog.HashReaderFunc(func(index []int64) ([]tlog.Hash, error) {
		var out []tlog.Hash
		for _, i := range index {
			out = append(out, hashes[i])
		}
		return out, nil
	})
	for i, raw := range m.Log.Entries {
		h, err := tlog.StoredHashes(int64(i), raw, reader)
		if err != nil {
			m.t.Fatal(err)
		}
		hashes = append(hashes, h...)
	}
	for _, tile := range tlog.NewTiles(8, 0, m.Log.Size()) {
		b, err := tlog.ReadTileData(tile, reader)
		if err != nil {
			m.t.Fatal(err)
		}
		m.files["log/tile/"+strings.TrimPrefix(tile.Path(), "tile/8/")] = b
		if tile.L > 0 {
			continue
		}
		var entries []byte
		for _, raw := range m.Log.Entries[tile.N*256 : tile.N*256+int64(tile.W)] {
			entries = append(binary.BigEndian.AppendUint16(entries, uint16(len(raw))), raw...)
		}
		m.files["log/tile/entries/"+strings.TrimPrefix(tile.Path(), "tile/8/0/")] = entries
	}
}

// folder writes the mirror to a disk.
func (m *mirror) folder() string {
	m.t.Helper()
	root := m.t.TempDir()
	for name, b := range m.files {
		p := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			m.t.Fatal(err)
		}
		if err := os.WriteFile(p, b, 0o600); err != nil {
			m.t.Fatal(err)
		}
	}
	return root
}

// snapshotOf copies the mirror's files as they are: a mirror that stands still.
func (m *mirror) copyFiles() map[string][]byte { return maps.Clone(m.files) }

// client makes a client of the mirror in a fresh folder.
func (m *mirror) client(change ...func(*Config)) *Client {
	m.t.Helper()
	cfg := Config{Trust: m.files["metadata/1.root.json"], Repo: m.server.URL, Dir: m.t.TempDir(), Product: verifytest.Product, Channel: "stable",
		Now: func() time.Time { return m.Now }, HTTP: m.server.Client(), Limits: Limits{Patience: 5 * time.Second}}
	for _, c := range change {
		c(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		m.t.Fatal(err)
	}
	return c
}
