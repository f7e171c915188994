package portal

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/gate/door"
	"clerestory.dev/clerestory/internal/window/portal/frame"
)

// Routes are the pages that belong to no room, and what other packages serve
// here: those lines only describe.
func (p *portal) Routes() []frame.Route {
	machine := func(path, kind, summary string, serve func(*frame.Request) (*frame.Answer, error)) frame.Route {
		return frame.Route{Method: "GET", Path: path, Machine: true, Type: kind, Summary: summary, Serve: serve}
	}
	gate := func(method, path, summary string) frame.Route {
		return frame.Route{Method: method, Path: door.Prefix + path, Machine: true, Type: "application/json", Summary: summary}
	}
	return []frame.Route{
		{Method: "GET", Path: "/about", Formats: []string{"json"}, Summary: "What the vendor says about its programme", Data: About{}, Serve: p.about},
		{Method: "GET", Path: "/api", Summary: "The API, for people", Serve: p.api},
		machine("/api.json", "application/json", "The API's description (OpenAPI 3.1)", p.apiJSON),
		machine("/trusted_root.json", "application/json", "The root of trust: the one file that a verifier needs", p.trustedRoot),
		machine("/roots/{file}", "application/json", "A version of the root of trust, N.root.json, for a verifier that holds an older one", p.rootVersion),
		machine("/.well-known/security.txt", "text/plain", "How to report a weakness (RFC 9116)", p.securityTxt),
		machine("/healthz", "text/plain", "Whether this process runs", p.healthz),
		machine("/readyz", "text/plain", "Whether this process can answer", p.readyz),
		machine("/metrics", "text/plain", "Measurements for Prometheus", p.metrics),
		machine("/log/{file...}", "application/octet-stream", "The log's static files (C2SP tlog-tiles): checkpoint, tile/…", nil),
		gate("GET", "session", "Who is signed in"),
		gate("POST", "enrol/begin", "Begin to enrol a passkey with an invitation"),
		gate("POST", "enrol/finish", "Finish it"),
		gate("POST", "sign-in/begin", "Begin to sign in with a passkey"),
		gate("POST", "sign-in/finish", "Finish it"),
		gate("POST", "touch", "Ask for a touch of the passkey for one action on one object; the form of that action carries the answer"),
		gate("POST", "demo", "Sign in as a person of a demonstration"),
		gate("POST", "sign-out", "End this session"),
	}
}

// About is the vendor and its programme.
type About struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	URL      string    `json:"url"`
	Contact  string    `json:"contact"`
	Products []Product `json:"products"`
	Markdown string    `json:"markdown"`
}

// Product is what is released under the programme.
type Product struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Repository  string   `json:"repository"`
	Channels    []string `json:"channels"`
}

// markdown leaves raw HTML out, and addresses that could run (goldmark's
// defaults).
var markdown = goldmark.New(goldmark.WithExtensions(extension.Table))

func (p *portal) about(*frame.Request) (*frame.Answer, error) {
	prog := p.cfg.Programme()
	data := About{prog.Vendor.ID, prog.Vendor.Name, prog.Vendor.URL, prog.Vendor.Contact, []Product{}, prog.About}
	for _, x := range prog.Products {
		data.Products = append(data.Products, Product{x.ID, x.Name, x.Description, x.Repository, x.Channels})
	}
	var html bytes.Buffer
	if err := markdown.Convert([]byte(prog.About), &html); err != nil {
		return nil, fmt.Errorf("setting the about page: %w", err)
	}
	return &frame.Answer{Title: "About", Section: "/about", Data: data, Body: aboutPage(data, html.String())}, nil
}

func (p *portal) api(*frame.Request) (*frame.Answer, error) {
	return &frame.Answer{Title: "API", Section: "/api", Body: apiPage(p.routes, p.cfg.URL)}, nil
}

func (p *portal) apiJSON(*frame.Request) (*frame.Answer, error) {
	return &frame.Answer{Bytes: *p.spec.Load(), Type: "application/json"}, nil
}

func (p *portal) trustedRoot(*frame.Request) (*frame.Answer, error) {
	trust, err := p.cfg.Trust()
	if err != nil {
		return nil, err
	}
	return &frame.Answer{Bytes: trust.File(), Type: "application/json"}, nil
}

// rootVersion serves N.root.json; a verifier asks for the next version until there
// is none (TUF 1.0, section 5.3.3).
func (p *portal) rootVersion(r *frame.Request) (*frame.Answer, error) {
	number, ok := strings.CutSuffix(r.PathValue("file"), ".root.json")
	version, err := strconv.Atoi(number)
	if !ok || err != nil || strconv.Itoa(version) != number {
		return nil, fault.NotFound.New("a version of the root is named like 2.root.json")
	}
	roots, err := p.cfg.Roots()
	if err != nil {
		return nil, err
	}
	if version < 1 || version > len(roots) {
		return nil, fault.NotFound.New("there is no version %d of the root of trust", version)
	}
	return &frame.Answer{Bytes: roots[version-1], Type: "application/json"}, nil
}

func (p *portal) securityTxt(*frame.Request) (*frame.Answer, error) {
	text := p.cfg.Programme().SecurityTxt(p.cfg.URL + "/.well-known/security.txt")
	return &frame.Answer{Bytes: []byte(text), Type: "text/plain; charset=utf-8"}, nil
}

func (p *portal) healthz(*frame.Request) (*frame.Answer, error) {
	return &frame.Answer{Bytes: []byte("ok\n"), Type: "text/plain; charset=utf-8"}, nil
}

// readyz fails with 503, and never with why: the log says.
func (p *portal) readyz(r *frame.Request) (*frame.Answer, error) {
	r.Format = "text"
	_, err := p.cfg.DB.Next(r.Ctx())
	if err = errors.Join(err, p.cfg.Ready(r.Ctx())); err != nil {
		p.cfg.Log.WarnContext(r.Ctx(), "not ready", "error", err)
		return nil, fault.Unavailable.New("this server is not ready")
	}
	return &frame.Answer{Bytes: []byte("ready\n"), Type: "text/plain; charset=utf-8"}, nil
}

func (p *portal) metrics(*frame.Request) (*frame.Answer, error) {
	return &frame.Answer{Stream: p.meter.write}, nil
}
