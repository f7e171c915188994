package portal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	office "clerestory.dev/clerestory/internal/office/advisory"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
	"clerestory.dev/clerestory/verify/verifytest"
)

// shelf is the site's releases as the room of advisories asks for them.
type shelf struct{ s *site }

func (x shelf) Files(ctx context.Context, product, version string) ([]verify.File, error) {
	rel, err := x.s.office.Show(ctx, product, version)
	if err != nil {
		return nil, err
	}
	var files []verify.File
	for _, f := range rel.Files {
		files = append(files, verify.File{Name: f.Name, SHA256: f.SHA256})
	}
	return files, nil
}

// warn publishes an advisory: 1.2.0 is affected, 1.3.0 is mended. There are
// reports, too, and an account of them.
func (s *site) warn() *office.Advisory {
	s.t.Helper()
	b := must(os.ReadFile("../../office/advisory/testdata/lantern-2026-001.json"))(s.t)
	text := strings.NewReplacer("lantern@1.2.1", "lantern@1.3.0", `"name": "1.2.1"`, `"name": "1.3.0"`, "Lantern 1.2.1", "Lantern 1.3.0", "Update to 1.2.1", "Update to 1.3.0",
		verifytest.SHA256("the program"), verifytest.SHA256("the program 1.2.0"),
		`"known_not_affected": [ "L-110" ]`, `"recommended": [ "L-121" ]`,
		`"flags": [ { "label": "vulnerable_code_not_present", "product_ids": [ "L-110" ] } ],`, ``).Replace(string(b))
	sec := verifytest.NewKey("sec")
	s.vendor.Keys["sec"] = sec
	s.publish()
	s.say([]statement.Subject{statement.KeySubject(sec.Public())}, &statement.Key{Action: "grant", KeyID: sec.KeyID(), Public: sec.Public(), Role: "security", Holder: "sec",
		Products: []string{"lantern"}, At: verifytest.At}, s.rootKeys()...)
	a := must(s.advisories.Publish(ctx, []byte(text), sec))(s.t)
	must(s.advisories.Receive(ctx, office.Report{Title: "x", Details: "y"}))(s.t)
	s.now = s.now.Add(2 * time.Second)
	if _, _, err := s.advisories.Account(ctx, s.clock(), sec); err != nil {
		s.t.Fatal(err)
	}
	s.publish()
	return a
}

// rootKeys puts the root keys where say finds them.
func (s *site) rootKeys() []string {
	for i, name := range []string{"root-a", "root-b"} {
		s.vendor.Keys[name] = s.vendor.RootKeys[i]
	}
	return []string{"root-a", "root-b"}
}

func TestAnAdvisorySaysWhatIsAffectedAndWhatToDo(t *testing.T) {
	s := newSite(t)
	s.furnish()
	s.visitor().get("/advisories").says(t, "Published advisories appear here")
	a := s.warn()
	v := s.visitor()
	v.get("/advisories").says(t, "LANTERN-2026-001", "Lantern can be put out from afar", "Affected: lantern 1.2.0", "Fixed: lantern 1.3.0")
	v.get("/advisories/lantern-2026-001").says(t, "Affected: lantern 1.2.0", "CVE-2026-1234", "Update to 1.3.0.", "CVSS says high", "TLP:WHITE", "An advisory is never changed in place")
	var list struct {
		Advisories []struct {
			ID       string
			Entry    int64
			Affected []string
		}
	}
	v.get("/advisories.json?product=lantern").json(t, &list)
	if len(list.Advisories) != 1 || list.Advisories[0].Entry != a.Entry || list.Advisories[0].Affected[0] != "lantern 1.2.0" {
		t.Errorf("%+v", list)
	}
	v.get("/advisories?product=torch").says(t, "Published advisories appear here")
	if got := v.get("/advisories?product=%3Cb%3E"); got.status != 400 {
		t.Errorf("a product that is none: %d", got.status)
	}
	if got := v.get("/advisories/nothing.json"); got.status != 404 {
		t.Errorf("no such advisory: %d", got.status)
	}
	var vex struct {
		Context string `json:"@context"`
	}
	v.get("/advisories/lantern-2026-001/vex.json").json(t, &vex)
	if vex.Context != statement.VEXContext {
		t.Errorf("%+v", vex)
	}
	if got := v.get("/advisories/lantern-2026-001/versions/1"); got.body != string(a.Raw) {
		t.Errorf("the document: %d %.200s", got.status, got.body)
	}
}

func TestCSAFReadersFindTheirFolder(t *testing.T) {
	s := newSite(t)
	s.furnish()
	a := s.warn()
	v := s.visitor()
	const folder = "/.well-known/csaf/"
	v.get("/.well-known/security.txt").says(t, "CSAF: "+s.url+folder+"provider-metadata.json", "Policy: "+s.url+"/security")
	var meta struct {
		Role string
		URL  string `json:"canonical_url"`
	}
	v.get(folder+"provider-metadata.json").json(t, &meta)
	if meta.Role != "csaf_provider" || meta.URL != s.url+folder+"provider-metadata.json" {
		t.Errorf("%+v", meta)
	}
	index := strings.Fields(v.get(folder + "white/index.txt").body)
	if len(index) != 1 {
		t.Fatalf("index.txt: %v", index)
	}
	document := v.get(folder + "white/" + index[0])
	if document.body != string(a.Raw) || document.header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %s %.100s", document.status, document.header, document.body)
	}
	if sum := v.get(folder + "white/" + index[0] + ".sha256").body; !strings.HasPrefix(sum, a.SHA256+"  ") {
		t.Errorf("sha256: %s", sum)
	}
	for _, missing := range []string{"white/2026/other.json", "../security.txt", "white/2025/", "white/2026/lantern-2026-001.json.asc"} {
		if got := v.get(folder + missing); got.status != 404 && got.status != 301 && got.status != 307 {
			t.Errorf("%s: %d", missing, got.status)
		}
	}
}

