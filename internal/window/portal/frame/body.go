package frame

import "net/http"

// maxForm caps the body of a form, in bytes.
const maxForm = 64 << 10

// limitBody makes a form that is too large fail where it is read.
func limitBody(w http.ResponseWriter, r *http.Request) {
	if r.Body != nil {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	}
}
