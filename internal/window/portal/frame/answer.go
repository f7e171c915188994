package frame

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/a-h/templ"

	"clerestory.dev/clerestory/internal/base/fault"
)

// Answer is what a page's function found: set for people, and as data.
type Answer struct {
	Title string
	Body  templ.Component
	Data  any        // .json
	Table [][]string // .csv, the first row names the columns
	// Status is 200 unless set. A page whose form had a problem is 400.
	Status int
	// Fields are the form's fields that had a problem, for the problem document.
	Fields []*Field
	// SeeOther leads on after a form was accepted.
	SeeOther string
	// Bytes, with Type, is a file for machines; Name makes it a download.
	Bytes      []byte
	Type, Name string
	// Stream writes the answer itself: downloads too large to hold.
	Stream func(http.ResponseWriter, *http.Request)
	// Scripts are assets that the page loads, Modules addresses of ES modules.
	// WASM says that it compiles WebAssembly and talks to the witnesses.
	Scripts, Modules []string
	WASM             bool
	Section          string // the link of the navigation that this page belongs to
}

func (f *Frame) write(w http.ResponseWriter, r *Request, a *Answer) {
	switch {
	case a.SeeOther != "":
		w.Header().Set("Cache-Control", "no-store")
		http.Redirect(w, r.Request, a.SeeOther, http.StatusSeeOther)
	case a.Stream != nil:
		a.Stream(w, r.Request)
	case a.Bytes != nil:
		if a.Name != "" {
			w.Header().Set("Content-Disposition", Attachment(a.Name))
		}
		f.send(w, r, a.Type, a.Bytes, a.Status)
	case len(a.Fields) > 0 && r.wantsProblem():
		f.problem(w, r, fieldProblem(a.Fields))
	case r.Format == "csv":
		f.writeCSV(w, r, a.Table)
	case r.Format == "json" || a.Body == nil:
		f.writeJSON(w, r, a.Data)
	default:
		f.writePage(w, r, a)
	}
}

func (f *Frame) writeJSON(w http.ResponseWriter, r *Request, data any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	if err := enc.Encode(data); err != nil {
		f.fail(w, r, fmt.Errorf("encoding the answer: %w", err))
		return
	}
	f.send(w, r, "application/json", b.Bytes(), 0)
}

func (f *Frame) writeCSV(w http.ResponseWriter, r *Request, table [][]string) {
	var b bytes.Buffer
	out := csv.NewWriter(&b)
	for _, row := range table {
		safe := make([]string, len(row))
		for i, cell := range row {
			safe[i] = plainCell(cell)
		}
		if err := out.Write(safe); err != nil {
			f.fail(w, r, fmt.Errorf("encoding the table: %w", err))
			return
		}
	}
	out.Flush()
	f.send(w, r, "text/csv; charset=utf-8", b.Bytes(), 0)
}

// plainCell keeps a spreadsheet from running a cell as a formula.
func plainCell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

func (f *Frame) writePage(w http.ResponseWriter, r *Request, a *Answer) {
	var b bytes.Buffer
	if err := shell(f, r, a).Render(r.Ctx(), &b); err != nil {
		f.fail(w, r, fmt.Errorf("setting the page: %w", err))
		return
	}
	w.Header().Set("Content-Security-Policy", f.policy(a.WASM))
	f.send(w, r, "text/html; charset=utf-8", b.Bytes(), a.Status)
}

// send writes a whole answer with an entity tag, and compressed when that is
// safe: what a signed-in person sees is not, a secret's length would show.
func (f *Frame) send(w http.ResponseWriter, r *Request, contentType string, body []byte, status int) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Add("Vary", "Accept-Encoding")
	h.Add("Vary", "Cookie")
	if status == 0 {
		status = http.StatusOK
	}
	if r.Visitor.SignedIn() || r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		w.Write(body)
		return
	}
	h.Set("Cache-Control", "no-cache")
	if status == http.StatusOK {
		sum := sha256.Sum256(body)
		tag := `W/"` + hex.EncodeToString(sum[:12]) + `"`
		h.Set("ETag", tag)
		if strings.Contains(r.Header.Get("If-None-Match"), tag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	if len(body) > 1000 && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		w.WriteHeader(status)
		z := gzip.NewWriter(w)
		z.Write(body)
		z.Close()
		return
	}
	w.WriteHeader(status)
	w.Write(body)
}

// Attachment is the Content-Disposition of a download; the name can not leave
// the header (RFC 6266).
func Attachment(name string) string {
	clean := strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e || r == '"' || r == '\\' || r == '/' {
			return '_'
		}
		return r
	}, name)
	return `attachment; filename="` + clean + `"`
}

func fieldProblem(fields []*Field) *Problem {
	p := &Problem{Title: fault.Invalid.Name, Status: fault.Invalid.Status, Detail: "Some parameters can not be read."}
	for _, field := range fields {
		p.Errors = append(p.Errors, FieldError{Parameter: field.Name, Detail: field.Problem})
	}
	return p
}
