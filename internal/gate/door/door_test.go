package door_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/descope/virtualwebauthn"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store/storetest"
	"clerestory.dev/clerestory/internal/gate/audit"
	"clerestory.dev/clerestory/internal/gate/door"
	"clerestory.dev/clerestory/internal/gate/passkey"
	"clerestory.dev/clerestory/internal/gate/policy"
)

var ctx = context.Background()

// house is the whole gate, as serve puts it together, behind a handler that
// tells who it saw.
type house struct {
	http.Handler
	t      testing.TB
	people *passkey.Service
	guard  *door.Guard
	trail  *audit.Trail
	door   *door.Door
	clock  time.Time
	log    strings.Builder
}

func each(t *testing.T, run func(t *testing.T, h *house)) {
	storetest.Each(t, func(t *testing.T, dsn string) { run(t, build(t, dsn, true)) })
}

func build(t testing.TB, dsn string, https bool, demo ...passkey.Person) *house {
	t.Helper()
	h := &house{t: t, clock: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)}
	now := func() time.Time { return h.clock }
	logger := slog.New(slog.NewTextHandler(&h.log, nil))
	db := storetest.Open(t, dsn)
	set, err := policy.Load(policy.Default())
	if err != nil {
		t.Fatal(err)
	}
	h.trail = audit.New(db, now)
	h.guard = door.NewGuard(set, h.trail)
	h.people, err = passkey.New(ctx, db, passkey.Config{Name: "Trust", RPID: "trust.example.com", Origins: []string{"https://trust.example.com"},
		Roles: policy.Roles, Guard: h.guard, Now: now, Log: logger, UnsafeDemoIdentities: demo})
	if err != nil {
		t.Fatal(err)
	}
	h.door, err = door.New(door.Config{People: h.people, Guard: h.guard, HTTPS: https, Now: now, Log: logger})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(door.Prefix, h.door.Handler())
	mux.HandleFunc("/who", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, door.Actor(r.Context()).ID) })
	mux.Handle("/drafts/", h.door.Require("release:read-draft", func(r *http.Request) string {
		return "release:" + strings.TrimPrefix(r.URL.Path, "/drafts/")
	}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "secret") })))
	h.Handler = h.door.Wrap(mux)
	return h
}

