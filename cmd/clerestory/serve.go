package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/programme"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/gate/audit"
	"clerestory.dev/clerestory/internal/gate/door"
	"clerestory.dev/clerestory/internal/gate/passkey"
	"clerestory.dev/clerestory/internal/gate/policy"
	"clerestory.dev/clerestory/internal/ledger/log"
	"clerestory.dev/clerestory/internal/ledger/repository"
	"clerestory.dev/clerestory/internal/ledger/tile"
	"clerestory.dev/clerestory/internal/window/portal"
	"clerestory.dev/clerestory/verify"
)

type serveCmd struct {
	Folder string `arg:"" optional:"" type:"path" help:"The vendor's folder (default: --dir)."`
	Listen string `help:"Address to listen on (default: listen in config.yaml)."`
}

func (c *serveCmd) Help() string {
	return "Put a reverse proxy that speaks TLS in front of it. The folder log/ may also be served by any static web server."
}

// Run opens the folder, takes the log's lock, and serves until it is stopped.
func (c *serveCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	if c.Folder != "" {
		cli.Dir = c.Folder
	}
	return withHome(ctx, cli, t, func(h *home, db *store.DB, passphrase []byte) error {
		if c.Listen != "" {
			h.config.Listen = c.Listen
		}
		w, err := h.openWriter(ctx, db, passphrase)
		if err != nil {
			return err
		}
		return errors.Join(serve(ctx, h, db, w, passphrase, t), w.Close())
	})
}

// serve is the running server: custody and ledger are open, it staffs the
// offices, opens the window, waits, and closes in reverse.
func serve(ctx context.Context, h *home, db *store.DB, w *log.Writer, passphrase []byte, t *terminal) error {
	logger := slog.New(slog.NewTextHandler(t.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	now, err := readInForce(ctx, h, db)
	if err != nil {
		return err
	}
	trail := audit.New(db, time.Now)
	guard := door.NewGuard(now.Load().policies, trail)
	people, err := openGate(ctx, h, db, guard, now.Load().programme, logger)
	if err != nil {
		return err
	}
	address, err := visitorAddress(h.config.Proxies)
	if err != nil {
		return err
	}
	entrance, err := door.New(door.Config{People: people, Address: address, Guard: guard, HTTPS: strings.HasPrefix(h.config.URL, "https://"), Now: time.Now, Log: logger})
	if err != nil {
		return err
	}
	releases, err := h.releases(db)
	if err != nil {
		return err
	}
	updates, err := h.serveUpdates(ctx, db, passphrase, logger)
	if err != nil {
		return err
	}
	handler, err := portal.New(portal.Config{
		URL: h.config.URL, Version: version(), DB: db, Blobs: releases.Blobs, Ledger: &staticLog{h, db}, LogFiles: tile.Handler(h.logDir()),
		Trust:      func() (*verify.Trust, error) { return now.Load().trust, nil },
		Roots:      h.roots,
		Programme:  func() *programme.Programme { return now.Load().programme },
		Advisories: h.advisories(db, releases), Address: address,
		Releases: releases, Keys: h.keys(), People: people, Door: entrance, Guard: guard, Trail: trail,
		Policies:   func() *policy.Set { return now.Load().policies },
		Repository: updates, Updates: repository.Handler(updates.Dir),
		Demo: h.config.UnsafeDemoIdentities, Ready: ready(w), Now: time.Now, Log: logger,
	})
	if err != nil {
		return err
	}
	go settleReleases(ctx, releases, logger)
	go follow(ctx, h, db, now, guard, people, logger)
	return listen(ctx, h, handler, t)
}

// inForce is what the server answers from: read again when it changes.
type inForce struct {
	version   int64
	programme *programme.Programme
	policies  *policy.Set
	trust     *verify.Trust
}

func readInForce(ctx context.Context, h *home, db *store.DB) (*atomic.Pointer[inForce], error) {
	state, err := loadInForce(ctx, h, db)
	if err != nil {
		return nil, err
	}
	var p atomic.Pointer[inForce]
	p.Store(state)
	return &p, nil
}

func loadInForce(ctx context.Context, h *home, db *store.DB) (*inForce, error) {
	v, err := programme.Version(ctx, db)
	if err != nil {
		return nil, err
	}
	p, err := programme.Current(ctx, db)
	if errors.Is(err, fault.NotFound) {
		return nil, fault.NotFound.New("no programme is in force yet: clerestory apply %s", h.dir)
	}
	if err != nil {
		return nil, err
	}
	policies, err := loadPolicies(p)
	if err != nil {
		return nil, err
	}
	trust, err := h.trust()
	if err != nil {
		return nil, err
	}
	return &inForce{v, p, policies, trust}, nil
}

// follow notices, within seconds, a programme that was applied or a root that
// was rotated by another process.
func follow(ctx context.Context, h *home, db *store.DB, now *atomic.Pointer[inForce], guard *door.Guard, people *passkey.Service, logger *slog.Logger) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(2 * time.Second):
		}
		old := now.Load()
		v, err := programme.Version(ctx, db)
		if err == nil && v == old.version && !exists(h.rootPath(old.trust.Root.Version+1)) {
			continue
		}
		next, err := loadInForce(ctx, h, db)
		if err == nil {
			err = people.Align(ctx, peopleOf(next.programme))
		}
		if err != nil {
			logger.Error("the change is not in force here", "err", err)
			continue
		}
		now.Store(next)
		guard.Replace(next.policies)
	}
}

