// Package portal is the vendor's public record on the web: pages for people, and
// the same as data for machines.
//
// It promises that every page works without script, but for passkeys and for
// verifying in the browser; that every page has its data at the same address
// with .json; that the API's description lists exactly the routes that there
// are; and that nothing a statement says can run in a reader's browser.
// It refuses to decide: policies do (package door), and package verify judges.
//
// Each room's pages are a folder of their own below this one; what they share is
// in frame and record. Start at [New].
package portal

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"clerestory.dev/clerestory/internal/base/blob"
	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/programme"
	"clerestory.dev/clerestory/internal/base/store"
	trail "clerestory.dev/clerestory/internal/gate/audit"
	"clerestory.dev/clerestory/internal/gate/door"
	"clerestory.dev/clerestory/internal/gate/passkey"
	"clerestory.dev/clerestory/internal/gate/policy"
	advisoryoffice "clerestory.dev/clerestory/internal/office/advisory"
	office "clerestory.dev/clerestory/internal/office/release"
	"clerestory.dev/clerestory/internal/window/portal/account"
	"clerestory.dev/clerestory/internal/window/portal/advisory"
	"clerestory.dev/clerestory/internal/window/portal/audit"
	"clerestory.dev/clerestory/internal/window/portal/check"
	"clerestory.dev/clerestory/internal/window/portal/detection"
	"clerestory.dev/clerestory/internal/window/portal/frame"
	"clerestory.dev/clerestory/internal/window/portal/ledger"
	"clerestory.dev/clerestory/internal/window/portal/record"
	"clerestory.dev/clerestory/internal/window/portal/release"
	browser "clerestory.dev/clerestory/internal/window/portal/verify"
	"clerestory.dev/clerestory/verify"
)

// Config is what the portal shows and whom it asks. All must be given, but Keys,
// Repository, Updates and Ready.
type Config struct {
	URL     string // how visitors reach the portal, without a slash at the end
	Version string // of this program
	DB      *store.DB
	Blobs   *blob.Disk
	Ledger  interface {
		record.Ledger
		check.Log
	}
	// LogFiles serves the log's static files; it is mounted at /log/.
	LogFiles http.Handler
	// Trust is the root of trust in force. It is asked at every page, so it should
	// answer from memory.
	Trust func() (*verify.Trust, error)
	// Roots are all versions of the root of trust, the first one first.
	Roots func() ([][]byte, error)
	// Programme is the vendor's programme in force; asked at every page too.
	Programme func() *programme.Programme
	Releases  *office.Service
	// Advisories are weaknesses of what was released, and reports of them. Address is
	// who sent a report, for the limit on them; nil believes the connection.
	Advisories *advisoryoffice.Service
	Address    func(*http.Request) netip.Addr
	People     *passkey.Service
	Door       *door.Door
	Guard      *door.Guard
	Trail      *trail.Trail
	Policies   func() *policy.Set
	// Keys are the key files that the vendor keeps for its people, who may then
	// approve with a passphrase. It may be nil.
	Keys release.Keys
	// Repository is what update clients get; nil where none is kept.
	Repository interface {
		detection.Heads
		release.Repository
	}
	// Updates serves its static files, at /repository/; it may be nil too.
	Updates http.Handler
	// Demo says on every page that this is a demonstration.
	Demo bool
	// Ready says why this process should not get requests now; nil is ready.
	Ready func(context.Context) error
	Now   func() time.Time
	Log   *slog.Logger
}

// portal is what New builds.
type portal struct {
	cfg    Config
	frame  *frame.Frame
	read   *record.Reader
	routes []frame.Route
	meter  *meter
	// spec is the API's description; made once, when all routes are known.
	spec atomic.Pointer[[]byte]
}

// New makes the portal's handler. It holds all there is under its host: pages,
// data, assets, the gate's endpoints and the log's files.
func New(cfg Config) (http.Handler, error) {
	p, err := build(cfg)
	if err != nil {
		return nil, err
	}
	return p.handler()
}

