package frame

import (
	"net/http"
	"path"
	"strings"
	"time"
)

// Route is one line of the portal's table of pages. The API's description is
// made from the same table, so a page can not be missing from it.
type Route struct {
	Method  string // GET or POST
	Path    string // ServeMux pattern: "/statements/{n}"
	Summary string // what it answers, in one sentence
	// Formats are suffixes that the page has besides HTML: "json", "csv", "atom".
	Formats []string
	// Machine says that there is no HTML, and that Path is the whole URL.
	Machine bool
	Type    string  // content type, for Machine routes
	Query   []Param // query parameters, or form fields for POST
	Data    any     // a value of the type that .json answers, for its schema
	Staff   bool    // needs somebody who signed in
	// Serve answers. A route without it is only described here, and served by
	// another package.
	Serve func(*Request) (*Answer, error)
}

// Param is a query parameter, as the API's description tells it.
type Param struct{ Name, Hint string }

// Wildcard is the name of the wildcard that ends the route's path, or "".
func (rt *Route) Wildcard() string {
	last := path.Base(rt.Path)
	if strings.HasPrefix(last, "{") && last != "{$}" {
		return strings.Trim(last, "{.}")
	}
	return ""
}

// URLs are the patterns of the route with each of its formats; "" is the page.
func (rt *Route) URLs() map[string]string {
	urls := map[string]string{}
	if !rt.Machine {
		urls[""] = rt.Path
	}
	for _, f := range rt.Formats {
		urls[f] = withSuffix(strings.TrimSuffix(rt.Path, "{$}"), "", f)
	}
	if rt.Machine {
		urls["raw"] = rt.Path
	}
	return urls
}

// withSuffix changes the format of a path: "/" has its data at "/index.json".
func withSuffix(p, from, to string) string {
	if from != "" {
		p = strings.TrimSuffix(p, "."+from)
	}
	if p == "/" && to != "" {
		p = "/index"
	}
	if p == "/index" && to == "" {
		return "/"
	}
	if to == "" {
		return p
	}
	return p + "." + to
}

// Mount puts a route on the mux. A path that ends in a literal is registered
// once per format; one that ends in a wildcard finds the suffix in its value.
func (f *Frame) Mount(mux *http.ServeMux, rt Route) {
	if wild := rt.Wildcard(); wild != "" || rt.Machine {
		mux.HandleFunc(rt.Method+" "+rt.Path, func(w http.ResponseWriter, r *http.Request) {
			format := ""
			value := r.PathValue(wild)
			for _, have := range rt.Formats {
				if cut, ok := strings.CutSuffix(value, "."+have); ok && cut != "" {
					r.SetPathValue(wild, cut)
					format = have
					break
				}
			}
			f.serve(w, r, &rt, format)
		})
		return
	}
	for format, pattern := range rt.URLs() {
		mux.HandleFunc(rt.Method+" "+pattern, func(w http.ResponseWriter, r *http.Request) { f.serve(w, r, &rt, format) })
	}
}

func (f *Frame) serve(w http.ResponseWriter, r *http.Request, rt *Route, format string) {
	start := time.Now() // for the metric only; pages get f.Now
	seen := &statusWriter{ResponseWriter: w}
	limitBody(w, r)
	req := f.request(seen, r, format)
	defer func() { f.Count(rt.Method+" "+rt.Path, seen.status, time.Since(start)) }()
	if rt.Staff && !req.Visitor.SignedIn() {
		f.signInFirst(seen, req)
		return
	}
	answer, err := rt.Serve(req)
	if err != nil {
		f.fail(seen, req, err)
		return
	}
	f.write(seen, req, answer)
}

func (f *Frame) request(w http.ResponseWriter, r *http.Request, format string) *Request {
	return &Request{Request: r, Writer: w, Format: format, Now: f.Now(), Visitor: f.Visitor(r)}
}

// signInFirst leads a person to the sign-in page, and tells a machine.
func (f *Frame) signInFirst(w http.ResponseWriter, r *Request) {
	if r.wantsProblem() || r.Method != http.MethodGet {
		f.problem(w, r, &Problem{Title: "denied", Status: http.StatusUnauthorized, Detail: "Sign in first."})
		return
	}
	http.Redirect(w, r.Request, "/account", http.StatusSeeOther)
}

// statusWriter remembers the status for the metric.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