// openGate opens the people's room. Passkeys are bound to the portal's host.
func openGate(ctx context.Context, h *home, db *store.DB, guard *door.Guard, p *programme.Programme, logger *slog.Logger) (*passkey.Service, error) {
	u, err := url.Parse(h.config.URL)
	if err != nil || u.Hostname() == "" {
		return nil, fault.Invalid.New("%s: url must be the portal's address, such as https://trust.acme.example", configFile)
	}
	cfg := passkey.Config{Name: p.Vendor.Name, RPID: u.Hostname(), Origins: []string{u.Scheme + "://" + u.Host}, Roles: programme.Roles, Guard: guard, Now: time.Now, Log: logger}
	if h.config.UnsafeDemoIdentities {
		logger.Warn("anybody may sign in as anyone here: unsafe_demo_identities is set")
		cfg.UnsafeDemoIdentities = peopleOf(p)
	}
	people, err := passkey.New(ctx, db, cfg)
	if err != nil {
		return nil, err
	}
	return people, people.Align(ctx, peopleOf(p))
}

func peopleOf(p *programme.Programme) []passkey.Person {
	var all []passkey.Person
	for _, x := range p.People {
		all = append(all, passkey.Person{ID: x.ID, Name: cmp.Or(x.Name, x.ID), Roles: x.Roles})
	}
	return all
}

// ready says whether this process should get requests: not when it can not
// write the log any more.
func ready(w *log.Writer) func(context.Context) error {
	return func(ctx context.Context) error {
		if s := w.Status(ctx); s.Stopped {
			return fault.Unavailable.New("the log is not written: %w", s.Err)
		}
		return nil
	}
}

// listen serves until ctx ends, then lets requests in progress finish.
func listen(ctx context.Context, h *home, handler http.Handler, t *terminal) error {
	l, err := net.Listen("tcp", h.config.Listen)
	if err != nil {
		return fault.Unavailable.New("listening on %s: %w; choose another address with --listen", h.config.Listen, err)
	}
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10}
	done := make(chan error, 1)
	go func() {
		<-ctx.Done()
		grace, stop := context.WithTimeout(context.Background(), 5*time.Second)
		defer stop()
		done <- srv.Shutdown(grace)
	}()
	t.note("serving %s on %s", h.config.URL, l.Addr())
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fault.Unavailable.New("serving: %w", err)
	}
	return <-done
}
