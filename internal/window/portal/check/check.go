// Package check is the page that verifies a file in the visitor's browser, and
// the addresses that it asks: the bundle of a file with a given hash, and the
// proof that one state of the log grew into another.
//
// It promises that the file stays on the visitor's machine; only its SHA-256 is
// asked for. The scripts and the WebAssembly are package portal/verify's; the
// page without them says how to check by command line.
//
// Start at [Room.Routes].
package check

import (
	"context"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/window/portal/frame"
	"clerestory.dev/clerestory/verify"
)

// Bundles makes the bundle of a released file; *release.Service does.
type Bundles interface {
	Bundle(ctx context.Context, sha string) ([]byte, error)
}

// Log proves how the log grew.
type Log interface {
	// Growth proves that the log with from entries grew into the one with to
	// entries, as RFC 9162 section 2.1.4 has it. Sizes that the published log does
	// not cover are NotFound.
	Growth(ctx context.Context, from, to int64) ([]tlog.Hash, error)
}

// Room is the page.
type Room struct {
	Log     Log
	Bundles Bundles
	URL     string // the portal's own
	Script  string // address of the verifier's module
}

// Routes are the room's pages.
func (m *Room) Routes() []frame.Route {
	return []frame.Route{
		{Method: "GET", Path: "/verify", Summary: "Verify a file in the browser", Serve: m.page},
		{Method: "GET", Path: "/bundle/sha256/{sum}", Machine: true, Type: verify.BundleType, Summary: "The bundle of the released file with this SHA-256; 404 when no release has these bytes", Serve: m.bundle},
		{Method: "GET", Path: "/growth/{from}/{to}", Machine: true, Type: "text/plain", Summary: "Proof that the log with the first number of entries grew into the one with the second: the hashes of RFC 9162's consistency proof in base64, a line each", Serve: m.growth},
	}
}

func (m *Room) page(*frame.Request) (*frame.Answer, error) {
	return &frame.Answer{Title: "Verify a file", Section: "/verify", Modules: []string{m.Script}, WASM: true, Body: verifyPage(m.URL)}, nil
}

func (m *Room) bundle(r *frame.Request) (*frame.Answer, error) {
	sum := r.PathValue("sum")
	r.Format = "bundle" // a machine asks: problems are documents
	if len(sum) != 64 || strings.Trim(sum, "0123456789abcdef") != "" {
		return nil, fault.Invalid.New("a SHA-256 is written as 64 hex digits in lower case")
	}
	b, err := m.Bundles.Bundle(r.Ctx(), sum)
	if err != nil {
		return nil, err
	}
	return &frame.Answer{Bytes: b, Type: verify.BundleType}, nil
}

// growth is what a verifier asks when two states of the log differ in size. Whoever
// asks checks the proof: nothing here has to be believed.
func (m *Room) growth(r *frame.Request) (*frame.Answer, error) {
	r.Format = "text"
	from, err1 := strconv.ParseInt(r.PathValue("from"), 10, 64)
	to, err2 := strconv.ParseInt(r.PathValue("to"), 10, 64)
	if err1 != nil || err2 != nil {
		return nil, fault.Invalid.New("a size of the log is a number of entries")
	}
	hashes, err := m.Log.Growth(r.Ctx(), from, to)
	if err != nil {
		return nil, err
	}
	var text strings.Builder
	for _, h := range hashes {
		text.WriteString(h.String() + "\n")
	}
	return &frame.Answer{Bytes: []byte(text.String()), Type: "text/plain; charset=utf-8"}, nil
}