func (h *house) send(method, path, body string, cookies []*http.Cookie, headers ...string) *http.Response {
	h.t.Helper()
	r := httptest.NewRequest(method, "https://trust.example.com"+path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	for _, c := range cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func text(t testing.TB, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (h *house) want(r *http.Response, status int) string {
	h.t.Helper()
	body := text(h.t, r)
	if r.StatusCode != status {
		h.t.Fatalf("got %s %s, want %d; log: %s", r.Status, body, status, h.log.String())
	}
	return body
}

type begun struct {
	Ceremony string
	Options  json.RawMessage
}

func (h *house) begin(path, body string) begun {
	h.t.Helper()
	var b begun
	if err := json.Unmarshal([]byte(h.want(h.send("POST", path, body, nil), 200)), &b); err != nil {
		h.t.Fatal(err)
	}
	return b
}

var site = virtualwebauthn.RelyingParty{ID: "trust.example.com", Name: "Trust", Origin: "https://trust.example.com"}

type device struct {
	auth virtualwebauthn.Authenticator
	key  virtualwebauthn.Credential
}

// enrol goes through the endpoints, as a page's script does.
func (h *house) enrol(p passkey.Person) (*device, []*http.Cookie) {
	h.t.Helper()
	in, err := h.people.InviteFromConsole(ctx, p)
	if err != nil {
		h.t.Fatal(err)
	}
	b := h.begin("/gate/enrol/begin", fmt.Sprintf(`{"token":%q}`, in.Token))
	o, err := virtualwebauthn.ParseAttestationOptions(string(b.Options))
	if err != nil {
		h.t.Fatal(err)
	}
	d := &device{virtualwebauthn.NewAuthenticatorWithOptions(virtualwebauthn.AuthenticatorOptions{UserHandle: []byte(o.UserID)}), newKey()}
	answer := virtualwebauthn.CreateAttestationResponse(site, d.auth, d.key, *o)
	r := h.send("POST", "/gate/enrol/finish", fmt.Sprintf(`{"ceremony":%q,"credential":%s}`, b.Ceremony, answer), nil)
	h.want(r, 200)
	return d, r.Cookies()
}

func (h *house) signIn(d *device, cookies ...*http.Cookie) *http.Response {
	h.t.Helper()
	b := h.begin("/gate/sign-in/begin", "{}")
	o, err := virtualwebauthn.ParseAssertionOptions(string(b.Options))
	if err != nil {
		h.t.Fatal(err)
	}
	d.key.Counter++
	answer := virtualwebauthn.CreateAssertionResponse(site, d.auth, d.key, *o)
	return h.send("POST", "/gate/sign-in/finish", fmt.Sprintf(`{"ceremony":%q,"credential":%s}`, b.Ceremony, answer), cookies)
}

var bob = passkey.Person{ID: "bob", Name: "Bob", Roles: []string{"approver"}}

func TestAPersonEnrolsSignsInAndOutInABrowser(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		d, first := h.enrol(bob)
		r := h.signIn(d, first...)
		if body := h.want(r, 200); !strings.Contains(body, `"id":"bob"`) {
			t.Fatal(body)
		}
		if got := text(t, h.send("GET", "/who", "", first)); got != "" {
			t.Errorf("the session before still works: %q", got)
		}
		cookies := r.Cookies()
		c := cookies[len(cookies)-1]
		if c.Name != "__Host-clerestory" || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.MaxAge != 12*3600 {
			t.Errorf("cookie %+v", c)
		}
		cookies = []*http.Cookie{c}
		who := h.send("GET", "/who", "", cookies)
		if text(t, who) != "bob" || who.Header.Get("Cache-Control") != "private, no-store" || who.Header.Get("Vary") != "Cookie" {
			t.Errorf("headers %v", who.Header)
		}
		if got := text(t, h.send("GET", "/gate/session", "", cookies)); got != `{"person":{"id":"bob","name":"Bob","roles":["approver"]}}`+"\n" {
			t.Error(got)
		}
		out := h.send("POST", "/gate/sign-out", "{}", cookies)
		if h.want(out, 200); out.Cookies()[0].MaxAge >= 0 {
			t.Error("the cookie stays in the browser")
		}
		gone := h.send("GET", "/who", "", cookies)
		if text(t, gone) != "" || len(gone.Cookies()) != 1 || gone.Cookies()[0].MaxAge >= 0 {
			t.Error("still signed in, or the dead cookie is not taken back")
		}
		if got := text(t, h.send("GET", "/gate/session", "", nil)); got != `{"person":null}`+"\n" {
			t.Error(got)
		}
		if _, err := h.trail.Check(ctx); err != nil {
			t.Error(err)
		}
	})
}

func TestATouchIsAskedOfWhoeverIsSignedIn(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		const body = `{"action":"release:approve","object":"release:app/1.2"}`
		h.want(h.send("POST", "/gate/touch", body, nil), http.StatusForbidden)
		d, cookies := h.enrol(passkey.Person{ID: "bob", Name: "Bob", Roles: []string{"approver"}})
		var b begun
		if err := json.Unmarshal([]byte(h.want(h.send("POST", "/gate/touch", body, cookies), http.StatusOK)), &b); err != nil {
			t.Fatal(err)
		}
		o, err := virtualwebauthn.ParseAssertionOptions(string(b.Options))
		if err != nil || len(o.AllowCredentials) != 1 {
			t.Fatalf("%+v %v", o, err)
		}
		d.key.Counter++
		answer := fmt.Sprintf(`{"ceremony":%q,"credential":%s}`, b.Ceremony, virtualwebauthn.CreateAssertionResponse(site, d.auth, d.key, *o))
		if err := h.people.Touch(ctx, bob, "release:approve", "release:app/1.2", answer); err != nil {
			t.Fatalf("%v; %s", err, h.log.String())
		}
		h.want(h.send("POST", "/gate/touch", `{"action":"release:approve","object":""}`, cookies), http.StatusBadRequest)
	})
}