func build(cfg Config) (*portal, error) {
	if cfg.DB == nil || cfg.Blobs == nil || cfg.Ledger == nil || cfg.LogFiles == nil || cfg.Trust == nil || cfg.Roots == nil || cfg.Programme == nil || cfg.Releases == nil || cfg.Advisories == nil ||
		cfg.People == nil || cfg.Door == nil || cfg.Guard == nil || cfg.Trail == nil || cfg.Policies == nil || cfg.Now == nil || cfg.Log == nil || cfg.URL == "" {
		return nil, fault.Invalid.New("setting up the portal: something that it needs is missing")
	}
	cfg.URL = strings.TrimSuffix(cfg.URL, "/")
	if cfg.Ready == nil {
		cfg.Ready = func(context.Context) error { return nil }
	}
	trust, err := cfg.Trust()
	if err != nil {
		return nil, err
	}
	p := &portal{cfg: cfg, read: &record.Reader{DB: cfg.DB, Ledger: cfg.Ledger, Trust: cfg.Trust}}
	p.meter = newMeter(p.read, cfg.Repository, cfg.Now)
	p.frame = &frame.Frame{Vendor: p.vendor, Fingerprint: p.fingerprint, Log: cfg.Log, Now: cfg.Now, Visitor: p.visitor,
		Origins: browser.Sources(trust.Policy), Demo: cfg.Demo, Count: p.meter.count}
	if err := p.frame.Ready(); err != nil {
		return nil, err
	}
	bases := &detection.Room{Read: p.read, Blobs: cfg.Blobs, Guard: cfg.Guard, Heads: cfg.Repository}
	rooms := []interface{ Routes() []frame.Route }{
		&ledger.Room{Read: p.read, Vendor: p.vendor, URL: cfg.URL},
		&release.Room{Office: cfg.Releases, Advisories: cfg.Advisories, Blobs: cfg.Blobs, Guard: cfg.Guard, Read: p.read, URL: cfg.URL, Touches: cfg.People, Keys: cfg.Keys, Bases: bases,
			Repository: cfg.Repository, Rule: func(product, channel string) (programme.Rule, bool) { return cfg.Programme().RuleFor(product, channel) }},
		bases,
		&advisory.Room{Office: cfg.Advisories, Guard: cfg.Guard, Read: p.read, Programme: cfg.Programme, URL: cfg.URL, Address: cfg.Address},
		&check.Room{Log: cfg.Ledger, Bundles: cfg.Releases, URL: cfg.URL, Script: browser.Script},
		&account.Room{People: cfg.People, Guard: cfg.Guard, Door: cfg.Door.Handler(), URL: cfg.URL, Roles: programme.Roles},
		&audit.Room{Trail: cfg.Trail, Guard: cfg.Guard, Policies: cfg.Policies},
		p,
	}
	for _, room := range rooms {
		p.routes = append(p.routes, room.Routes()...)
	}
	return p, nil
}

// handler puts everything on one mux, inside the door.
func (p *portal) handler() (http.Handler, error) {
	spec, err := describe(p.vendor(), p.cfg.URL, p.cfg.Version, p.routes)
	if err != nil {
		return nil, err
	}
	p.spec.Store(&spec)
	mux := http.NewServeMux()
	for _, rt := range p.routes {
		if rt.Serve != nil {
			p.frame.Mount(mux, rt)
		}
	}
	verifier, err := browser.Handler()
	if err != nil {
		return nil, err
	}
	mux.Handle("GET "+browser.Path, verifier)
	mux.Handle("GET /assets/", p.frame.Assets())
	mux.Handle(door.Prefix, p.cfg.Door.Handler())
	mux.Handle("/", p.frame.Missing())
	// The log and the updates are the same for everybody: they are served before
	// anybody is asked who he is, so that caches may keep them.
	files, pages := http.StripPrefix("/log", p.cfg.LogFiles), p.frame.Guard(p.cfg.Door.Wrap(mux))
	updates := http.NotFoundHandler()
	if p.cfg.Updates != nil {
		updates = http.StripPrefix("/repository", p.cfg.Updates)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/log/"):
			files.ServeHTTP(w, r)
		case strings.HasPrefix(r.URL.Path, "/repository/"):
			updates.ServeHTTP(w, r)
		default:
			pages.ServeHTTP(w, r)
		}
	}), nil
}

func (p *portal) vendor() string { return p.cfg.Programme().Vendor.Name }

// fingerprint is the trusted root's; a page without one is better than none.
func (p *portal) fingerprint() string {
	trust, err := p.cfg.Trust()
	if err != nil {
		return ""
	}
	return trust.Fingerprint()
}

// visitor is who asks, with the pages that the policies let him see.
func (p *portal) visitor(r *http.Request) frame.Visitor {
	v := frame.Visitor{Person: door.Actor(r.Context())}
	if !v.SignedIn() {
		return v
	}
	for _, l := range []struct {
		action, object string
		frame.Link
	}{
		{"release:read-draft", "release:board", frame.Link{Href: "/work", Text: "Work"}},
		{"report:read", "report:all", frame.Link{Href: "/security/reports", Text: "Reports"}},
		{"person:list", "people:all", frame.Link{Href: "/account/people", Text: "People"}},
		{"audit:read", "audit:trail", frame.Link{Href: "/audit", Text: "Audit"}},
	} {
		if p.cfg.Guard.Decide(v.Person, l.action, l.object, nil).Allowed {
			v.Links = append(v.Links, l.Link)
		}
	}
	return v
}
