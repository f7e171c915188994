package portal_test

import (
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
	"clerestory.dev/clerestory/verify/verifytest"
)

// text is what a page says, without markup, and spaces as one.
func (a answer) text(t testing.TB) string {
	t.Helper()
	var words []string
	z := html.NewTokenizer(strings.NewReader(a.body))
	for {
		switch z.Next() {
		case html.ErrorToken:
			return strings.Join(words, " ")
		case html.TextToken:
			words = append(words, strings.Fields(string(z.Text()))...)
		}
	}
}

func (a answer) says(t testing.TB, want ...string) {
	t.Helper()
	text := a.text(t)
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("the page does not say %q; it says:\n%.1500s", w, text)
		}
	}
}

func (a answer) json(t testing.TB, into any) {
	t.Helper()
	if got := a.header.Get("Content-Type"); got != "application/json" {
		t.Fatalf("%d %s: %s", a.status, got, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), into); err != nil {
		t.Fatal(err)
	}
}

func TestHomeSaysHowToCheckAndWhoWatches(t *testing.T) {
	s := newSite(t)
	s.furnish()
	s.visitor().get("/").says(t, "Check what Lantern Works claims", "clerestory verify --trust trusted_root.json FILE",
		s.vendor.Trust().Fingerprint(), "witness1.example", "witness2.example", "lantern 1.3.0", "lantern 1.2.0 Revoked")
}

func TestBeforeTheFirstCheckpointThePagesSaySo(t *testing.T) {
	s := newSite(t)
	s.covered = 0
	s.visitor().get("/").says(t, "No checkpoint has been cosigned")
	s.visitor().get("/statements/0").says(t, "Waiting for the log")
	if got := s.visitor().get("/statements/0.proof"); got.status != 503 {
		t.Errorf("a proof without a checkpoint: %d %s", got.status, got.body)
	}
}

func TestAReaderFindsStatementsByFilter(t *testing.T) {
	s := newSite(t)
	s.furnish()
	var list struct {
		Statements []struct {
			Entry int64
			Kind  string
		}
		Newer, Older string
	}
	v := s.visitor()
	v.get("/statements.json?kind=release").json(t, &list)
	if len(list.Statements) != 2 || list.Statements[0].Entry < list.Statements[1].Entry {
		t.Fatalf("releases: %+v", list)
	}
	v.get("/statements?signer="+s.vendor.Keys["bld"].KeyID()).says(t, "signed by bld (builder)")
	v.get("/statements?subject="+url.QueryEscape("https://git.lantern.example/lantern")).says(t, "source", "signed by src (source)")
	v.get("/statements?from=2030-01-01").says(t, "No statement matches this filter")
	rows, err := csv.NewReader(strings.NewReader(v.get("/statements.csv?kind=build").body)).ReadAll()
	if err != nil || len(rows) != 7 || rows[0][0] != "entry" {
		t.Fatalf("csv: %v %v", rows, err)
	}
}

func TestPagingWalksEveryStatementOnce(t *testing.T) {
	s := newSite(t)
	s.furnish()
	v := s.visitor()
	for _, c := range []struct{ first, link string }{{"/statements.json?limit=4", "older"}, {"/statements.json?limit=4&after=0", "newer"}} {
		var seen []float64
		for next := c.first; next != ""; {
			var page map[string]any
			v.get(next).json(t, &page)
			for _, x := range page["statements"].([]any) {
				seen = append(seen, x.(map[string]any)["entry"].(float64))
			}
			next, _ = page[c.link].(string)
		}
		slices.Sort(seen)
		want := int(s.vendor.Log.Size())
		if c.link == "newer" {
			want-- // after 0
		}
		if len(slices.Compact(slices.Clone(seen))) != len(seen) || len(seen) != want {
			t.Errorf("%s: saw %v, want %d different ones", c.link, seen, want)
		}
	}
}

