// Package frame is what every page of the portal has in common: the shell, the
// parts that pages are set from, the table of routes, errors, and assets.
//
// It promises that a page is one [Answer] that can be read by people (HTML) and
// by machines (the same URL with .json or .csv); that an error is a page with
// one sentence or an RFC 9457 problem document, and never shows the text of an
// internal failure; and that nothing is inline, so that the content security
// policy can forbid it. It refuses to know any room: rooms hand it [Route]s.
//
// Start at [Route] to add a page, at shell.templ to see what stands around one.
package frame

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"clerestory.dev/clerestory/internal/gate/passkey"
)

// Frame is what stands around every page. Its fields do not change after New.
type Frame struct {
	Vendor      func() string // its name as people read it
	Fingerprint func() string // of the trusted root
	Log         *slog.Logger
	Now         func() time.Time
	Visitor     func(*http.Request) Visitor
	// Origins are other origins that the page which verifies in the browser may
	// connect to: the log and its witnesses.
	Origins []string
	Demo    bool // says on every page that anybody can be anybody here
	Count   func(route string, status int, took time.Duration)

	assets assets
}

// Visitor is who looks at a page, and where he may go.
type Visitor struct {
	passkey.Person        // the zero Person is the public
	Links          []Link // pages that this person has beyond the public ones
}

// SignedIn tells whether the visitor is somebody known.
func (v Visitor) SignedIn() bool { return !v.IsVisitor() }

// Link is a link with its text.
type Link struct{ Href, Text string }

// Ready prepares the assets.
func (f *Frame) Ready() error {
	if f.Count == nil {
		f.Count = func(string, int, time.Duration) {}
	}
	return f.assets.load()
}

// Asset is the URL of an asset, with the hash of its content in it.
func (f *Frame) Asset(name string) string { return f.assets.url(name) }

// Request is one visit: what a page's function may look at.
type Request struct {
	*http.Request
	Writer  http.ResponseWriter // for cookies; the frame writes the answer
	Format  string              // "" is the page, or one of the route's Formats
	Visitor Visitor
	Now     time.Time
}

// Ctx is the request's context.
func (r *Request) Ctx() context.Context { return r.Context() }

// Link is this page's URL with a suffix, filters kept: its data for machines.
func (r *Request) Link(format string) string {
	return withSuffix(r.URL.Path, r.Format, format) + query(r.URL.RawQuery)
}

func query(raw string) string {
	if raw == "" {
		return ""
	}
	return "?" + raw
}
