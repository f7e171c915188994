package frame

import (
	"net/http"
	"strings"
)

// policy is the content security policy of a page. Nothing inline anywhere, and
// nothing from elsewhere; only the verifier's page may compile WebAssembly and
// ask the log and its witnesses.
func (f *Frame) policy(wasm bool) string {
	script, connect, worker := "'self'", "'self'", ""
	if wasm {
		script += " 'wasm-unsafe-eval'"
		worker = "; worker-src 'self'"
		for _, o := range f.Origins {
			connect += " " + o
		}
	}
	return "default-src 'none'; script-src " + script + "; style-src 'self'; img-src 'self' data:; connect-src " + connect +
		worker + "; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
}

// Guard sets the headers that hold for every answer, and refuses forms that
// another site sends. TLS, where the portal speaks it or a proxy says so, is
// asked for from then on.
func (f *Frame) Guard(next http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req := f.request(w, r, "")
		f.problem(w, req, &Problem{Title: "denied", Status: http.StatusForbidden, Detail: "This form was sent from another site."})
	}))
	checked := cross.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=(), payment=(), usb=()")
		if r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https") {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		checked.ServeHTTP(w, r)
	})
}