func TestAFilterThatCanNotBeReadIsMarkedAndKept(t *testing.T) {
	s := newSite(t)
	got := s.visitor().get("/statements?from=yesterday&signer=abc&subject=kept")
	if got.status != 400 {
		t.Fatalf("status %d", got.status)
	}
	got.says(t, "There is a problem", "From: Write a day like 2026-11-01", "Signed with key: A key id has 64 hex digits.")
	for _, kept := range []string{`value="yesterday"`, `value="abc"`, `value="kept"`, `aria-invalid="true"`} {
		if !strings.Contains(got.body, kept) {
			t.Errorf("%s is missing", kept)
		}
	}
	var problem struct {
		Status int
		Errors []struct{ Parameter string }
	}
	machine := s.visitor().get("/statements.json?from=yesterday&before=x")
	if err := json.Unmarshal([]byte(machine.body), &problem); err != nil || machine.header.Get("Content-Type") != "application/problem+json" || len(problem.Errors) != 2 {
		t.Fatalf("%s %+v %v", machine.header, problem, err)
	}
}

func TestTheProofOnAPageConvincesAStranger(t *testing.T) {
	s := newSite(t)
	s.furnish()
	v := s.visitor()
	envelope, proofText := v.get("/statements/9.dsse"), v.get("/statements/9.proof")
	trust := must(verify.ParseTrust([]byte(v.get("/trusted_root.json").body)))(t)
	proof := must(verify.ParseProof([]byte(proofText.body)))(t)
	checkpoint := must(trust.Policy.Open(proof.Checkpoint))(t)
	if err := proof.Check(checkpoint, []byte(envelope.body)); err != nil || proof.Index != 9 {
		t.Fatalf("entry %d: %v", proof.Index, err)
	}
	v.get("/statements/9").says(t, "In the log", "Revoked", "ada", "approver", "release", "This statement was taken back", "It deletes the wrong files.")
}

func TestAKeyWithoutARoleIsShownAsCountingForNothing(t *testing.T) {
	s := newSite(t)
	s.vendor.Keys["mallory"] = verifytest.NewKey("mallory")
	n := s.say([]statement.Subject{{Name: "x", Digest: map[string]string{"sha256": verifytest.SHA256("x")}}}, &unknown{Says: "trust me"}, "mallory")
	s.publish()
	s.visitor().get(fmt.Sprintf("/statements/%d", n)).says(t, "this signature counts for nothing", "nobody whose key had a role")
}

func TestHostileTextIsShownAndNotRun(t *testing.T) {
	s := newSite(t)
	n := s.hostile()
	for _, path := range []string{"/statements", fmt.Sprintf("/statements/%d", n), "/about", "/statements?kind=" + url.QueryEscape(`"><script>alert(9)</script>`), "/statements?from=%22%3E%3Cscript%3E"} {
		got := s.visitor().get(path)
		doc := must(html.Parse(strings.NewReader(got.body)))(t)
		for node := range doc.Descendants() {
			if node.Type != html.ElementNode {
				continue
			}
			if node.Data == "script" && (node.FirstChild != nil || len(node.Attr) == 0) || node.Data == "img" || node.Data == "svg" || node.Data == "style" {
				t.Errorf("%s holds <%s>", path, node.Data)
			}
			for _, a := range node.Attr {
				if strings.HasPrefix(a.Key, "on") || a.Key == "style" || strings.HasPrefix(strings.ToLower(a.Val), "javascript:") {
					t.Errorf("%s holds %s=%q", path, a.Key, a.Val)
				}
			}
		}
	}
	page := s.visitor().get(fmt.Sprintf("/statements/%d", n))
	page.says(t, "<script>alert(1)</script>", "zero U+200B width U+200D U+FEFF", "U+061C", "(4096 bytes)")
	if strings.ContainsAny(page.body[:strings.Index(page.body, "The envelope, exactly")], "\u200b\u061c\ufeff") {
		t.Error("a character that can not be seen is on the page")
	}
}

func TestTheFeedIsAtom(t *testing.T) {
	s := newSite(t)
	s.hostile()
	got := s.visitor().get("/statements.atom?kind=key")
	var feed struct {
		XMLName xml.Name `xml:"http://www.w3.org/2005/Atom feed"`
		ID      string   `xml:"id"`
		Updated string   `xml:"updated"`
		Entries []struct {
			ID string `xml:"id"`
		} `xml:"entry"`
	}
	if err := xml.Unmarshal([]byte(got.body), &feed); err != nil || len(feed.Entries) != 6 || feed.Entries[0].ID != s.url+"/statements/5" || feed.Updated == "" {
		t.Fatalf("%+v %v", feed, err)
	}
	if err := xml.Unmarshal([]byte(s.visitor().get("/statements.atom").body), &feed); err != nil {
		t.Fatalf("hostile text breaks the feed: %v", err)
	}
}

