// Package door is the browser's side of the gate: it knows who asks, refuses
// what another site made the browser send, and lets people enrol and sign in.
//
// It promises: behind [Door.Wrap] every request has an actor ([Actor]), who is a
// visitor unless the session holds at this moment; requests that change
// something come from our own pages; a session's cookie is out of reach for
// scripts, for other hosts and, where pages are https, for plain http; what
// [Door.Require] and [Guard] let through was permitted by a policy and recorded.
// It refuses large bodies, two cookies where one is expected, and more attempts
// from one address than a person makes.
//
// It renders no pages: endpoints answer JSON, errors are RFC 9457 problems.
//
// Start at [New]; mount [Door.Handler] at [Prefix] and wrap everything in
// [Door.Wrap].
package door

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/gate/passkey"
)

// Prefix is where [Door.Handler] is mounted.
const Prefix = "/gate/"

// Caps bound what one address may send.
var Caps = struct {
	Body      int64         // bytes of a request to an endpoint
	Attempts  int           // requests to the endpoints from one address within Window
	Window    time.Duration //
	Addresses int           // addresses remembered at once
}{Body: 96 << 10, Attempts: 60, Window: time.Minute, Addresses: 50000}

// Config is what a [Door] needs; all but Address must be given.
type Config struct {
	People *passkey.Service
	Guard  *Guard
	HTTPS  bool // pages are served by https (by us or by a proxy): cookies are Secure then
	Now    func() time.Time
	Log    *slog.Logger
	// Address tells who is calling, for the rate limit. By default the other end
	// of the connection; behind a proxy, what that proxy says.
	Address func(*http.Request) netip.Addr
}

// Door serves the gate's endpoints and guards others. It may be used concurrently.
type Door struct {
	cfg     Config
	csrf    *http.CrossOriginProtection
	limit   *limiter
	handler http.Handler
}

// New checks the configuration.
func New(cfg Config) (*Door, error) {
	if cfg.People == nil || cfg.Guard == nil || cfg.Now == nil || cfg.Log == nil {
		return nil, fault.Invalid.New("setting up the door: people, a guard, a clock and a log are needed")
	}
	if cfg.Address == nil {
		cfg.Address = remoteAddress
	}
	d := &Door{cfg: cfg, csrf: http.NewCrossOriginProtection(), limit: newLimiter(cfg.Now)}
	d.csrf.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.Problem(w, r, fault.Denied.New("this request came from another site"))
	}))
	d.handler = d.routes()
	return d, nil
}

// Handler serves the endpoints below Prefix. It has to be inside Wrap.
func (d *Door) Handler() http.Handler { return d.handler }

type actorKey struct{}

// Actor is who makes the request: the zero Person is a visitor.
func Actor(ctx context.Context) passkey.Person {
	p, _ := ctx.Value(actorKey{}).(passkey.Person)
	return p
}

// WithActor puts an actor into a context: for work that a command line starts,
// and for tests.
func WithActor(ctx context.Context, p passkey.Person) context.Context {
	return context.WithValue(ctx, actorKey{}, p)
}

// Wrap finds out who asks, and refuses requests that another site had a browser
// send. A cookie whose session is over is taken back; its bearer is a visitor.
func (d *Door) Wrap(next http.Handler) http.Handler {
	return d.csrf.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Cookie")
		token, sent := d.sessionToken(r)
		var who passkey.Person
		if token != "" {
			p, err := d.cfg.People.Session(r.Context(), token)
			if err != nil && !errors.Is(err, fault.Denied) {
				d.Problem(w, r, err)
				return
			}
			who = p // zero when Denied
		}
		if !who.IsVisitor() {
			// A default for pages that say nothing: what a person sees is not for
			// a shared cache.
			w.Header().Set("Cache-Control", "private, no-store")
		} else if sent {
			http.SetCookie(w, d.cookie("", -1))
		}
		next.ServeHTTP(w, r.WithContext(WithActor(r.Context(), who)))
	}))
}

// Require lets a request through to next if the policies permit its actor the
// action on object(r), and records that either way (see [Guard.Allow]).
func (d *Door) Require(action string, object func(*http.Request) string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := d.cfg.Guard.Allow(r.Context(), Actor(r.Context()), action, object(r), nil); err != nil {
			d.Problem(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func remoteAddress(r *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	host, _, _ = strings.Cut(host, "%") // a zone
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.IPv6Unspecified() // all that have no address share one allowance
	}
	return addr
}
