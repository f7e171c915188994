package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/ledger/log"
	"clerestory.dev/clerestory/internal/ledger/logread"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

type logCheckCmd struct {
	trustFlag
	Source string `arg:"" optional:"" help:"The log's URL or folder (default: the vendor's folder)."`
	JSON   bool   `help:"Print JSON."`
}

func (c *logCheckCmd) Help() string {
	return "Exit codes: 0 the log is whole and continues what this machine saw; 1 it was changed or contradicts itself (the evidence is kept in a file); 2 wrong usage; 3 it could not be read."
}

// Run checks all of a log and remembers its checkpoint.
func (c *logCheckCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	r, err := c.open(ctx, cli, c.Source)
	if err != nil {
		return err
	}
	report, err := logread.Check(ctx, r.src, r.trust.Policy, logread.Options{Memory: seenLogs(), Progress: progress(t, "reading the log")})
	if err != nil {
		return err
	}
	if c.JSON {
		return t.json(describeCheck(report))
	}
	printCheck(t, report, time.Now())
	return nil
}

func describeCheck(r *logread.Report) map[string]any {
	out := map[string]any{
		"source": r.Source, "origin": r.Checkpoint.Origin, "size": r.Checkpoint.Size, "root": statement.Base64.EncodeToString(r.Checkpoint.Root[:]),
		"cosigned": cosigned(r.Checkpoint), "entries": r.Entries, "tiles": r.Tiles, "kinds": r.Kinds,
	}
	if r.Remembered != nil {
		out["seenBefore"] = r.Remembered.Size
	}
	return out
}

func cosigned(c *verify.Checkpoint) []map[string]any {
	all := []map[string]any{}
	for _, s := range c.Cosigned {
		all = append(all, map[string]any{"witness": s.Witness, "time": s.Time})
	}
	return all
}

func printCheck(t *terminal, r *logread.Report, now time.Time) {
	c := r.Checkpoint
	t.printf("%s of %s: %d entries, root %s\n", t.style(bold, "log "+line(c.Origin)), line(r.Source), c.Size, statement.Base64.EncodeToString(c.Root[:]))
	ok := t.style(green, "✓")
	t.printf("  %s signed by the log's key\n", ok)
	if len(c.Cosigned) == 0 {
		t.printf("  %s no witness cosigned it, and the trusted root asks for none: the log could show others another history\n", t.style(amber, "–"))
	}
	for _, s := range c.Cosigned {
		t.printf("  %s cosigned by %s, %s (%s ago)\n", ok, line(s.Witness), s.Time.UTC().Format(time.RFC1123), now.Sub(s.Time).Round(time.Second))
	}
	t.printf("  %s recomputed from %d entries and %d tiles\n", ok, r.Entries, r.Tiles)
	for _, kind := range slices.Sorted(maps.Keys(r.Kinds)) {
		t.printf("      %7d  %s\n", r.Kinds[kind], line(kind))
	}
	if r.Remembered == nil {
		t.printf("  %s seen for the first time by this machine: there is nothing to compare it with\n", t.style(amber, "–"))
		return
	}
	t.printf("  %s continues what this machine saw at %d entries\n", ok, r.Remembered.Size)
}

type logMirrorCmd struct {
	trustFlag
	Source string `arg:"" help:"The log's URL or folder."`
	Folder string `arg:"" type:"path" help:"The copy; any web server can serve it."`
}

func (c *logMirrorCmd) Help() string {
	return "Run it again to bring the copy up to date; interrupted, it goes on where it was. Every file is proven before it is written."
}

// Run mirrors; what does not continue the copy is refused.
func (c *logMirrorCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	r, err := c.open(ctx, cli, c.Source)
	if err != nil {
		return err
	}
	head, err := logread.Mirror(ctx, r.src, r.trust.Policy, c.Folder, logread.Options{Memory: seenLogs(), Progress: progress(t, "copying the log")})
	if err != nil {
		return err
	}
	t.printf("%s holds the log %s with %d entries, verified\n", line(c.Folder), line(head.Origin), head.Size)
	return nil
}

type logAdoptCmd struct {
	Yes bool `help:"Do not ask."`
}

func (c *logAdoptCmd) Help() string {
	return "After a restored backup the log may hold more than the database. This takes the missing statements over, after the whole log was recomputed; it overwrites nothing. Published releases and revocations get their rows again; drafts and people are not in the log and stay as the backup has them."
}

// Run adopts; nothing is done to a log that does not add up.
func (c *logAdoptCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	h, err := openHome(cli.Dir)
	if err != nil {
		return err
	}
	trust, err := h.trust()
	if err != nil {
		return err
	}
	if !c.Yes {
		if err := t.confirm(fmt.Sprintf("The statements that %s holds and the database lacks become part of the database. Go on?", h.logDir()), "--yes."); err != nil {
			return err
		}
	}
	db, err := h.openDB(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	n, err := adopt(ctx, t, h, db, trust)
	if err != nil {
		return err
	}
	releases, err := h.releases(db)
	if err != nil {
		return err
	}
	recovered, err := releases.Recover(ctx)
	if err != nil {
		return err
	}
	advisories, err := h.advisories(db, releases).Recover(ctx)
	if err != nil {
		return err
	}
	if n == 0 && recovered+advisories == 0 {
		t.printf("the database has every statement of the log already\n")
		return nil
	}
	t.printf("%d statements taken over from the log, %d releases and revocations and %d advisories put back in their tables\n", n, recovered, advisories)
	return nil
}

func adopt(ctx context.Context, t *terminal, h *home, db *store.DB, trust *verify.Trust) (int64, error) {
	return log.Adopt(ctx, log.AdoptConfig{
		DB: db, Dir: h.logDir(), VKey: trust.Policy.Log.VKey, Policy: trust.Policy.Text(), Clock: time.Now, Progress: progress(t, "adopting the log"),
	})
}
