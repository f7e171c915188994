// Package check is the page that verifies a file in the visitor's browser, and
// the addresses that it asks: the bundle of a file with a given hash.
//
// It promises that the file stays on the visitor's machine; only its SHA-256 is
// asked for. The scripts and the WebAssembly are package portal/verify's; the
// page without them says how to check by command line.
//
// Start at [Room.Routes].
package check

import (
	"context"
	"strings"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/window/portal/frame"
	"clerestory.dev/clerestory/verify"
)

// Bundles makes the bundle of a released file; *release.Service does.
type Bundles interface {
	Bundle(ctx context.Context, sha string) ([]byte, error)
}

// Room is the page.
type Room struct {
	Bundles Bundles
	URL     string // the portal's own
	Script  string // address of the verifier's module
}

// Routes are the room's pages.
func (m *Room) Routes() []frame.Route {
	return []frame.Route{
		{Method: "GET", Path: "/verify", Summary: "Verify a file in the browser", Serve: m.page},
		{Method: "GET", Path: "/bundle/sha256/{sum}", Machine: true, Type: verify.BundleType, Summary: "The bundle of the released file with this SHA-256; 404 when no release has these bytes", Serve: m.bundle},
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
