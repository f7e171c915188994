package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/office/release"
)

type releaseCmd struct {
	Propose    releaseProposeCmd    `cmd:"" help:"Propose a version: its files, source, provenance and bill of materials."`
	Review     releaseReviewCmd     `cmd:"" help:"Note that you have looked at a proposal."`
	Approve    releaseApproveCmd    `cmd:"" help:"Sign a proposal with your own key."`
	Request    releaseRequestCmd    `cmd:"" help:"Write a signing request for keys that are elsewhere."`
	Sign       signCmd              `cmd:"" help:"Answer a signing request, offline: the same as clerestory sign."`
	Assemble   releaseAssembleCmd   `cmd:"" help:"Add answers to signing requests."`
	Publish    releasePublishCmd    `cmd:"" help:"Say an approved release to the log, and write the bundles."`
	Revoke     releaseRevokeCmd     `cmd:"" help:"Take a published release back."`
	Rollback   releaseRollbackCmd   `cmd:"" help:"Propose a new version with the content of an older one."`
	Afterwards releaseAfterwardsCmd `cmd:"" help:"State the review that an emergency release owes."`
	List       releaseListCmd       `cmd:"" help:"List releases and proposals."`
	Show       releaseShowCmd       `cmd:"" help:"Show one release: files, approvals, entry, and what is missing still."`
	Board      releaseBoardCmd      `cmd:"" help:"List what waits for whom, what is due first at the top."`
	Rules      releaseRulesCmd      `cmd:"" help:"Show the rules in force, by product and channel."`
	Evidence   releaseEvidenceCmd   `cmd:"" help:"Write the evidence of a period for an auditor: all of it as lists, a sample verified again."`
	Bundle     releaseBundleCmd     `cmd:"" help:"Write FILE.clerestory for a released file."`
}

// releaseWork is what the release commands work with.
type releaseWork struct {
	*release.Service
	home       *home
	db         *store.DB
	term       *terminal
	passphrase []byte
}

func withReleases(ctx context.Context, cli *cli, t *terminal, do func(*releaseWork) error) error {
	return withHome(ctx, cli, t, func(h *home, db *store.DB, passphrase []byte) error {
		s, err := h.releases(db)
		if err != nil {
			return err
		}
		return do(&releaseWork{s, h, db, t, passphrase})
	})
}

func (w *releaseWork) print(r *release.Release, asJSON bool) error {
	if asJSON {
		return w.term.json(describeRelease(r))
	}
	t, s := w.term, r.Statement
	t.printf("%s %s (%s): %s\n", s.Product, s.Version, s.Channel, r.State)
	if r.Emergency() {
		t.printf("  %s   %s\n", t.style(red, "emergency"), line(s.Emergency.Why))
	}
	if r.Restores != "" {
		t.printf("  restores    %s\n", r.Restores)
	}
	t.printf("  proposed by %s, %s\n  commit      %s\n", r.ProposedBy, r.ProposedAt.Format(time.RFC1123), s.Commit)
	for _, f := range r.Files {
		t.printf("  file        %s  %s  %d bytes\n", f.SHA256, line(f.Name), f.Size)
	}
	for _, v := range r.Reviews {
		t.printf("  reviewed    by %s, %s%s\n", v.Holder, v.At.Format(time.RFC1123), note(v.Note))
	}
	for _, a := range r.Approvals {
		t.printf("  approved    by %s, %s\n", a.Holder, a.At.Format(time.RFC1123))
	}
	if r.Entry >= 0 {
		t.printf("  entry       %d\n", r.Entry)
	}
	if r.RevokedBy >= 0 {
		t.printf("  %s     at entry %d\n", t.style(red, "revoked"), r.RevokedBy)
	}
	if r.SupersededBy != "" {
		t.printf("  superseded  by %s\n", r.SupersededBy)
	}
	t.printf("  hash        %s\n", r.PayloadHash)
	return nil
}

func note(text string) string {
	if text == "" {
		return ""
	}
	return ": " + line(text)
}

