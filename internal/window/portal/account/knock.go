package account

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/gate/door"
	"clerestory.dev/clerestory/internal/window/portal/frame"
)

var errNoDemo = fault.NotFound.New("this is not a demonstration: it has no demo identities")

// knock asks the door on behalf of a form, so that signing out and the demo's
// sign-in work without script. The door keeps its limits and its cookies; only
// the cookies it sets are taken over.
func (m *Room) knock(r *frame.Request, endpoint string, body any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("asking the door: %w", err)
	}
	ask := r.Clone(r.Ctx())
	ask.Method = http.MethodPost
	ask.URL.Path, ask.URL.RawQuery = door.Prefix+endpoint, ""
	ask.Header.Set("Content-Type", "application/json")
	ask.Body, ask.ContentLength = io.NopCloser(bytes.NewReader(raw)), int64(len(raw))
	heard := &listener{header: http.Header{}, status: http.StatusOK}
	m.Door.ServeHTTP(heard, ask)
	if heard.status != http.StatusOK {
		return heard.fault()
	}
	for _, c := range heard.header.Values("Set-Cookie") {
		r.Writer.Header().Add("Set-Cookie", c)
	}
	return nil
}

// listener keeps what the door answers.
type listener struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (l *listener) Header() http.Header         { return l.header }
func (l *listener) WriteHeader(status int)      { l.status = status }
func (l *listener) Write(b []byte) (int, error) { return l.body.Write(b) }

// fault is the door's problem as an error of the same kind.
func (l *listener) fault() error {
	var p frame.Problem
	if err := json.Unmarshal(l.body.Bytes(), &p); err != nil {
		return fmt.Errorf("asking the door: status %d", l.status)
	}
	for _, kind := range []*fault.Kind{fault.Invalid, fault.NotFound, fault.Denied, fault.Conflict, fault.Unavailable} {
		if kind.Status == l.status {
			return kind.New("%s", p.Detail)
		}
	}
	if l.status == http.StatusTooManyRequests {
		return fault.Unavailable.New("%s", p.Detail)
	}
	return fmt.Errorf("asking the door: status %d: %s", l.status, p.Detail)
}
