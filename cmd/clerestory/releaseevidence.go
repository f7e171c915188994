package main

import (
	"context"
	"path/filepath"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/office/release"
)

type releaseEvidenceCmd struct {
	From   string `required:"" help:"The first day, such as 2026-01-01 (UTC), or a time."`
	To     string `required:"" help:"The day after the last one, or a time."`
	Sample int    `default:"25" help:"How many releases are verified again; which ones follows from the list of all."`
	Out    string `required:"" type:"path" help:"The folder to write to, new or empty."`
}

// Help says what is in the folder.
func (c *releaseEvidenceCmd) Help() string {
	return "Writes index.html, population/ (every release, step and statement of the period as CSV and JSON), sample/ (statements, bundles\n" +
		"and reports), the roots of trust, and SHA256SUMS. It ends with exit code 1 when a check of the sample does not hold."
}

// Run gathers, writes, and says what does not hold.
func (c *releaseEvidenceCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	from, err := dayOrTime("--from", c.From)
	if err != nil {
		return err
	}
	to, err := dayOrTime("--to", c.To)
	if err != nil {
		return err
	}
	return reading(ctx, cli, t, func(w *releaseWork) error {
		e, err := w.Evidence(ctx, release.Period{From: from, To: to, Sample: c.Sample})
		if err != nil {
			return err
		}
		if err := e.Write(c.Out); err != nil {
			return err
		}
		t.printf("%d releases and proposals, %d statements; %d verified again\nwrote %s\n", len(e.Releases), len(e.Changes), len(e.Sample), line(filepath.Join(c.Out, "index.html")))
		if failures := e.Failures(); len(failures) > 0 {
			return fault.Tampered.New("%d checks do not hold, the first one: %s", len(failures), failures[0])
		}
		return nil
	})
}

func dayOrTime(flag, s string) (time.Time, error) {
	for _, form := range []string{time.DateOnly, time.RFC3339} {
		if at, err := time.Parse(form, s); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fault.Invalid.New("%s %q is no day or time: write it like 2026-01-31 or 2026-01-31T12:00:00Z", flag, line(s))
}
