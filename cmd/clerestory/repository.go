package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"clerestory.dev/clerestory/internal/base/atomicfile"
	"clerestory.dev/clerestory/internal/base/blob"
	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/ledger/repository"
	"clerestory.dev/clerestory/internal/ledger/signing"
	"clerestory.dev/clerestory/statement"
)

type repositoryCmd struct {
	Status   repositoryStatusCmd   `cmd:"" help:"What is offered to whom, what waits for signatures, what expires when."`
	Offer    repositoryOfferCmd    `cmd:"" help:"Offer a published release to a share of its channel's clients."`
	Ring     repositoryRingCmd     `cmd:"" help:"Offer it to a larger share."`
	Halt     repositoryHaltCmd     `cmd:"" help:"Stop an offer, at once: who has it keeps it, nobody else gets it."`
	Resume   repositoryResumeCmd   `cmd:"" help:"Go on with a halted offer."`
	Withdraw repositoryWithdrawCmd `cmd:"" help:"Take a version out of the channel and tell who has it why."`
	Health   repositoryHealthCmd   `cmd:"" help:"Count what clients report of a version; too many failures halt it."`
	Stage    repositoryStageCmd    `cmd:"" help:"Write signing requests for all that was decided."`
	Assemble repositoryAssembleCmd `cmd:"" help:"Take signing responses; with enough of them, clients see what was decided."`
	Publish  repositoryPublishCmd  `cmd:"" help:"Stage, sign with the keys in this folder, and assemble, in one go."`
	Renew    repositoryRenewCmd    `cmd:"" help:"Sign with the online key what is due: make assembled changes visible, and keep the repository from expiring."`
	Adopt    repositoryAdoptCmd    `cmd:"" help:"Take over what the folder publishes into a restored, older database."`
}

// repository opens the update repository; without the online key it can be
// changed, and nothing of that becomes visible.
func (h *home) repository(db *store.DB, online ...statement.Signer) (*repository.Service, error) {
	blobs, err := blob.NewDisk(h.path("blobs"))
	if err != nil {
		return nil, err
	}
	return &repository.Service{DB: db, Blobs: blobs, Dir: h.path("repository"), Roots: h.roots, Release: repository.KeysOfLog(db, h.roots), Online: online, Now: time.Now}, nil
}

// withRepository opens the repository with its online key, where the key is in
// this folder.
func withRepository(ctx context.Context, cli *cli, t *terminal, do func(*home, *store.DB, *repository.Service, []byte) error) error {
	return withHome(ctx, cli, t, func(h *home, db *store.DB, passphrase []byte) error {
		var online []statement.Signer
		key, err := h.keys().Unlock("online", passphrase)
		switch {
		case err == nil:
			online = append(online, key)
		case !errors.Is(err, fault.NotFound):
			return err
		}
		s, err := h.repository(db, online...)
		if err != nil {
			return err
		}
		return do(h, db, s, passphrase)
	})
}

