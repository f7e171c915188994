package portal_test

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"clerestory.dev/clerestory/internal/gate/passkey"
	"clerestory.dev/clerestory/internal/ledger/signing"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify/verifytest"
)

const draft = "/releases/lantern/1.4.0"

// keyFile makes a key whose file the vendor keeps, and gives it a role.
func (s *site) keyFile(holder, role, passphrase string) {
	s.t.Helper()
	key := must(s.keys.Create(holder, role, holder, []byte(passphrase)))(s.t)
	s.vendor.Say([]statement.Subject{statement.KeySubject(key.Public.Public)},
		&statement.Key{KeyID: key.KeyID(), Action: statement.KeyGrant, Role: role, Holder: holder, Public: key.Public.Public, Products: []string{verifytest.Product}, At: verifytest.At}, s.vendor.RootKeys[:2]...)
	s.adopt()
}

// upload sends the form with a file, as a browser does.
func (v *visitor) upload(path string, fields map[string]string, file []byte) answer {
	v.s.t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for name, value := range fields {
		must(0, w.WriteField(name, value))(v.s.t)
	}
	must(must(w.CreateFormFile("answer", "answer.json"))(v.s.t).Write(file))(v.s.t)
	must(0, w.Close())(v.s.t)
	req := must(http.NewRequest("POST", v.s.url+path, &body))(v.s.t)
	req.Header.Set("Content-Type", w.FormDataContentType())
	return v.do(req)
}

// sign takes the request from the page and answers it with a key.
func (s *site) sign(v *visitor, path string, key statement.Signer) []byte {
	s.t.Helper()
	got := v.get(path + "/request")
	if got.status != 200 || got.header.Get("Content-Type") != signing.RequestType {
		s.t.Fatalf("the request: %d %s", got.status, got.body)
	}
	q := must(signing.ParseRequest([]byte(got.body)))(s.t)
	return must(must(signing.Answer(q, key, s.clock()))(s.t).Format())(s.t)
}

func (s *site) approvals(version string) (by []string) {
	s.t.Helper()
	for _, a := range must(s.office.Show(ctx, verifytest.Product, version))(s.t).Approvals {
		by = append(by, a.Holder)
	}
	return by
}

func TestAProposalShowsWhatIsSignedAndHowItDiffers(t *testing.T) {
	s := newSite(t)
	s.furnish()
	boris := s.as("boris")
	boris.get(draft).says(t, "What exactly is signed", "Release lantern 1.4.0 to the channel stable",
		"Against 1.3.0", "lantern-1.4.0.deb", "linux/lantern", "No touch is asked", "clerestory sign lantern-1.4.0.request.json")
	var d struct {
		Compared struct {
			To      string
			Changes []struct{ Name, What, Old, New string }
		}
	}
	boris.get(draft+".json").json(t, &d)
	if d.Compared.To != "1.3.0" || len(d.Compared.Changes) != 5 {
		t.Errorf("%+v", d)
	}
	chidi := s.as("chidi").get(draft)
	chidi.says(t, "You may not approve it", "Who could still approve it: boris")
	if strings.Contains(chidi.body, "disabled") || strings.Contains(chidi.body, "<form class=\"stack\"") {
		t.Error("an auditor sees a form that does nothing")
	}
}

func TestAnApprovalIsASignatureMadeElsewhere(t *testing.T) {
	s := newSite(t)
	s.furnish()
	rel := must(s.office.Show(ctx, verifytest.Product, "1.4.0"))(t)
	boris := s.as("boris")
	fields := map[string]string{"hash": rel.PayloadHash, "way": "answer"}
	file := s.sign(boris, draft, s.vendor.Keys["boris"])
	if got := boris.upload(draft+"/approve", fields, file); got.status != http.StatusSeeOther {
		t.Fatalf("%d %s", got.status, got.text(t))
	}
	if by := s.approvals("1.4.0"); len(by) != 2 {
		t.Errorf("approved by %v", by)
	}
	s.as("chidi").get("/audit?actor=boris").says(t, "session:demo-touch", "release:approve release:lantern/1.4.0@"+rel.PayloadHash)
}

