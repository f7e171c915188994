package portal_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"filippo.io/age"
	"golang.org/x/mod/sumdb/tlog"

	"clerestory.dev/clerestory/internal/base/blob"
	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/programme"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/base/store/storetest"
	trail "clerestory.dev/clerestory/internal/gate/audit"
	"clerestory.dev/clerestory/internal/gate/door"
	"clerestory.dev/clerestory/internal/gate/passkey"
	"clerestory.dev/clerestory/internal/gate/policy"
	"clerestory.dev/clerestory/internal/ledger/keyring"
	"clerestory.dev/clerestory/internal/ledger/repository"
	"clerestory.dev/clerestory/internal/office/advisory"
	"clerestory.dev/clerestory/internal/office/detection"
	"clerestory.dev/clerestory/internal/office/release"
	"clerestory.dev/clerestory/internal/window/portal"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/update"
	"clerestory.dev/clerestory/verify"
	"clerestory.dev/clerestory/verify/verifytest"
)

var ctx = context.Background()

// site is a vendor's portal over a real store, gate and release room; only the
// log is one in memory, with real proofs and cosignatures.
type site struct {
	t      testing.TB
	vendor *verifytest.Vendor
	db     *store.DB
	office *release.Service
	// advisories is the room of weaknesses; identity opens what is reported.
	advisories *advisory.Service
	identity   *age.X25519Identity
	people     *passkey.Service
	keys       *keyring.Ring
	heads      []*update.Head
	last       *detection.Pack // that was tested
	repository repository.Status
	url        string
	mu         sync.Mutex // guards vendor.Log, and now
	now        time.Time
	logged     bytes.Buffer
	ready      error
	covered    int64 // entries that the checkpoint covers
}

const lantern = `vendor:
  id: lantern-works
  name: Lantern Works
  url: https://lantern.example
  contact: mailto:programme@lantern.example
log:
  origin: log.lantern.example
  url: https://log.lantern.example/
approvals: 2
products:
  - id: lantern
    name: Lantern
    description: Watches what runs on a machine.
    repository: https://git.lantern.example/lantern
    channels: [stable]
people:
  - id: ada
    roles: [admin]
  - id: boris
    roles: [approver]
  - id: chidi
    roles: [approver]
security:
  contact: [mailto:security@lantern.example]
  expires: 2027-06-30T00:00:00Z
  languages: [en]
  recipient: RECIPIENT
  scope: [the program lantern]
  safe_harbour: Who looks in good faith acts with our permission.
  promises: {acknowledge: 3, triage: 10, fix: 90, publish: 120}
`

const policyText = "## What to expect\n\nA person answers. <script>alert(1)</script> [x](javascript:alert(1))\n"

const aboutText = "# Our programme\n\nWe *show* what we do. <script>alert(1)</script> [x](javascript:alert(1))\n"

var demoPeople = []passkey.Person{
	{ID: "ada", Name: "Ada Admin", Roles: []string{"admin"}},
	{ID: "boris", Name: "Boris Approver", Roles: []string{"approver"}},
	{ID: "chidi", Name: "Chidi Auditor", Roles: []string{"auditor"}},
	{ID: "femi", Name: "Femi Responder", Roles: []string{"security"}},
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// newSite opens a portal on the loopback interface; its people are demo people.
func newSite(t testing.TB) *site {
	t.Helper()
	v := verifytest.New(t)
	s := &site{t: t, vendor: v, db: storetest.Open(t, filepath.Join(t.TempDir(), "db")), now: v.Now}
	s.adopt()
	s.keys = &keyring.Ring{Dir: t.TempDir(), WorkFactor: 10}
	listener := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	s.url = fmt.Sprintf("http://localhost:%d", listener.Addr().(*net.TCPAddr).Port)
	s.identity = must(age.GenerateX25519Identity())(t)
	blobs := must(blob.NewDisk(filepath.Join(t.TempDir(), "blobs")))(t)
	prog := must(programme.Read(fstest.MapFS{"programme.yaml": {Data: []byte(strings.Replace(lantern, "RECIPIENT", s.identity.Recipient().String(), 1))},
		"about.md": {Data: []byte(aboutText)}, "security.md": {Data: []byte(policyText)}}))(t)
	s.advisories = &advisory.Service{DB: s.db, URL: s.url, Now: s.clock, Roots: func() ([][]byte, error) { return [][]byte{v.TrustFile()}, nil }, Releases: shelf{s},
		Programme: func(context.Context) (*programme.Programme, error) { return prog, nil }}
	s.office = &release.Service{DB: s.db, Blobs: blobs, Ledger: s, Now: s.clock, Roots: func() ([][]byte, error) { return [][]byte{v.TrustFile()}, nil }}
	logger := slog.New(slog.NewTextHandler(&s.logged, nil))
	rules := must(policy.Load(policy.Default()))(t)
	audit := trail.New(s.db, s.clock)
	guard := door.NewGuard(rules, audit)
	s.people = must(passkey.New(ctx, s.db, passkey.Config{Name: "Lantern Works", RPID: "localhost", Origins: []string{s.url}, Roles: programme.Roles,
		Guard: guard, Now: s.clock, Log: logger, UnsafeDemoIdentities: demoPeople}))(t)
	in := must(door.New(door.Config{People: s.people, Guard: guard, Now: s.clock, Log: logger}))(t)
	trust := v.Trust()
	handler := must(portal.New(portal.Config{URL: s.url, Version: "test", DB: s.db, Blobs: blobs, Ledger: s, LogFiles: http.NotFoundHandler(),
		Trust: func() (*verify.Trust, error) { return trust, nil }, Roots: func() ([][]byte, error) { return [][]byte{trust.File()}, nil }, Programme: func() *programme.Programme { return prog },
		Releases: s.office, Advisories: s.advisories, Keys: s.keys, Repository: s, People: s.people, Door: in, Guard: guard, Trail: audit, Policies: func() *policy.Set { return rules },
		Demo: true, Ready: func(context.Context) error { return s.ready }, Now: s.clock, Log: logger}))(t)
	srv := httptest.NewUnstartedServer(handler)
	srv.Listener.Close()
	srv.Listener = listener
	srv.Start()
	t.Cleanup(srv.Close)
	return s
}

func (s *site) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(time.Millisecond) // so that nothing is said at the same time
	return s.now
}