func describeRelease(r *release.Release) map[string]any {
	return map[string]any{
		"state": r.State, "statement": r.Statement, "hash": r.PayloadHash, "proposedBy": r.ProposedBy, "proposedAt": r.ProposedAt,
		"entry": r.Entry, "revokedBy": r.RevokedBy, "files": r.Files, "approvals": r.Approvals, "reviews": r.Reviews,
		"restores": r.Restores, "supersededBy": r.SupersededBy,
	}
}

type releaseApproveCmd struct {
	Product string `arg:"" help:"The product's id."`
	Version string `arg:"" help:"The version."`
	Key     string `required:"" help:"Your key's name."`
	Hash    string `help:"The hash of the proposal that you looked at; answers the question, and refuses one that has changed."`
}

// Run shows what is signed, asks, signs.
func (c *releaseApproveCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	return withReleases(ctx, cli, t, func(w *releaseWork) error {
		rel, err := w.Show(ctx, c.Product, c.Version)
		if err != nil {
			return err
		}
		hash := c.Hash
		if hash == "" {
			if err := w.print(rel, false); err != nil {
				return err
			}
			if err := t.confirm("Approve exactly this?", "--hash "+rel.PayloadHash); err != nil {
				return err
			}
			hash = rel.PayloadHash
		}
		key, err := w.home.keys().Unlock(c.Key, w.passphrase)
		if err != nil {
			return err
		}
		if rel, err = w.Approve(ctx, c.Product, c.Version, hash, key); err != nil {
			return err
		}
		need, err := w.ApprovalsNeeded(ctx, rel)
		if err != nil {
			return err
		}
		t.printf("approved; %d of %d approvals\n", len(rel.Approvals), need)
		return w.printMissing(ctx, rel)
	})
}

type releasePublishCmd struct {
	Product string `arg:"" help:"The product's id."`
	Version string `arg:"" help:"The version."`
	Key     string `default:"release" help:"The release key's name."`
	Out     string `type:"path" help:"Folder to write the files and their bundles to."`
	JSON    bool   `help:"Print JSON."`
}

// Help says what to do when the keys are elsewhere.
func (c *releasePublishCmd) Help() string {
	return "All that the rule asks for is weighed again now. A release that was signed by clerestory release assemble needs no --key.\n" +
		"When the process dies between signing and logging, run it again: nothing is lost, and nothing is said twice."
}

// Run publishes, waits for the witnesses, writes the bundles.
func (c *releasePublishCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	return withReleases(ctx, cli, t, func(w *releaseWork) error {
		rel, err := c.say(ctx, w)
		if err != nil {
			return err
		}
		if err := w.home.settle(ctx, w.db, rel.Entry, w.passphrase); err != nil {
			return err
		}
		if _, err := w.Settle(ctx); err != nil {
			return err
		}
		if rel, err = w.Show(ctx, c.Product, c.Version); err != nil {
			return err
		}
		if c.Out != "" {
			if err := w.write(ctx, rel, c.Out); err != nil {
				return err
			}
		}
		return w.print(rel, c.JSON)
	})
}

// say publishes a release; one that is signed needs no key any more.
func (c *releasePublishCmd) say(ctx context.Context, w *releaseWork) (*release.Release, error) {
	rel, err := w.Show(ctx, c.Product, c.Version)
	if err != nil {
		return nil, err
	}
	if rel.State == release.Signed {
		return w.Log(ctx, c.Product, c.Version)
	}
	key, err := w.home.keys().Unlock(c.Key, w.passphrase)
	if err != nil {
		return nil, err
	}
	return w.Publish(ctx, c.Product, c.Version, key)
}

// write puts a release's files with their bundles into a folder.
func (w *releaseWork) write(ctx context.Context, rel *release.Release, dir string) error {
	for _, f := range rel.Files {
		path := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fault.Unavailable.New("writing the release: %w", err)
		}
		if err := w.copyOut(f, path); err != nil {
			return err
		}
		if err := w.writeBundle(ctx, f.SHA256, path+".clerestory"); err != nil {
			return err
		}
	}
	return nil
}

func (w *releaseWork) copyOut(f release.File, path string) error {
	in, err := w.Blobs.Open(f.SHA256)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(path)
	if err != nil {
		return fault.Unavailable.New("writing %s: %w", path, err)
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return fault.Unavailable.New("writing %s: %w", path, err)
	}
	return out.Close()
}

