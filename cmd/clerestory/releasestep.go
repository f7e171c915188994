package main

import (
	"context"
	"time"

	"clerestory.dev/clerestory/internal/base/atomicfile"
	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/ledger/signing"
)

type releaseReviewCmd struct {
	Product string `arg:"" help:"The product's id."`
	Version string `arg:"" help:"The version."`
	By      string `required:"" help:"Your programme id; nobody reviews their own proposal."`
	Hash    string `help:"The hash of the proposal that you looked at; answers the question, and refuses one that has changed."`
	Note    string `help:"What you found, for colleagues."`
}

// Run shows the proposal, asks, notes it.
func (c *releaseReviewCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	return reading(ctx, cli, t, func(w *releaseWork) error {
		rel, err := w.Show(ctx, c.Product, c.Version)
		if err != nil {
			return err
		}
		hash := c.Hash
		if hash == "" {
			if err := w.print(rel, false); err != nil {
				return err
			}
			if err := t.confirm("Have you looked at exactly this?", "--hash "+rel.PayloadHash); err != nil {
				return err
			}
			hash = rel.PayloadHash
		}
		if rel, err = w.Look(ctx, c.Product, c.Version, hash, c.By, c.Note); err != nil {
			return err
		}
		t.printf("%s %s is %s\n", c.Product, c.Version, rel.State)
		return w.printMissing(ctx, rel)
	})
}

type releaseRequestCmd struct {
	Product string        `arg:"" help:"The product's id."`
	Version string        `arg:"" help:"The version."`
	Out     string        `required:"" type:"path" help:"Where the request goes."`
	Role    string        `default:"release" enum:"release,approver" help:"Whose keys are asked: release or approver."`
	For     time.Duration `default:"72h" help:"How long answers are taken."`
}

// Help says where the request goes.
func (c *releaseRequestCmd) Help() string {
	return "Carry the file to each signer, who answers with clerestory sign, offline if need be; then clerestory release assemble."
}

// Run writes the request.
func (c *releaseRequestCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	return reading(ctx, cli, t, func(w *releaseWork) error {
		r, err := w.Request(ctx, c.Product, c.Version, c.Role, c.For)
		if err != nil {
			return err
		}
		file, err := r.Format()
		if err != nil {
			return err
		}
		if err := atomicfile.Write(c.Out, file, 0o644); err != nil {
			return fault.Unavailable.New("writing the request: %w", err)
		}
		t.printf("wrote %s: %d of %d keys must answer until %s\n", line(c.Out), r.Threshold, len(r.Keys), r.Expires)
		return nil
	})
}

type releaseAssembleCmd struct {
	Product string   `arg:"" help:"The product's id."`
	Version string   `arg:"" help:"The version."`
	Answers []string `arg:"" type:"existingfile" help:"The answers, as clerestory sign wrote them."`
}

// Run adds the answers, one by one.
func (c *releaseAssembleCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	return reading(ctx, cli, t, func(w *releaseWork) error {
		for _, path := range c.Answers {
			file, err := readBounded(path, int64(signing.Limits.Response))
			if err != nil {
				return err
			}
			answer, err := signing.ParseResponse(file)
			if err != nil {
				return err
			}
			rel, err := w.Assemble(ctx, c.Product, c.Version, []*signing.Response{answer})
			if err != nil {
				return err
			}
			t.printf("key %s… counts; %s %s is %s\n", answer.KeyID[:16], c.Product, c.Version, rel.State)
		}
		rel, err := w.Show(ctx, c.Product, c.Version)
		if err != nil {
			return err
		}
		return w.printMissing(ctx, rel)
	})
}

type releaseRollbackCmd struct {
	Product string `arg:"" help:"The product's id."`
	To      string `arg:"" help:"The older version whose content comes back."`
	As      string `required:"" help:"The new version; a version never goes down."`
	By      string `required:"" help:"Programme id of the person who proposes."`
	Why     string `required:"" help:"Why, for everybody to read."`
	// Emergency goes the emergency path of the rule.
	Emergency bool `help:"Go the emergency path of the channel's rule, for the reason that --why gives."`
}

// Run proposes the old content under a new version.
func (c *releaseRollbackCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	return reading(ctx, cli, t, func(w *releaseWork) error {
		d, err := w.Rollback(ctx, c.Product, c.To, c.As, c.By, c.Why)
		if err != nil {
			return err
		}
		if c.Emergency {
			d.Emergency = c.Why
		}
		rel, err := w.Propose(ctx, d)
		if err != nil {
			return err
		}
		if err := w.print(rel, false); err != nil {
			return err
		}
		return w.printMissing(ctx, rel)
	})
}

type releaseAfterwardsCmd struct {
	Product  string `arg:"" help:"The product's id."`
	Version  string `arg:"" help:"The emergency release."`
	Key      string `required:"" help:"The name of your key with the role reviewer."`
	Outcome  string `default:"upheld" enum:"upheld,objected" help:"upheld: it was right to release this; objected: it was not."`
	Findings string `required:"" help:"What you found; everybody will read it."`
}

// Run states the review and waits until it is witnessed.
func (c *releaseAfterwardsCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	return withReleases(ctx, cli, t, func(w *releaseWork) error {
		key, err := w.home.keys().Unlock(c.Key, w.passphrase)
		if err != nil {
			return err
		}
		n, err := w.SayReview(ctx, c.Product, c.Version, c.Outcome, c.Findings, key)
		if err != nil {
			return err
		}
		t.printf("the review of %s %s is entry %d\n", c.Product, c.Version, n)
		return w.home.settle(ctx, w.db, n, w.passphrase)
	})
}