// adopt takes what was said to the log alone into the store; publish the other
// way round, and covers all of it with a checkpoint.
func (s *site) adopt() {
	s.t.Helper()
	next := must(s.db.Next(ctx))(s.t)
	for n := next; n < s.vendor.Log.Size(); n++ {
		at := s.clock()
		if err := s.db.Write(ctx, func(tx *store.Tx) error { return tx.Adopt(ctx, n, s.vendor.Log.Entries[n], at) }); err != nil {
			s.t.Fatal(err)
		}
	}
	s.publish()
}

func (s *site) publish() {
	s.t.Helper()
	said := must(s.db.SaidFrom(ctx, s.vendor.Log.Size(), 1000))(s.t)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range said {
		s.vendor.Log.Add(x.Envelope)
	}
	s.covered = s.vendor.Log.Size()
}

// Checkpoint implements record.Ledger.
func (s *site) Checkpoint(context.Context) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.covered == 0 {
		return nil, fault.Unavailable.New("there is no checkpoint yet")
	}
	return s.vendor.Log.Sign(s.vendor.Log.Text(s.covered), s.vendor.Seen, s.vendor.Witnesses[:2]...), nil
}

// Prove implements record.Ledger.
func (s *site) Growth(_ context.Context, from, to int64) ([]tlog.Hash, error) {
	if from < 1 || from >= to || to > s.covered {
		return nil, fault.NotFound.New("no proof leads from %d to %d", from, to)
	}
	return s.vendor.Log.Growth(from, to), nil
}

func (s *site) Prove(_ context.Context, n int64, checkpoint []byte) (*verify.Proof, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return verify.ParseProof(s.vendor.Log.Prove(n, s.covered, checkpoint))
}

// say says a statement, in the store only until publish.
func (s *site) say(subject []statement.Subject, p statement.Predicate, by ...string) int64 {
	s.t.Helper()
	return s.sayPayload(must(statement.New(subject, p))(s.t), by...)
}

