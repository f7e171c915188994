package portal_test

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"

	"clerestory.dev/clerestory/internal/gate/passkey"
)

// authenticator gives the browser a security key that knows its person.
func (b *browser) authenticator() {
	b.t.Helper()
	b.run(chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		if _, err := cdp.Call(ctx, tab, webauthn.Enable, webauthn.EnableParams{}); err != nil {
			return err
		}
		_, err := cdp.Call(ctx, tab, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
			Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
			HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true}})
		return err
	}))
}

func TestAnInvitedPersonEnrolsAndSignsInWithAPasskey(t *testing.T) {
	axe := needs(t)
	s := newSite(t)
	invitation := must(s.people.InviteFromConsole(ctx, passkey.Person{ID: "dana", Name: "Dana", Roles: []string{"approver"}}))(t)
	b := newBrowser(t)
	b.authenticator()
	b.run(chromedp.Navigate(s.url+"/enrol#"+invitation.Token), chromedp.WaitVisible(`form button`))
	if at := value(b, chromedp.Location()); strings.Contains(at, invitation.Token) {
		t.Errorf("the invitation stays in the address: %s", at)
	}
	b.run(chromedp.Click(`form button`), chromedp.WaitVisible(`//p[contains(., "You are signed in as dana")]`))
	b.inspect(axe, "enrolled")
	b.run(chromedp.Click(`//button[.="Sign out"]`), chromedp.WaitVisible(`[data-passkey=sign-in] button`),
		chromedp.Click(`[data-passkey=sign-in] button`), chromedp.WaitVisible(`//p[contains(., "You are signed in as dana")]`))
	b.inspect(axe, "signed in")

	other := newBrowser(t)
	other.authenticator()
	other.run(chromedp.Navigate(s.url+"/enrol#"+invitation.Token), chromedp.WaitVisible(`form button`), chromedp.Click(`form button`),
		chromedp.WaitVisible(`//p[@role="status"][contains(., "not valid")]`))
}

// TestAnAdminRecoversSomebodyWhoLostThePasskey: until the new passkey is
// enrolled nothing changes; from then on the old one and its session are over.
func TestAnAdminRecoversSomebodyWhoLostThePasskey(t *testing.T) {
	needs(t)
	s := newSite(t)
	signedIn := chromedp.WaitVisible(`//p[contains(., "You are signed in as dana")]`)
	invitation := must(s.people.InviteFromConsole(ctx, passkey.Person{ID: "dana", Name: "Dana", Roles: []string{"approver"}}))(t)
	lost := newBrowser(t)
	lost.authenticator()
	lost.run(chromedp.Navigate(s.url+"/enrol#"+invitation.Token), chromedp.WaitVisible(`form button`), chromedp.Click(`form button`), signedIn)

	page := s.as("ada").post("/account/people/recover", url.Values{"person": {"dana"}})
	token := regexp.MustCompile(`/enrol#([\w-]{43})`).FindStringSubmatch(page.body)
	if page.status != 200 || token == nil {
		t.Fatalf("no invitation for dana: %d %.300s", page.status, page.body)
	}
	lost.run(chromedp.Navigate(s.url+"/account"), signedIn) // still

	found := newBrowser(t)
	found.authenticator()
	found.run(chromedp.Navigate(s.url+"/enrol#"+token[1]), chromedp.WaitVisible(`form button`), chromedp.Click(`form button`), signedIn)

	lost.run(chromedp.Navigate(s.url+"/account"), chromedp.WaitVisible(`[data-passkey=sign-in] button`), chromedp.Click(`[data-passkey=sign-in] button`),
		chromedp.WaitVisible(`//p[@role="status"][string-length(.) > 0]`))
	if said := value(lost, chromedp.Evaluate[string](`document.querySelector("[data-passkey=sign-in] [role=status]").textContent`)); strings.Contains(said, "signed in") {
		t.Errorf("the lost passkey still signs in: %s", said)
	}
	for _, who := range []string{"boris", "chidi"} {
		if got := s.as(who).post("/account/people/recover", url.Values{"person": {"dana"}}); got.status != 403 {
			t.Errorf("%s may recover people: %d", who, got.status)
		}
	}
}

func TestAFileIsVerifiedInTheBrowser(t *testing.T) {
	axe := needs(t)
	s := newSite(t)
	s.furnish()
	b := newBrowser(t)
	dir := t.TempDir()
	for _, c := range []struct{ name, content, verdict string }{
		{"lantern", "the program 1.3.0", "verified"}, {"lantern-old", "the program 1.2.0", "refused"}, {"lantern-changed", "the program 1.3.1", "unknown"},
	} {
		path := filepath.Join(dir, c.name)
		if err := os.WriteFile(path, []byte(c.content), 0o644); err != nil {
			t.Fatal(err)
		}
		b.look(1280, "light")
		b.run(chromedp.Navigate(s.url+"/verify"), chromedp.WaitVisible(`#fingerprint`), chromedp.SetUploadFiles(`#file`, []string{path}),
			chromedp.WaitVisible(`#result[data-done] .verdict[data-verdict="`+c.verdict+`"]`))
		b.heard() // the site has no log files and no witnesses to ask: the browser says so
		for _, scheme := range []string{"light", "dark"} {
			for _, width := range []int64{320, 1280} {
				b.look(width, scheme)
				b.overflow(c.name)
				b.inspect(axe, c.name)
				b.shoot("verified-" + c.name + "-" + scheme)
			}
		}
	}
}