func TestAnAnswerForAnotherReleaseTextOrPersonIsRefused(t *testing.T) {
	s := newSite(t)
	s.furnish()
	boris := s.as("boris")
	rel := must(s.office.Show(ctx, verifytest.Product, "1.4.0"))(t)
	other := s.propose("1.5.0")
	fields := map[string]string{"hash": rel.PayloadHash, "way": "answer"}
	replayed := s.sign(boris, "/releases/lantern/1.5.0", s.vendor.Keys["boris"])
	for name, c := range map[string]struct {
		fields map[string]string
		file   []byte
		status int
		says   string
	}{
		"of another release": {fields, replayed, 403, "is to another request than those made for this release"},
		"no file":            {fields, nil, 400, "Choose the signing response"},
		"nonsense":           {fields, []byte("{}"), 400, "Reading the signing response"},
		"another text":       {map[string]string{"hash": other.PayloadHash, "way": "answer"}, replayed, 409, "look again"},
		"no key file":        {map[string]string{"hash": rel.PayloadHash, "way": "key", "passphrase": "x"}, nil, 400, "No key file of yours is kept here"},
	} {
		got := boris.upload(draft+"/approve", c.fields, c.file)
		if got.status != c.status {
			t.Errorf("%s: %d", name, got.status)
		}
		got.says(t, "There is a problem", c.says)
	}
	if got := boris.post(draft+"/approve", url.Values{"hash": {rel.PayloadHash}}, "Sec-Fetch-Site", "cross-site"); got.status != 403 {
		t.Errorf("another site's form: %d", got.status)
	}
	if by := s.approvals("1.4.0"); len(by) != 1 {
		t.Errorf("approved by %v", by)
	}
}

func TestOnlyApproversApprove(t *testing.T) {
	s := newSite(t)
	s.furnish()
	for who, want := range map[string]int{"": 401, "ada": 403, "chidi": 403} {
		v := s.visitor()
		if who != "" {
			v = s.as(who)
		}
		if got := v.post(draft+"/approve", url.Values{"hash": {"x"}}); got.status != want {
			t.Errorf("%s approves: %d", who, got.status)
		}
		if got := v.get(draft + "/request"); got.status != want && got.status != 303 {
			t.Errorf("%s takes the request: %d", who, got.status)
		}
	}
	s.as("chidi").get("/audit?allowed=no&actor=chidi").says(t, "release:approve", "Refused")
	if got := s.as("boris").post("/releases/lantern/1.3.0/approve", url.Values{"hash": {"x"}}); got.status != 409 {
		t.Errorf("approving what is published: %d", got.status)
	}
}

// TestAnApproverApprovesWithATouchInABrowser: the passphrase alone is not enough,
// and the touch is for this text.
func TestAnApproverApprovesWithATouchInABrowser(t *testing.T) {
	axe := needs(t)
	s := newSite(t)
	s.furnish()
	s.keyFile("dana", "approver", "correct horse")
	invitation := must(s.people.InviteFromConsole(ctx, passkey.Person{ID: "dana", Name: "Dana", Roles: []string{"approver"}}))(t)
	b := newBrowser(t)
	b.authenticator()
	b.look(1280, "light")
	b.run(chromedp.Navigate(s.url+"/enrol#"+invitation.Token), chromedp.WaitVisible(`form button`), chromedp.Click(`form button`), chromedp.WaitVisible(`//p[contains(., "You are signed in as dana")]`))
	b.visit(axe, s.url+draft, "proposal")
	b.look(1280, "light")

	b.run(chromedp.SendKeys(`#passphrase`, "wrong"), chromedp.Click(`//button[.="Approve lantern 1.4.0"]`), chromedp.WaitVisible(`.problem`))
	b.heard() // status 400 is logged by the browser
	b.inspect(axe, "wrong passphrase")
	b.shoot("proposal-wrong-passphrase")
	if by := s.approvals("1.4.0"); len(by) != 1 {
		t.Fatalf("a wrong passphrase approved: %v", by)
	}
	b.run(chromedp.SendKeys(`#passphrase`, "correct horse\r"), chromedp.WaitVisible(`//table//th[.="dana"]`))
	b.inspect(axe, "approved")
	b.shoot("proposal-approved")
	if by := s.approvals("1.4.0"); len(by) != 2 {
		t.Errorf("approved by %v", by)
	}

	// Without the touch, the same form from the same session does nothing.
	rel := s.propose("1.5.0")
	said := value(b, chromedp.Evaluate[string](`(async () => {
		const f = new FormData(); f.set("hash", "`+rel.PayloadHash+`"); f.set("way", "key"); f.set("passphrase", "correct horse");
		const r = await fetch("/releases/lantern/1.5.0/approve", { method: "POST", body: f }); return r.status + " " + await r.text() })()`, chromedp.EvalAwaitPromise))
	if !strings.HasPrefix(said, "403") || !strings.Contains(said, "there was none") && !strings.Contains(said, "There was none") {
		t.Errorf("without a touch: %.300s", said)
	}
	if by := s.approvals("1.5.0"); len(by) != 0 {
		t.Errorf("approved without a touch: %v", by)
	}
}
