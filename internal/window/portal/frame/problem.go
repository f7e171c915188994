package frame

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"clerestory.dev/clerestory/internal/base/fault"
)

// Problem is an RFC 9457 problem document.
type Problem struct {
	Type     string       `json:"type"`
	Title    string       `json:"title"` // the kind of fault; stable
	Status   int          `json:"status"`
	Detail   string       `json:"detail"`
	Instance string       `json:"instance,omitempty"` // an id that the operator finds in the log
	Errors   []FieldError `json:"errors,omitempty"`
}

// FieldError is what is wrong with one parameter.
type FieldError struct {
	Parameter string `json:"parameter"`
	Detail    string `json:"detail"`
}

// wantsProblem tells whether a machine asks.
func (r *Request) wantsProblem() bool {
	return r.Format != "" || strings.HasPrefix(r.Header.Get("Accept"), "application/json") ||
		strings.HasPrefix(r.Header.Get("Content-Type"), "application/json")
}

// fail answers with an error. What has no kind is internal: its text goes to the
// log under an id, and the visitor gets the id.
func (f *Frame) fail(w http.ResponseWriter, r *Request, err error) {
	kind := fault.KindOf(err)
	p := &Problem{Title: kind.Name, Status: kind.Status, Detail: sentence(err.Error())}
	if fault.IsInternal(err) {
		p.Instance = "urn:clerestory:error:" + rand.Text()
		p.Detail = "Something went wrong on our side. It has been recorded."
		f.Log.ErrorContext(r.Ctx(), "a page failed", "id", p.Instance, "path", r.URL.Path, "error", err)
	} else if errors.Is(err, fault.Tampered) {
		f.Log.ErrorContext(r.Ctx(), "something does not match its proof", "path", r.URL.Path, "error", err)
	}
	f.problem(w, r, p)
}

func (f *Frame) problem(w http.ResponseWriter, r *Request, p *Problem) {
	p.Type = "about:blank"
	w.Header().Set("Cache-Control", "no-store")
	if r.wantsProblem() {
		b, err := json.MarshalIndent(p, "", "  ")
		if err != nil {
			http.Error(w, "internal", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(p.Status)
		w.Write(append(b, '\n'))
		return
	}
	var b bytes.Buffer
	page := &Answer{Title: problemTitle(p.Status), Body: problemPage(p), Status: p.Status}
	if err := shell(f, r, page).Render(r.Ctx(), &b); err != nil {
		http.Error(w, p.Detail, p.Status)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", f.policy(false))
	w.WriteHeader(p.Status)
	w.Write(b.Bytes())
}

// Missing answers a URL that no page has.
func (f *Frame) Missing() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req := f.request(w, r, "")
		if strings.HasSuffix(r.URL.Path, ".json") {
			req.Format = "json"
		}
		f.problem(w, req, &Problem{Title: fault.NotFound.Name, Status: http.StatusNotFound, Detail: "There is no page at this address."})
	})
}

func problemTitle(status int) string {
	switch status {
	case http.StatusNotFound:
		return "Not found"
	case http.StatusForbidden, http.StatusUnauthorized:
		return "Not allowed"
	case http.StatusServiceUnavailable:
		return "Not available now"
	case http.StatusInternalServerError:
		return "Our fault"
	}
	return "That did not work"
}

// sentence makes an error's text a sentence.
func sentence(s string) string {
	if s == "" {
		return s
	}
	s = strings.ToUpper(s[:1]) + s[1:]
	if !strings.ContainsAny(s[len(s)-1:], ".!?") {
		s += "."
	}
	return s
}