func TestAPrivilegedPageIsForThoseWhomThePoliciesNameAndIsRecorded(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		_, approver := h.enrol(bob)
		_, admin := h.enrol(passkey.Person{ID: "ada", Name: "Ada", Roles: []string{"admin"}})
		before, _ := h.trail.Head(ctx)
		if got := h.want(h.send("GET", "/drafts/app", "", approver), 200); got != "secret" {
			t.Error(got)
		}
		r := h.send("GET", "/drafts/app", "", admin)
		if got := h.want(r, 403); strings.Contains(got, "secret") || r.Header.Get("Content-Type") != "application/problem+json" || !strings.Contains(got, `"status":403`) {
			t.Error(got)
		}
		h.want(h.send("GET", "/drafts/app", "", nil), 403)
		list, err := h.trail.List(ctx, audit.Filter{Limit: 10, Action: "release:read-draft"})
		if err != nil || len(list) != 2 || list[0].Actor != "ada" || list[0].Allowed || list[1].Actor != "bob" || !list[1].Allowed ||
			list[1].Object != "release:app" || !slices.Equal(list[1].Policies, []string{"approver-approves"}) {
			t.Errorf("%+v, %v", list, err)
		}
		if after, _ := h.trail.Head(ctx); after.Next != before.Next+2 {
			t.Errorf("a refused visitor left %d records", after.Next-before.Next-2)
		}
	})
}

// Services ask the same policies, whoever calls them.
func TestAdminsActOnPeopleAndNobodyElseDoes(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.enrol(bob)
		for _, role := range append(slices.Clone(policy.Roles), "") {
			actor := passkey.Person{ID: "actor", Name: "A", Roles: []string{role}}
			calls := map[string]func() error{
				"person:invite": func() error {
					_, err := h.people.Invite(ctx, actor, passkey.Person{ID: "new", Name: "New"})
					return err
				},
				"person:recover": func() error { _, err := h.people.Recover(ctx, actor, "bob"); return err },
				"person:list":    func() error { _, err := h.people.People(ctx, actor, "", 10); return err },
				"session:revoke": func() error { return h.people.RevokeSessions(ctx, actor, "bob") },
			}
			for action, call := range calls {
				may := role == "admin" || role == "auditor" && action == "person:list"
				if err := call(); may != (err == nil) || !may && !errors.Is(err, fault.Denied) {
					t.Errorf("%s as %q: %v", action, role, err)
				}
				list, _ := h.trail.List(ctx, audit.Filter{Limit: 1})
				if list[0].Actor != "actor" || list[0].Action != action || list[0].Allowed != may {
					t.Errorf("%s as %q left the record %+v", action, role, list[0])
				}
			}
		}
		if err := h.people.RevokeSessions(ctx, bob, "bob"); err != nil {
			t.Errorf("one's own sessions: %v", err)
		}
		disabled := passkey.Person{ID: "ada", Roles: []string{"admin"}, Disabled: true}
		if err := h.people.RevokeSessions(ctx, disabled, "bob"); !errors.Is(err, fault.Denied) {
			t.Errorf("a disabled admin: %v", err)
		}
	})
}

func TestReadingWhatIsPublishedIsOpenAndLeavesNoRecord(t *testing.T) {
	h := build(t, t.TempDir()+"/db", true)
	published := map[string]any{"published": true}
	for _, who := range []passkey.Person{{}, bob} {
		if err := h.guard.Allow(ctx, who, "statement:read", "statement:1", published); err != nil {
			t.Error(err)
		}
	}
	if head, _ := h.trail.Head(ctx); head.Next != 0 {
		t.Errorf("%d records", head.Next)
	}
	if err := h.guard.Allow(ctx, passkey.Person{}, "statement:read", "statement:1", nil); !errors.Is(err, fault.Denied) {
		t.Error(err)
	}
}

func TestNewPoliciesAreInForceFromTheNextQuestion(t *testing.T) {
	h := build(t, t.TempDir()+"/db", true)
	ask := func() error { return h.guard.Allow(ctx, bob, "release:read-draft", "release:app", nil) }
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	strict, err := policy.Load(fstest.MapFS{"a.cedar": {Data: []byte(`@id("closed") @reason("closed for today") forbid (principal, action, resource);`)}})
	if err != nil {
		t.Fatal(err)
	}
	h.guard.Replace(strict)
	if err := ask(); !errors.Is(err, fault.Denied) || !strings.Contains(err.Error(), "closed for today") {
		t.Errorf("got %v", err)
	}
	if d := h.guard.Decide(bob, "release:read-draft", "release:app", nil); d.Allowed || !slices.Equal(d.Policies, []string{"closed"}) {
		t.Errorf("got %+v", d)
	}
	if head, _ := h.trail.Head(ctx); head.Next != 2 {
		t.Errorf("%d records; Decide leaves none", head.Next)
	}
}

// newKey makes a P-256 passkey. The library drops leading zeros of the public
// key's coordinates, which real authenticators do not; such keys are passed over.
func newKey() virtualwebauthn.Credential {
	for {
		key := virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)
		if len(key.Key.AttestationData()) == 77 {
			return key
		}
	}
}