// TestAReportGoesInAndIsOnNoPage: what somebody tells is with nobody but who has
// the private key, and the step of a report is for those who deal with them.
func TestAReportGoesInAndIsOnNoPage(t *testing.T) {
	s := newSite(t)
	s.furnish()
	s.warn()
	v := s.visitor()
	page := v.get("/security")
	page.says(t, "Tell us here, without an account", "A person has read it", "3 days", "Who looks in good faith acts with our permission.", "the program lantern", "A person answers.", "1 report, 0 fixed")
	if strings.Contains(page.body, "<script>alert") || strings.Contains(page.body, "javascript:") {
		t.Error("the policy's text can run")
	}
	form := url.Values{"title": {"It goes out"}, "product": {"lantern"}, "details": {"SECRETWORD\r\n\r\nsend it to port 7"}, "contact": {"alice@example.org"}}
	got := v.post("/security", form)
	if got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	got.says(t, "Thank you", "What happens by when", "Check that it is counted")
	if got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("the reference may be kept: %s", got.header)
	}
	if strings.Contains(s.logged.String(), "SECRETWORD") || strings.Contains(s.logged.String(), "127.0.0.1") {
		t.Errorf("the log holds it: %s", s.logged.String())
	}
	for who, status := range map[string]int{"ada": 403, "boris": 403, "chidi": 403} {
		if got := s.as(who).get("/security/reports"); got.status != status {
			t.Errorf("%s: %d", who, got.status)
		}
	}
	if got := v.get("/security/reports"); got.status != 303 {
		t.Errorf("the public: %d", got.status)
	}
	femi := s.as("femi")
	femi.get("/security/reports").says(t, "A person has read it by", "A person answered")
	var waiting struct{ Reports []struct{ ID, State string } }
	femi.get("/security/reports.json").json(t, &waiting)
	id := waiting.Reports[len(waiting.Reports)-1].ID
	sealed := femi.get("/security/reports/" + id + "/report.age")
	report := must(office.Open(strings.NewReader(sealed.body), s.identity))(t)
	if report.Details != "SECRETWORD\n\nsend it to port 7" || !strings.Contains(got.body, report.Reference) {
		t.Fatalf("%+v", report)
	}
	if got := s.as("ada").post("/security/reports/"+id+"/step", url.Values{"to": {"rejected"}}); got.status != 403 {
		t.Errorf("an admin rejects a report: %d", got.status)
	}
	if got := s.as("ada").get("/security/reports/" + id + "/report.age"); got.status != 403 || strings.Contains(got.body, "age-encryption") {
		t.Errorf("an admin downloads a report: %d", got.status)
	}
	if got := femi.post("/security/reports/"+id+"/step", url.Values{"to": {"acknowledged"}}); got.status != 303 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	if got := femi.post("/security/reports/"+id+"/step", url.Values{"to": {"published"}}); got.status != 409 {
		t.Errorf("published before anybody looked: %d", got.status)
	}
	s.as("chidi").get("/audit?actor=femi&action=report:step").says(t, "report:"+id, "security-deals-with-reports")
	said := must(s.db.SaidFrom(ctx, 0, 1000))(t)
	for _, x := range said {
		if bytes.Contains(x.Envelope, []byte(report.Reference)) {
			t.Errorf("statement %d holds the reference", x.N)
		}
	}
}

func TestAReportThatIsWrongIsMarkedAndKeptInTheForm(t *testing.T) {
	s := newSite(t)
	v := s.visitor()
	got := v.post("/security", url.Values{"title": {""}, "details": {strings.Repeat("x", 40_000)}, "product": {"nothing"}, "credit": {"<b>kept</b>"}})
	if got.status != 400 || !strings.Contains(got.body, "&lt;b&gt;kept&lt;/b&gt;") {
		t.Fatalf("%d", got.status)
	}
	got.says(t, "There is a problem", "It has 40000 characters")
	if got := v.post("/security", url.Values{"title": {"x"}, "details": {strings.Repeat("x", 100_000)}}); got.status != 400 {
		t.Errorf("a form without end: %d", got.status)
	}
	if got := v.post("/security", url.Values{"title": {"x"}, "details": {"y"}}, "Sec-Fetch-Site", "cross-site"); got.status != 403 {
		t.Errorf("another site's form: %d", got.status)
	}
	var problem struct{ Errors []struct{ Parameter string } }
	machine := v.post("/security", url.Values{"title": {"x"}}, "Accept", "application/json")
	if err := json.Unmarshal([]byte(machine.body), &problem); err != nil || len(problem.Errors) != 1 || problem.Errors[0].Parameter != "details" {
		t.Errorf("%s %v", machine.body, err)
	}
	for i := range 6 {
		if got := v.post("/security", url.Values{"title": {"x"}, "details": {"y"}}); got.status != 200 && i < 5 || got.status != 503 && i == 5 {
			t.Errorf("report %d: %d", i, got.status)
		}
	}
}
