package door_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"clerestory.dev/clerestory/internal/gate/door"
	"clerestory.dev/clerestory/internal/gate/passkey"
)

func TestAnotherSiteCanNotMakeABrowserAct(t *testing.T) {
	h := build(t, filepath.Join(t.TempDir(), "db"), true)
	_, cookies := h.enrol(bob)
	for name, headers := range map[string][]string{
		"cross-site fetch":   {"Sec-Fetch-Site", "cross-site"},
		"a sibling host":     {"Sec-Fetch-Site", "same-site"},
		"a foreign origin":   {"Origin", "https://evil.example"},
		"a sandboxed frame":  {"Origin", "null"},
		"a form's body type": {"Content-Type", "text/plain"},
	} {
		r := h.send("POST", "/gate/sign-out", "{}", cookies, headers...)
		if r.StatusCode != 403 && r.StatusCode != 400 {
			t.Errorf("%s: %s", name, r.Status)
		}
	}
	if got := text(t, h.send("GET", "/who", "", cookies)); got != "bob" {
		t.Errorf("signed out by another site: %q", got)
	}
	h.want(h.send("POST", "/gate/sign-out", "{}", cookies, "Sec-Fetch-Site", "same-origin"), 200)
}

func TestAPlantedCookieIsNotTaken(t *testing.T) {
	h := build(t, filepath.Join(t.TempDir(), "db"), true)
	_, bobs := h.enrol(bob)
	_, eves := h.enrol(passkey.Person{ID: "eve", Name: "Eve"})
	if got := text(t, h.send("GET", "/who", "", append(eves, bobs...))); got != "" {
		t.Errorf("two cookies: %q", got)
	}
	plain := *bobs[0]
	plain.Name = "clerestory" // any subdomain could set this one
	if got := text(t, h.send("GET", "/who", "", []*http.Cookie{&plain})); got != "" {
		t.Errorf("a cookie without the prefix: %q", got)
	}
}

func TestOverHTTPTheCookieIsNotSecureAndHasNoPrefix(t *testing.T) {
	demo := passkey.Person{ID: "demo", Name: "Demo", Roles: []string{"auditor"}}
	h := build(t, filepath.Join(t.TempDir(), "db"), false, demo)
	r := h.send("POST", "/gate/demo", `{"person":"demo"}`, nil)
	h.want(r, 200)
	if c := r.Cookies()[0]; c.Name != "clerestory" || c.Secure || !c.HttpOnly {
		t.Errorf("%+v", c)
	}
	if got := text(t, h.send("GET", "/who", "", r.Cookies())); got != "demo" {
		t.Error(got)
	}
	plain := build(t, filepath.Join(t.TempDir(), "other"), false)
	plain.want(plain.send("POST", "/gate/demo", `{"person":"demo"}`, nil), 404)
}

func TestGuessingIsSlowedDownPerAddress(t *testing.T) {
	h := build(t, filepath.Join(t.TempDir(), "db"), true)
	from := func(addr string) int {
		r := httptest.NewRequest("POST", "/gate/enrol/begin", strings.NewReader(`{"token":"guess"}`))
		r.Header.Set("Content-Type", "application/json")
		r.RemoteAddr = addr
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	for range door.Caps.Attempts {
		if got := from("[2001:db8:1:2::1]:1000"); got != 403 {
			t.Fatalf("got %d", got)
		}
	}
	for addr, want := range map[string]int{
		"[2001:db8:1:2::2]:1000": 429, // the same customer
		"[2001:db8:1:3::1]:1000": 403,
		"192.0.2.1:1000":         403,
		"nonsense":               403,
	} {
		if got := from(addr); got != want {
			t.Errorf("%s: %d, want %d", addr, got, want)
		}
	}
	h.clock = h.clock.Add(door.Caps.Window)
	if got := from("[2001:db8:1:2::1]:1000"); got != 403 {
		t.Errorf("in the next window: %d", got)
	}
}

func TestAFloodOfAddressesDoesNotGrowTheMemory(t *testing.T) {
	limit := door.Caps.Addresses
	door.Caps.Addresses = 2
	defer func() { door.Caps.Addresses = limit }()
	h := build(t, filepath.Join(t.TempDir(), "db"), true)
	codes := []int{}
	for _, addr := range []string{"192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1", "192.0.2.1:1"} {
		r := httptest.NewRequest("POST", "/gate/enrol/begin", strings.NewReader(`{}`))
		r.Header.Set("Content-Type", "application/json")
		r.RemoteAddr = addr
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		codes = append(codes, w.Code)
	}
	if codes[0] != 403 || codes[2] != 429 || codes[3] != 403 {
		t.Errorf("got %v", codes)
	}
}

func TestBadBodiesAreRefusedInWords(t *testing.T) {
	h := build(t, filepath.Join(t.TempDir(), "db"), true)
	for body, want := range map[string]string{
		`{`:           "reading the body",
		`{"token":1}`: "reading the body",
		`{"token":"` + strings.Repeat("x", int(door.Caps.Body)) + `"}`: "has more than",
	} {
		if got := h.want(h.send("POST", "/gate/enrol/begin", body, nil), 400); !strings.Contains(got, want) {
			t.Errorf("%.20s: %s", body, got)
		}
	}
	h.want(h.send("GET", "/gate/enrol/begin", "", nil), 405)
}

func TestWhatIsBrokenInsideIsNotShown(t *testing.T) {
	h := build(t, filepath.Join(t.TempDir(), "db"), true)
	w := httptest.NewRecorder()
	h.door.Problem(w, httptest.NewRequest("GET", "/", nil), http.ErrBodyNotAllowed)
	if w.Code != 500 || strings.Contains(w.Body.String(), "body") || !strings.Contains(h.log.String(), http.ErrBodyNotAllowed.Error()) {
		t.Errorf("%d %s; log %s", w.Code, w.Body, h.log.String())
	}
}

func TestASessionThatTheDatabaseCanNotJudgeIsNotAVisitor(t *testing.T) {
	h := build(t, filepath.Join(t.TempDir(), "db"), true)
	_, cookies := h.enrol(bob)
	ended, cancel := context.WithCancel(ctx)
	cancel()
	r := httptest.NewRequest("GET", "/who", nil).WithContext(ended)
	r.AddCookie(cookies[0])
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != 503 {
		t.Errorf("got %d", w.Code)
	}
}

func FuzzSessionCookie(f *testing.F) {
	f.Add("__Host-clerestory=" + passkey.Token{7}.String())
	f.Add("__Host-clerestory=\"x\"; __Host-clerestory=y")
	f.Add("a=b; __Host-clerestory=")
	h := build(f, filepath.Join(f.TempDir(), "db"), true)
	f.Fuzz(func(t *testing.T, header string) {
		r := httptest.NewRequest("GET", "/who", nil)
		r.Header.Set("Cookie", header)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 200 || w.Body.String() != "" {
			t.Fatalf("%q: %d %q", header, w.Code, w.Body)
		}
	})
}