func (s *site) sayPayload(payload []byte, by ...string) int64 {
	s.t.Helper()
	var signers []statement.Signer
	for _, name := range by {
		signers = append(signers, s.vendor.Keys[name])
	}
	e := must(statement.Sign(payload, signers...))(s.t)
	at := s.clock()
	var n int64
	err := s.db.Write(ctx, func(tx *store.Tx) (err error) { n, err = tx.Say(ctx, e, at); return err })
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

const bill = `{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,"components":[
{"type":"library","name":"golang.org/x/net","version":"v0.62.0","purl":"pkg:golang/golang.org/x/net@v0.62.0"},
{"type":"library","name":"github.com/a-h/templ","version":"v0.3.977","purl":"pkg:golang/github.com/a-h/templ@v0.3.977"},
{"type":"library","name":"<img src=x onerror=alert(1)>","version":"1","purl":"pkg:generic/evil"}]}`

// propose makes a proposal of a version with its files, source and build.
func (s *site) propose(version string) *release.Release {
	s.t.Helper()
	t := s.t
	file := must(s.office.Store(ctx, "lantern-"+version+".deb", strings.NewReader("the package "+version)))(t)
	program := must(s.office.Store(ctx, "linux/lantern", strings.NewReader("the program "+version)))(t)
	sbom := must(s.office.Store(ctx, "lantern-"+version+".cdx.json", strings.NewReader(bill)))(t)
	src := release.Source{Repository: "https://git.lantern.example/lantern", Commit: verifytest.Commit, Tree: verifytest.Tree, Files: 321, Time: s.vendor.Seen}
	source := must(s.office.SaySource(ctx, verifytest.Product, src, s.vendor.Keys["src"]))(t)
	built := []release.File{file, program}
	build := must(s.office.SayBuild(ctx, release.BuildRun{Source: src, Builder: "https://builder.lantern.example", Invocation: "run/7", Parameters: map[string]string{"package": "./cmd/lantern"},
		Started: s.vendor.Seen, Finished: s.vendor.Seen.Add(time.Minute), Files: built}, s.vendor.Keys["bld"]))(t)
	must(s.office.SayBuild(ctx, release.BuildRun{Source: src, Builder: "https://rebuilder.example", Invocation: "again", Parameters: map[string]string{"package": "./cmd/lantern"},
		Started: s.vendor.Seen, Finished: s.vendor.Seen.Add(time.Minute), Files: built}, s.vendor.Keys["reb"]))(t)
	return must(s.office.Propose(ctx, release.Draft{Product: verifytest.Product, Version: version, Channel: "stable", Files: append(built, sbom), SBOM: sbom,
		Source: source, Build: build, Notes: "Starts faster.", By: "grace"}))(t)
}

// release proposes, approves and publishes a version.
func (s *site) release(version string) *release.Release {
	s.t.Helper()
	rel := s.propose(version)
	for _, who := range []string{"ada", "boris"} {
		must(s.office.Approve(ctx, verifytest.Product, version, rel.PayloadHash, s.vendor.Keys[who]))(s.t)
	}
	must(s.office.Publish(ctx, verifytest.Product, version, s.vendor.Keys["rel"]))(s.t)
	s.publish()
	must(s.office.Settle(ctx))(s.t)
	return must(s.office.Show(ctx, verifytest.Product, version))(s.t)
}

// visitor is a browser without script: it keeps cookies and follows no redirect.
type visitor struct {
	s      *site
	client *http.Client
}

func (s *site) visitor() *visitor {
	jar := must(cookiejar.New(nil))(s.t)
	return &visitor{s, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// as signs in as a demo person.
func (s *site) as(person string) *visitor {
	s.t.Helper()
	v := s.visitor()
	if got := v.post("/demo-identities", url.Values{"person": {person}}); got.status != http.StatusSeeOther {
		s.t.Fatalf("signing in as %s: %d %s", person, got.status, got.body)
	}
	return v
}

// answer is what a visitor got.
type answer struct {
	status int
	header http.Header
	body   string
}

func (v *visitor) get(path string, header ...string) answer {
	v.s.t.Helper()
	req := must(http.NewRequest("GET", v.s.url+path, nil))(v.s.t)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return v.do(req)
}

func (v *visitor) post(path string, form url.Values, header ...string) answer {
	v.s.t.Helper()
	req := must(http.NewRequest("POST", v.s.url+path, strings.NewReader(form.Encode())))(v.s.t)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return v.do(req)
}

func (v *visitor) do(req *http.Request) answer {
	v.s.t.Helper()
	res := must(v.client.Do(req))(v.s.t)
	defer res.Body.Close()
	body := must(io.ReadAll(res.Body))(v.s.t)
	return answer{res.StatusCode, res.Header, string(body)}
}

// furnish gives the site something of everything.
func (s *site) furnish() {
	s.t.Helper()
	s.release("1.2.0")
	must(s.office.Revoke(ctx, verifytest.Product, "1.2.0", "It deletes the wrong files.", s.vendor.Keys["rel"]))(s.t)
	s.release("1.3.0")
	rel := s.propose("1.4.0")
	must(s.office.Approve(ctx, verifytest.Product, "1.4.0", rel.PayloadHash, s.vendor.Keys["ada"]))(s.t)
	s.publish()
}

// hostile says a statement of an unknown kind that tries to be more than text.
func (s *site) hostile() int64 {
	s.t.Helper()
	names := []string{
		`<script>alert(1)</script><img src=x onerror=alert(2)>`, `"><svg onload=alert(3)>`,
		"zero\u200bwidth\u200d\ufeff and \u061cmark", "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 exe.cod",
		strings.Repeat("W", 4096),
	}
	var subject []statement.Subject
	for _, name := range names {
		subject = append(subject, statement.Subject{Name: name, Digest: map[string]string{"sha256": verifytest.SHA256(name)}})
	}
	n := s.say(subject, &unknown{Says: "</pre><script>alert(4)</script> \u200b", Long: strings.Repeat("a", 3000)}, "src")
	for _, name := range names {
		s.say([]statement.Subject{{Name: name, Digest: map[string]string{"sha256": verifytest.SHA256(name)}}}, &unknown{Says: "x"}, "src")
	}
	s.publish()
	return n
}

// unknown is a kind of statement that this version does not know.
type unknown struct {
	Says string `json:"says"`
	Long string `json:"long,omitempty"`
}

func (*unknown) PredicateType() string              { return "https://example.org/<b>kind</b>/v1" }
func (*unknown) Validate([]statement.Subject) error { return nil }

// waiting says a statement that no checkpoint covers yet.
func (s *site) waiting() int64 {
	s.t.Helper()
	return s.say([]statement.Subject{{Name: "later", Digest: map[string]string{"sha256": verifytest.SHA256("later")}}}, &unknown{Says: "later"}, "src")
}