func TestErrorsTellTheVisitorWhatAndTheLogWhy(t *testing.T) {
	s := newSite(t)
	v := s.visitor()
	if got := v.get("/statements/99999"); got.status != 404 {
		t.Errorf("missing: %d", got.status)
	} else {
		got.says(t, "There is no statement 99999.")
	}
	if got := v.get("/statements/007"); got.status != 404 {
		t.Errorf("two addresses for one statement: %d", got.status)
	}
	if got := v.get("/nowhere.json"); got.status != 404 || got.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%d %s", got.status, got.header)
	}
	s.ready = errors.New("secret: the disk of host db7 is full")
	if got := v.get("/readyz"); got.status != 503 || strings.Contains(got.body, "secret") || !strings.Contains(s.logged.String(), "db7") {
		t.Errorf("readyz: %d %s", got.status, got.body)
	}
	if err := s.db.Write(ctx, func(tx *store.Tx) error { _, err := tx.Exec("DROP TABLE statement"); return err }); err != nil {
		t.Fatal(err)
	}
	got := v.get("/statements.json")
	if got.status != 500 || strings.Contains(got.body, "table") {
		t.Errorf("a broken store shows: %d %s", got.status, got.body)
	}
	if i := strings.Index(got.body, "urn:clerestory:error:"); i < 0 || !strings.Contains(s.logged.String(), got.body[i:i+40]) {
		t.Errorf("the log does not have the id: %s", got.body)
	}
}

func TestHeadersForbidWhatIsNotOurs(t *testing.T) {
	s := newSite(t)
	for _, path := range []string{"/", "/nowhere", "/statements?from=x", "/account"} {
		csp := s.visitor().get(path).header.Get("Content-Security-Policy")
		if !strings.HasPrefix(csp, "default-src 'none'; script-src 'self'; style-src 'self'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: %s", path, csp)
		}
	}
	csp := s.visitor().get("/verify").header.Get("Content-Security-Policy")
	for _, want := range []string{"'wasm-unsafe-eval'", "worker-src 'self'", "https://witness1.example"} {
		if !strings.Contains(csp, want) {
			t.Errorf("the verifier's page lacks %s: %s", want, csp)
		}
	}
	got := s.visitor().post("/account/sign-out", nil, "Sec-Fetch-Site", "cross-site")
	if got.status != 403 {
		t.Errorf("another site's form: %d", got.status)
	}
}

func TestAssetsAreForEverAndPagesAreAskedForAgain(t *testing.T) {
	s := newSite(t)
	home := s.visitor().get("/")
	at := strings.Index(home.body, `/assets/style.`)
	style := home.body[at : at+strings.Index(home.body[at:], `"`)]
	got := s.visitor().get(style)
	if got.status != 200 || !strings.Contains(got.header.Get("Cache-Control"), "immutable") || len(got.body) > 30_000 {
		t.Errorf("%s: %d %s %d bytes", style, got.status, got.header.Get("Cache-Control"), len(got.body))
	}
	about := s.visitor().get("/about")
	if again := s.visitor().get("/about", "If-None-Match", about.header.Get("ETag")); again.status != 304 {
		t.Errorf("the same page again: %d", again.status)
	}
}

// links are the addresses that a page leads to, as "GET /path".
func links(t testing.TB, page string) []string {
	t.Helper()
	var found []string
	for node := range must(html.Parse(strings.NewReader(page)))(t).Descendants() {
		attr := map[string]string{}
		for _, a := range node.Attr {
			attr[a.Key] = a.Val
		}
		switch node.Data {
		case "a", "link":
			found = append(found, "GET "+attr["href"])
		case "script":
			found = append(found, "GET "+attr["src"])
		case "form":
			found = append(found, strings.ToUpper(attr["method"])+" "+attr["action"])
		}
	}
	return found
}