// withoutKeys opens the update repository for commands that sign nothing.
func withoutKeys(ctx context.Context, cli *cli, do func(*repository.Service) error) error {
	h, err := openHome(cli.Dir)
	if err != nil {
		return err
	}
	db, err := h.openDB(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	s, err := h.repository(db)
	if err != nil {
		return err
	}
	return do(s)
}

type repositoryStageCmd struct {
	Out string `type:"path" default:"." help:"Folder to write the requests to."`
}

// Run stages and writes one request file for each role that must sign.
func (c *repositoryStageCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	return withoutKeys(ctx, cli, func(s *repository.Service) error { return c.write(ctx, t, s) })
}

func (c *repositoryStageCmd) write(ctx context.Context, t *terminal, s *repository.Service) error {
	stage, err := s.Stage(ctx)
	if err != nil {
		return err
	}
	if stage == nil {
		t.printf("nothing to sign: what was decided is what clients see\n")
		return nil
	}
	if err := os.MkdirAll(c.Out, 0o755); err != nil {
		return fault.Unavailable.New("writing requests: %w", err)
	}
	for _, d := range stage.Documents {
		q, err := signing.ParseRequest(d.Request)
		if err != nil {
			return err
		}
		path := filepath.Join(c.Out, fmt.Sprintf("%s-%d.request.json", d.Role, d.Version))
		if err := atomicfile.Write(path, d.Request, 0o644); err != nil {
			return fault.Unavailable.New("writing requests: %w", err)
		}
		t.printf("%s  %d of %d keys, until %s\n  %s\n", line(path), q.Threshold, len(q.Keys), q.Expires, line(q.What))
	}
	t.printf("Have them signed (clerestory sign FILE), then: clerestory repository assemble RESPONSE…\n")
	return nil
}

type repositoryAssembleCmd struct {
	Responses []string `arg:"" type:"path" help:"The response files, in any order, all or some."`
}

// Run checks the responses and publishes when they are enough.
func (c *repositoryAssembleCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	var answers []*signing.Response
	for _, path := range c.Responses {
		b, err := readBounded(path, int64(signing.Limits.Response))
		if err != nil {
			return err
		}
		a, err := signing.ParseResponse(b)
		if err != nil {
			return fmt.Errorf("%s: %w", line(path), err)
		}
		answers = append(answers, a)
	}
	return withRepository(ctx, cli, t, func(_ *home, _ *store.DB, s *repository.Service, _ []byte) error {
		p, err := s.Assemble(ctx, answers...)
		if err != nil {
			return err
		}
		printProgress(t, p)
		return nil
	})
}

func printProgress(t *terminal, p *repository.Progress) {
	for _, w := range p.Waiting {
		t.printf("%s waits: %d of %d signatures; not yet: %s\n", w.Role, w.Have, w.Need, strings.Join(w.Missing, ", "))
	}
	switch {
	case p.Published:
		t.printf("published: clients see it now\n")
	case len(p.Waiting) == 0:
		t.printf("all is signed; clients see it when the online key has dated it: clerestory repository renew\n")
	}
}

type repositoryPublishCmd struct {
	rootFlags
	Keys []string `default:"release" help:"Names of the release keys that sign."`
}

// Run is for a vendor whose keys are in one place. Root keys are unlocked only
// when the list of products, or who signs for one, has changed.
func (c *repositoryPublishCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	return withRepository(ctx, cli, t, func(h *home, _ *store.DB, s *repository.Service, passphrase []byte) error {
		var signers []statement.Signer
		for _, name := range c.Keys {
			k, err := h.keys().Unlock(name, passphrase)
			if err != nil {
				return err
			}
			signers = append(signers, k)
		}
		stage, err := s.Stage(ctx)
		if err != nil {
			return err
		}
		if stage == nil {
			t.printf("nothing to sign: what was decided is what clients see\n")
			return nil
		}
		if stage.Documents[0].Role == "targets" {
			trust, err := h.trust()
			if err != nil {
				return err
			}
			roots, err := c.unlock(h, trust, passphrase)
			if err != nil {
				return err
			}
			for _, k := range roots {
				signers = append(signers, k)
			}
		}
		p, err := s.Sign(ctx, stage, signers...)
		if p != nil {
			printProgress(t, p)
		}
		return err
	})
}

type repositoryRenewCmd struct{}

// Run renews and sweeps.
func (c *repositoryRenewCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	return withRepository(ctx, cli, t, func(_ *home, _ *store.DB, s *repository.Service, _ []byte) error {
		done, err := s.Renew(ctx)
		if err != nil {
			return err
		}
		swept, err := s.Sweep(ctx)
		if err != nil {
			return err
		}
		if done {
			t.printf("renewed\n")
		} else {
			t.printf("nothing is due\n")
		}
		if swept > 0 {
			t.printf("%d files of earlier states removed\n", swept)
		}
		return nil
	})
}

type repositoryAdoptCmd struct{}

// Run adopts.
func (c *repositoryAdoptCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	return withRepository(ctx, cli, t, func(h *home, _ *store.DB, s *repository.Service, _ []byte) error {
		if err := s.Adopt(ctx); err != nil {
			return err
		}
		t.printf("the database knows what %s publishes\n", line(s.Dir))
		return nil
	})
}
