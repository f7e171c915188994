package main

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/ledger/repository"
	"clerestory.dev/clerestory/internal/office/release"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/update"
	"clerestory.dev/clerestory/verify"
)

type repositoryOfferCmd struct {
	Product string `arg:"" help:"The product's id."`
	Version string `arg:"" help:"A published release."`
	Percent int    `default:"100" help:"For how many of 100 clients; 0 holds it back."`
}

// Run takes files and bundles from the release room.
func (c *repositoryOfferCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	return withReleases(ctx, cli, t, func(w *releaseWork) error {
		r, err := w.offerable(ctx, c.Product, c.Version)
		if err != nil {
			return err
		}
		s, err := w.home.repository(w.db)
		if err != nil {
			return err
		}
		h, err := s.Offer(ctx, *r, c.Percent, rand.Text())
		if err != nil {
			return err
		}
		printHead(t, h)
		return toPublish(t)
	})
}

// offerable gathers a release as the repository takes it: every file with its
// bundle, which is verified here once more.
func (w *releaseWork) offerable(ctx context.Context, product, version string) (*repository.Release, error) {
	rel, err := w.Show(ctx, product, version)
	if err != nil {
		return nil, err
	}
	if rel.Entry < 0 || rel.RevokedBy >= 0 {
		return nil, fault.Conflict.New("%s %s is not a published release (it is %s)", product, version, rel.State)
	}
	roots, err := w.home.roots()
	if err != nil {
		return nil, err
	}
	r := &repository.Release{Product: product, Channel: rel.Statement.Channel, Version: version, Entry: rel.Entry}
	built := 0
	for _, f := range rel.Files {
		bundle, err := w.Bundle(ctx, f.SHA256)
		if err != nil {
			return nil, err
		}
		r.Files = append(r.Files, repository.File{Name: f.Name, SHA256: f.SHA256, Size: f.Size, Bundle: bundle})
		if f.Name == rel.Statement.SBOM.Name { // made from the release, built by nobody
			continue
		}
		report := verify.JudgeBundle(roots[0], bundle, verify.Artifact{Name: f.Name, SHA256: f.SHA256, Size: f.Size}, time.Now())
		if n := builders(report); built == 0 || n < r.Reproducible {
			r.Reproducible = n
		}
		built++
	}
	return r, nil
}

// withdraw takes a revoked release out of the update repository, if it is offered
// there; where the online key is at hand, clients are told at once.
func (w *releaseWork) withdraw(ctx context.Context, rel *release.Release, reason string) error {
	product, channel, version := rel.Statement.Product, rel.Statement.Channel, rel.Statement.Version
	var online []statement.Signer
	key, err := w.home.keys().Unlock("online", w.passphrase)
	if err == nil {
		online = append(online, key)
	} else if !errors.Is(err, fault.NotFound) {
		return err
	}
	s, err := w.home.repository(w.db, online...)
	if err != nil {
		return err
	}
	head, err := s.Head(ctx, product, channel)
	if err != nil || !slices.ContainsFunc(head.Releases, func(o update.Offer) bool { return o.Version == version }) {
		return err
	}
	if _, err := s.Withdraw(ctx, product, channel, version, rel.Entry, reason); err != nil {
		return err
	}
	if len(online) == 0 {
		w.term.printf("it is withdrawn from the update repository; clients are told when the online key has dated that: clerestory repository renew\n")
		return nil
	}
	if _, err := s.Renew(ctx); err != nil {
		return err
	}
	w.term.printf("it is withdrawn from the update repository: clients are told now\n")
	return nil
}

// builders counts the different holders of builders' keys that got a file's
// bytes.
func builders(report *verify.Report) int {
	holders := map[string]bool{}
	for _, claim := range report.Claims {
		if claim.Name == "built" || claim.Name == "rebuilt" {
			for _, s := range claim.Signers {
				holders[s.Holder] = true
			}
		}
	}
	return len(holders)
}

// offerArgs name an offer.
type offerArgs struct {
	Product string `arg:"" help:"The product's id."`
	Version string `arg:"" help:"The version."`
	Channel string `default:"stable" help:"The channel."`
}

type repositoryRingCmd struct {
	Product string `arg:"" help:"The product's id."`
	Version string `arg:"" help:"The version."`
	Percent int    `arg:"" help:"For how many of 100 clients."`
	Channel string `default:"stable" help:"The channel."`
}

// Run grows a ring.
func (c *repositoryRingCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	return decide(ctx, cli, t, func(s *repository.Service) (*update.Head, error) {
		return s.Ring(ctx, c.Product, c.Channel, c.Version, c.Percent)
	})
}

type repositoryHaltCmd struct{ offerArgs }

// Run halts.
func (c *repositoryHaltCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	return stop(ctx, cli, t, func(s *repository.Service) (*update.Head, error) { return s.Halt(ctx, c.Product, c.Channel, c.Version) })
}

