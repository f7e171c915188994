package door

import (
	"encoding/json"
	"errors"
	"net/http"

	"clerestory.dev/clerestory/internal/base/fault"
)

var errTooMany = errors.New("too many attempts; wait a minute")

// problem is an RFC 9457 problem document.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

// Problem answers with an error as a problem document. What has no kind goes to
// the log, and the visitor gets a sentence without it.
func (d *Door) Problem(w http.ResponseWriter, r *http.Request, err error) {
	kind := fault.KindOf(err)
	p := problem{Type: "about:blank", Title: kind.Name, Status: kind.Status, Detail: err.Error()}
	switch {
	case errors.Is(err, errTooMany):
		p.Title, p.Status = "too many requests", http.StatusTooManyRequests
	case fault.IsInternal(err) || errors.Is(err, fault.Unavailable):
		d.cfg.Log.ErrorContext(r.Context(), "request failed", "path", r.URL.Path, "error", err)
		if fault.IsInternal(err) {
			p.Detail = "something went wrong here; it is in the log"
		} else {
			p.Detail = "this can not be done now; try again later"
		}
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(p)
}