func (w *releaseWork) writeBundle(ctx context.Context, sha, path string) error {
	b, err := w.Bundle(ctx, sha)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		return fault.Unavailable.New("writing %s: %w", path, err)
	}
	return nil
}

type releaseRevokeCmd struct {
	Product string `arg:"" help:"The product's id."`
	Version string `arg:"" help:"The version."`
	Reason  string `required:"" help:"Why; everybody will read it."`
	Key     string `default:"release" help:"The release key's name."`
	Yes     bool   `help:"Do not ask."`
}

// Run states the revocation and waits until it is witnessed.
func (c *releaseRevokeCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	return withReleases(ctx, cli, t, func(w *releaseWork) error {
		if !c.Yes {
			if err := t.confirm(fmt.Sprintf("Everybody who verifies %s %s will be told to stop using it. Revoke it?", line(c.Product), line(c.Version)), "--yes."); err != nil {
				return err
			}
		}
		key, err := w.home.keys().Unlock(c.Key, w.passphrase)
		if err != nil {
			return err
		}
		rel, err := w.Revoke(ctx, c.Product, c.Version, c.Reason, key)
		if err != nil {
			return err
		}
		t.printf("%s %s is revoked at entry %d\n", c.Product, c.Version, rel.RevokedBy)
		if err := w.withdraw(ctx, rel, c.Reason); err != nil {
			return err
		}
		return w.home.settle(ctx, w.db, rel.RevokedBy, w.passphrase)
	})
}

type releaseListCmd struct {
	Product string `help:"Only this product."`
	JSON    bool   `help:"Print JSON."`
}

// Run lists the newest 200.
func (c *releaseListCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	return reading(ctx, cli, t, func(w *releaseWork) error {
		all, err := w.List(ctx, release.Filter{Product: c.Product, Limit: 200})
		if err != nil {
			return err
		}
		if c.JSON {
			out := []map[string]any{}
			for _, r := range all {
				out = append(out, describeRelease(r))
			}
			return t.json(out)
		}
		t.printf("%-20s %-16s %-10s %-10s %s\n", "product", "version", "channel", "state", "entry")
		for _, r := range all {
			entry := "-"
			if r.Entry >= 0 {
				entry = fmt.Sprint(r.Entry)
			}
			t.printf("%-20s %-16s %-10s %-10s %s\n", r.Statement.Product, r.Statement.Version, r.Statement.Channel, r.State, entry)
		}
		return nil
	})
}

// reading is withReleases for commands that need no key.
func reading(ctx context.Context, cli *cli, t *terminal, do func(*releaseWork) error) error {
	h, err := openHome(cli.Dir)
	if err != nil {
		return err
	}
	db, err := h.openDB(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	s, err := h.releases(db)
	if err != nil {
		return err
	}
	return do(&releaseWork{s, h, db, t, nil})
}

type releaseShowCmd struct {
	Product string `arg:"" help:"The product's id."`
	Version string `arg:"" help:"The version."`
	JSON    bool   `help:"Print JSON."`
}

// Run shows one release.
func (c *releaseShowCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	return reading(ctx, cli, t, func(w *releaseWork) error {
		rel, err := w.Show(ctx, c.Product, c.Version)
		if err != nil {
			return err
		}
		if c.JSON {
			return w.printWhole(ctx, rel)
		}
		if err := w.print(rel, false); err != nil {
			return err
		}
		return w.printMissing(ctx, rel)
	})
}

type releaseBundleCmd struct {
	File string `arg:"" type:"existingfile" help:"A released file; its bundle is written beside it."`
}

// Run finds the release by the file's hash.
func (c *releaseBundleCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	return reading(ctx, cli, t, func(w *releaseWork) error {
		a, err := artifact(c.File)
		if err != nil {
			return err
		}
		if err := w.writeBundle(ctx, a.SHA256, c.File+".clerestory"); err != nil {
			return err
		}
		t.printf("wrote %s\n", line(c.File+".clerestory"))
		return nil
	})
}