type repositoryResumeCmd struct{ offerArgs }

// Run resumes.
func (c *repositoryResumeCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	return decide(ctx, cli, t, func(s *repository.Service) (*update.Head, error) {
		return s.Resume(ctx, c.Product, c.Channel, c.Version)
	})
}

type repositoryWithdrawCmd struct {
	offerArgs
	Entry  int64  `default:"-1" help:"Log entry of its release statement (default: that of the release here)."`
	Reason string `required:"" help:"Why; everybody will read it."`
}

// Run withdraws.
func (c *repositoryWithdrawCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	if c.Entry < 0 {
		err := reading(ctx, cli, t, func(w *releaseWork) error {
			rel, err := w.Show(ctx, c.Product, c.Version)
			if err == nil {
				c.Entry = rel.Entry
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return stop(ctx, cli, t, func(s *repository.Service) (*update.Head, error) {
		return s.Withdraw(ctx, c.Product, c.Channel, c.Version, c.Entry, c.Reason)
	})
}

// decide changes what is decided; people sign it afterwards.
func decide(ctx context.Context, cli *cli, t *terminal, do func(*repository.Service) (*update.Head, error)) error {
	return withoutKeys(ctx, cli, func(s *repository.Service) error {
		head, err := do(s)
		if err != nil {
			return err
		}
		printHead(t, head)
		return toPublish(t)
	})
}

// stop is a decision that the online key tells clients at once.
func stop(ctx context.Context, cli *cli, t *terminal, do func(*repository.Service) (*update.Head, error)) error {
	return withRepository(ctx, cli, t, func(_ *home, _ *store.DB, s *repository.Service, _ []byte) error {
		head, err := do(s)
		if err != nil {
			return err
		}
		printHead(t, head)
		told := false
		if len(s.Online) > 0 {
			if told, err = s.Renew(ctx); err != nil {
				return err
			}
		}
		if told {
			t.printf("stopped: clients are told now, by the online key\n")
		}
		return toPublish(t)
	})
}

func toPublish(t *terminal) error {
	t.printf("Decided, not signed yet: clerestory repository stage (or publish, where the keys are here).\n")
	return nil
}

func printHead(t *terminal, h *update.Head) {
	t.printf("%s/%s, sequence %d\n", h.Product, h.Channel, h.Sequence)
	for _, o := range h.Releases {
		state := ""
		if o.Halted {
			state = "  " + t.style(red, "halted")
		}
		t.printf("  %-16s number %-5d %3d %%  entry %d, %s, %s%s\n", o.Version, o.Number, o.Percent, o.Entry, many(len(o.Files), "file"), many(o.Reproducible, "builder"), state)
	}
	for _, w := range h.Revoked {
		t.printf("  %-16s %s: %s\n", w.Version, t.style(red, "withdrawn"), line(w.Reason))
	}
}

type repositoryHealthCmd struct {
	offerArgs
	OK     int64 `name:"ok" help:"How many more clients reported that they are well after installing it."`
	Failed int64 `help:"How many more reported that they failed."`
}

// Run counts reports; too many failures halt the offer at once.
func (c *repositoryHealthCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	return withRepository(ctx, cli, t, func(_ *home, _ *store.DB, s *repository.Service, _ []byte) error {
		r, err := s.Health(ctx, c.Product, c.Channel, c.Version, c.OK, c.Failed)
		if err != nil {
			return err
		}
		t.printf("%s %s: %d well, %d failed\n", c.Product, c.Version, r.OK, r.Failed)
		if !r.Halted {
			return nil
		}
		t.printf("%s\n", t.style(red, "halted: too many failed"))
		if len(s.Online) > 0 {
			if _, err := s.Renew(ctx); err != nil {
				return err
			}
		}
		return toPublish(t)
	})
}

type repositoryStatusCmd struct {
	JSON bool `help:"Print JSON."`
}

// Run shows what was decided, what waits and what expires.
func (c *repositoryStatusCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	return withoutKeys(ctx, cli, func(s *repository.Service) error { return c.show(ctx, t, s) })
}

func (c *repositoryStatusCmd) show(ctx context.Context, t *terminal, s *repository.Service) error {
	st, err := s.Status(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return t.json(st)
	}
	for _, head := range st.Heads {
		printHead(t, head)
	}
	for _, w := range st.Waiting {
		t.printf("%s: %d of %d signatures\n", t.style(amber, w.Role+" waits"), w.Have, w.Need)
	}
	if st.Unstaged {
		t.printf("%s\n", t.style(amber, "decided, but nobody was asked to sign: clerestory repository stage"))
	}
	for _, e := range st.Expiries {
		warn := ""
		if e.Soon {
			warn = "  " + t.style(red, "soon")
		}
		t.printf("  %-16s version %-5d until %s%s\n", e.Role, e.Version, e.At.Format(time.RFC1123), warn)
	}
	return nil
}
