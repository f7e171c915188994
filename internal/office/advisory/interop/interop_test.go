// Package interop_test holds what this room publishes against the tools of others:
// the CSAF checker and library of gocsaf, and the OpenVEX library.
//
// It promises that a stranger's checker walks our folder from provider-metadata.json
// to each document, hash and feed and finds nothing wrong with what a CSAF provider
// has to do. What a trusted provider has beyond that (OpenPGP signatures) is not
// there, and the test says so. It starts a server on the loopback interface only.
//
// Start at [TestSomebodyElsesCheckerAcceptsTheProvider].
package interop_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/gocsaf/csaf/v3/csaf"
	"github.com/openvex/go-vex/pkg/vex"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/programme"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/base/store/storetest"
	"clerestory.dev/clerestory/internal/office/advisory"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
	"clerestory.dev/clerestory/verify/verifytest"
)

var ctx = context.Background()

const lantern = `vendor: {id: lantern-works, name: Lantern Works, url: "https://lantern.example", contact: "mailto:a@lantern.example"}
log: {origin: log.lantern.example, url: "https://log.lantern.example/"}
approvals: 2
products:
  - {id: lantern, name: Lantern, description: Watches., repository: "https://git.lantern.example/lantern", channels: [stable]}
people:
  - {id: ada, roles: [admin, approver]}
  - {id: boris, roles: [approver]}
security: {contact: ["mailto:security@lantern.example"], expires: 2027-06-30T00:00:00Z, languages: [en]}
`

type everything struct{}

// Files says that every version was released with one file.
func (everything) Files(_ context.Context, product, version string) ([]verify.File, error) {
	program := map[string]string{"1.2.0": "the program"}[version]
	return []verify.File{{Name: "linux/" + product, SHA256: verifytest.SHA256(program)}}, nil
}

// provider publishes the example and serves it over TLS.
func provider(t *testing.T) (*advisory.Service, *advisory.Advisory, string) {
	t.Helper()
	v := verifytest.New(t)
	key := verifytest.NewKey("sec")
	v.Grant(key, "security", "sec", verifytest.Product)
	db := storetest.Open(t, filepath.Join(t.TempDir(), "db"))
	for n, raw := range v.Log.Entries {
		if err := db.Write(ctx, func(tx *store.Tx) error { return tx.Adopt(ctx, int64(n), raw, v.Now) }); err != nil {
			t.Fatal(err)
		}
	}
	p, err := programme.Read(fstest.MapFS{"programme.yaml": {Data: []byte(lantern)}, "about.md": {Data: []byte("# About\n")}})
	if err != nil {
		t.Fatal(err)
	}
	s := &advisory.Service{DB: db, Releases: everything{}, Now: func() time.Time { return v.Now },
		Roots:     func() ([][]byte, error) { return [][]byte{v.TrustFile()}, nil },
		Programme: func(context.Context) (*programme.Programme, error) { return p, nil }}
	mux := http.NewServeMux()
	mux.HandleFunc(advisory.Folder, func(w http.ResponseWriter, r *http.Request) {
		f, err := s.File(r.Context(), strings.TrimPrefix(r.URL.Path, advisory.Folder))
		if err != nil {
			http.Error(w, err.Error(), fault.KindOf(err).Status)
			return
		}
		w.Header().Set("Content-Type", f.Type)
		w.Write(f.Content)
	})
	srv := httptest.NewTLSServer(mux)
	t.Cleanup(srv.Close)
	s.URL = srv.URL
	mux.HandleFunc("/.well-known/security.txt", func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte(p.SecurityTxt(srv.URL + "/.well-known/security.txt")))
	})
	raw, err := os.ReadFile("../testdata/lantern-2026-001.json")
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.Publish(ctx, raw, key)
	if err != nil {
		t.Fatal(err)
	}
	return s, a, srv.URL
}

func TestSomebodyElsesCheckerAcceptsTheProvider(t *testing.T) {
	_, _, url := provider(t)
	cmd := exec.Command("go", "tool", "csaf_checker", "--insecure", "-f", "json", url+advisory.Folder+"provider-metadata.json")
	var said, errors bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &errors
	failed := cmd.Run()
	var report struct {
		Domains []struct {
			Role         string
			Passed       bool
			Requirements []struct {
				Num         int
				Description string
				Messages    []struct {
					Type int // 2 is an error
					Text string
				}
			}
		}
	}
	if err := json.Unmarshal(said.Bytes(), &report); err != nil || len(report.Domains) != 1 {
		t.Fatalf("%v %v\n%s\n%s", failed, err, said.String(), errors.String())
	}
	// What only a trusted provider has, and the other way to distribute.
	without := map[int]string{15: "a ROLIE feed", 19: "OpenPGP signatures", 20: "OpenPGP keys"}
	for _, r := range report.Domains[0].Requirements {
		for _, m := range r.Messages {
			if m.Type == 2 && without[r.Num] == "" {
				t.Errorf("requirement %d (%s): %s", r.Num, r.Description, m.Text)
			}
			t.Logf("requirement %d (%s): %s", r.Num, r.Description, m.Text)
		}
	}
	// The checker knows which of the requirements a provider has to meet.
	if d := report.Domains[0]; d.Role != "csaf_provider" || !d.Passed {
		t.Errorf("as %s it passed: %v", d.Role, d.Passed)
	}
}

func TestTheDocumentsOfTheFolderAreValidForOthers(t *testing.T) {
	s, a, _ := provider(t)
	for path, validate := range map[string]func(any) ([]string, error){
		"provider-metadata.json":                      csaf.ValidateProviderMetadata,
		strings.TrimPrefix(a.Path(), advisory.Folder): csaf.ValidateCSAF,
	} {
		f, err := s.File(ctx, path)
		if err != nil {
			t.Fatal(err)
		}
		var doc any
		if err := json.Unmarshal(f.Content, &doc); err != nil {
			t.Fatal(err)
		}
		if wrong, err := validate(doc); err != nil || len(wrong) > 0 {
			t.Errorf("%s: %v %v", path, wrong, err)
		}
	}
	f, err := s.File(ctx, "provider-metadata.json")
	if err != nil {
		t.Fatal(err)
	}
	meta, err := csaf.LoadProviderMetadata(bytes.NewReader(f.Content))
	if err != nil {
		t.Fatal(err)
	}
	if err := meta.Validate(); err != nil {
		t.Error(err)
	}
}

func TestTheOpenVEXLibraryReadsOurDocument(t *testing.T) {
	s, a, _ := provider(t)
	said, err := s.DB.SaidAt(ctx, a.VEXEntry())
	if err != nil {
		t.Fatal(err)
	}
	e, err := verify.ParseEntry(said.N, said.Envelope)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := vex.Parse(e.Statement.Predicate)
	if err != nil {
		t.Fatal(err)
	}
	for product, want := range map[string]vex.Status{"1.2.0": vex.StatusAffected, "1.2.1": vex.StatusFixed, "1.1.0": vex.StatusNotAffected} {
		purl := statement.PURL("lantern-works", "lantern", product)
		found := doc.Matches("CVE-2026-1234", purl, nil)
		if len(found) != 1 || found[0].Status != want {
			t.Errorf("%s: %+v, want %s", purl, found, want)
			continue
		}
		if err := found[0].Validate(); err != nil {
			t.Errorf("%s: %v", purl, err)
		}
	}
}
