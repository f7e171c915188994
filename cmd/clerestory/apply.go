package main

import (
	"context"
	"path"
	"testing/fstest"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/programme"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/gate/policy"
	"clerestory.dev/clerestory/statement"
)

type applyCmd struct {
	Folder string `arg:"" optional:"" type:"path" help:"The vendor's folder (default: --dir)."`
	Check  bool   `help:"Only check the folder and show what would change."`
	Yes    bool   `help:"Do not ask."`
}

// Run checks, shows the plan, asks, applies.
func (c *applyCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	if c.Folder != "" {
		cli.Dir = c.Folder
	}
	h, err := openHome(cli.Dir)
	if err != nil {
		return err
	}
	h.wait = cli.Wait
	next, err := programme.Open(h.path("programme"))
	if err != nil {
		return err
	}
	if _, err := loadPolicies(next); err != nil {
		return err
	}
	// Verifiers take the number from the root of trust, for every release ever: a
	// programme that promises another one would promise what nobody enforces.
	trust, err := h.trust()
	if err != nil {
		return err
	}
	if need := trust.Root.Clerestory.Approvals; next.Approvals != need {
		return fault.Invalid.New("%s: approvals is %d, but the root of trust demands %d, and that can not change after clerestory init", h.path("programme", programme.Main), next.Approvals, need)
	}
	db, err := h.openDB(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	plan, err := planned(ctx, db, next)
	if err != nil {
		return err
	}
	if len(plan) == 0 {
		t.printf("the programme in force is this folder already; nothing changes\n")
		return nil
	}
	for _, change := range plan {
		t.printf("  %s\n", line(change.String()))
	}
	if c.Check {
		return nil
	}
	if !c.Yes {
		if err := t.confirm("Put this in force?", "--yes."); err != nil {
			return err
		}
	}
	passphrase, err := h.passphrase(cli, t)
	if err != nil {
		return err
	}
	if err := h.notBehind(ctx, db); err != nil {
		return err
	}
	applied, err := applyProgramme(ctx, h, db, next, passphrase)
	if err != nil {
		return err
	}
	t.printf("in force as version %d, stated at entry %d\n", applied.Version, applied.Entry)
	return h.settle(ctx, db, applied.Entry, passphrase)
}

// planned lists what changes against the programme in force.
func planned(ctx context.Context, db *store.DB, next *programme.Programme) ([]programme.Change, error) {
	current, err := programme.Current(ctx, db)
	if fault.KindOf(err) == fault.NotFound {
		current, err = nil, nil
	}
	if err != nil {
		return nil, err
	}
	return programme.Plan(current, next), nil
}

func applyProgramme(ctx context.Context, h *home, db *store.DB, next *programme.Programme, passphrase []byte) (programme.Applied, error) {
	key, err := h.keys().Unlock("programme", passphrase)
	if err != nil {
		return programme.Applied{}, err
	}
	return programme.Apply(ctx, db, next, programme.Saying{At: time.Now(), Sign: func(payload []byte) (*statement.Envelope, error) {
		return statement.Sign(payload, key)
	}})
}

// loadPolicies parses the Cedar files of a programme.
func loadPolicies(p *programme.Programme) (*policy.Set, error) {
	files := fstest.MapFS{}
	for _, f := range p.Policies() {
		files[path.Base(f.Path)] = &fstest.MapFile{Data: f.Content}
	}
	return policy.Load(files)
}
