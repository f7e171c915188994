package advisory_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"filippo.io/age"

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

const lanternWorks = `vendor:
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
    description: Watches.
    repository: https://git.lantern.example/lantern
    channels: [stable]
people:
  - id: ada
    roles: [admin, approver]
  - id: boris
    roles: [approver]
security:
  contact: [mailto:security@lantern.example]
  expires: 2027-06-30T00:00:00Z
  languages: [en]
  recipient: RECIPIENT
  promises:
    acknowledge: 3
    triage: 10
    fix: 90
    publish: 120
`

// house is the room over a real store, with keys that a log gives their roles.
type house struct {
	*advisory.Service
	t        *testing.T
	vendor   *verifytest.Vendor
	security *verifytest.Key
	identity *age.X25519Identity
	now      time.Time
}

// shelf is the released versions: 1.1.0 and 1.2.1 have another program in them.
type shelf map[string][]verify.File

func (s shelf) Files(_ context.Context, product, version string) ([]verify.File, error) {
	files, ok := s[product+" "+version]
	if !ok {
		return nil, fault.NotFound.New("there is no release %s %s", product, version)
	}
	return files, nil
}

func each(t *testing.T, run func(t *testing.T, h *house)) {
	storetest.Each(t, func(t *testing.T, dsn string) { run(t, newHouse(t, dsn)) })
}

func newHouse(t *testing.T, dsn string) *house {
	t.Helper()
	v := verifytest.New(t)
	h := &house{t: t, vendor: v, security: verifytest.NewKey("sec"), now: v.Now}
	v.Grant(h.security, "security", "sec", verifytest.Product)
	db := storetest.Open(t, dsn)
	for n, raw := range v.Log.Entries {
		if err := db.Write(ctx, func(tx *store.Tx) error { return tx.Adopt(ctx, int64(n), raw, v.Now) }); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if h.identity, err = age.GenerateX25519Identity(); err != nil {
		t.Fatal(err)
	}
	p, err := programme.Read(fstest.MapFS{"about.md": {Data: []byte("# About\n")},
		"programme.yaml": {Data: []byte(strings.Replace(lanternWorks, "RECIPIENT", h.identity.Recipient().String(), 1))}})
	if err != nil {
		t.Fatal(err)
	}
	files := func(program string) []verify.File {
		return []verify.File{{Name: "linux/lantern", SHA256: verifytest.SHA256(program)}, {Name: "lantern.deb", SHA256: verifytest.SHA256(program + " packed")}}
	}
	h.Service = &advisory.Service{DB: db, URL: "https://trust.lantern.example", Now: func() time.Time { return h.now },
		Roots:     func() ([][]byte, error) { return [][]byte{v.TrustFile()}, nil },
		Programme: func(context.Context) (*programme.Programme, error) { return p, nil },
		Releases:  shelf{"lantern 1.1.0": files("older"), "lantern 1.2.0": files("the program"), "lantern 1.2.1": files("newer")}}
	return h
}

// example is the document in testdata, with texts replaced.
func example(t testing.TB, replace ...string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/lantern-2026-001.json")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for i := 0; i+1 < len(replace); i += 2 {
		if !strings.Contains(text, replace[i]) {
			t.Fatalf("the example does not hold %q", replace[i])
		}
		text = strings.ReplaceAll(text, replace[i], replace[i+1])
	}
	return []byte(text)
}

// second is a newer version of the example: 1.1.0 turns out to be affected too.
func second(t testing.TB, replace ...string) []byte {
	return example(t, append([]string{
		`"summary": "First version" }`, `"summary": "First version" }, { "date": "2026-03-01T11:00:00Z", "number": "2", "summary": "1.1.0 is affected too" }`,
		`"version": "1"`, `"version": "2"`, `"current_release_date": "2026-03-01T10:00:00Z"`, `"current_release_date": "2026-03-01T11:00:00Z"`,
		`"known_affected": [ "L-120" ], "known_not_affected": [ "L-110" ]`, `"known_affected": [ "L-110", "L-120" ]`,
		`"flags": [ { "label": "vulnerable_code_not_present", "product_ids": [ "L-110" ] } ],`, ``,
		`"details": "Update to 1.2.1.", "product_ids": [ "L-120" ]`, `"details": "Update to 1.2.1.", "product_ids": [ "L-120", "L-110" ]`,
	}, replace...)...)
}

func (h *house) publish(raw []byte) *advisory.Advisory {
	h.t.Helper()
	a, err := h.Publish(ctx, raw, h.security)
	if err != nil {
		h.t.Fatal(err)
	}
	return a
}

// said reads the statement at an entry.
func (h *house) said(n int64) *statement.Statement {
	h.t.Helper()
	s, err := h.DB.SaidAt(ctx, n)
	if err != nil {
		h.t.Fatal(err)
	}
	e, err := verify.ParseEntry(n, s.Envelope)
	if err != nil {
		h.t.Fatal(err)
	}
	return e.Statement
}
