package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"clerestory.dev/clerestory/internal/base/programme"
	"clerestory.dev/clerestory/internal/office/release"
)

// printMissing says what a release waits for, and who could give it.
func (w *releaseWork) printMissing(ctx context.Context, rel *release.Release) error {
	if rel.State == release.Revoked {
		return nil
	}
	needs, err := w.Missing(ctx, rel)
	if err != nil {
		return err
	}
	if len(needs) > 0 {
		w.term.printf("missing still:\n")
	}
	for _, n := range needs {
		w.term.printf("  %-11s %s%s\n", n.For, line(n.What), w.whoAndWhen(n))
	}
	return nil
}

func (w *releaseWork) whoAndWhen(n release.Need) string {
	text := ""
	if len(n.Who) > 0 {
		text += "; could be given by " + strings.Join(n.Who, ", ")
	}
	if !n.After.IsZero() {
		text += "; from " + n.After.UTC().Format(time.RFC1123)
	}
	if !n.Until.IsZero() {
		text += "; until " + n.Until.UTC().Format(time.RFC1123)
	}
	if n.Overdue {
		text += " " + w.term.style(red, "(overdue)")
	}
	return text
}

// printWhole prints a release with its steps and needs as JSON.
func (w *releaseWork) printWhole(ctx context.Context, rel *release.Release) error {
	out := describeRelease(rel)
	steps, err := w.Steps(ctx, rel)
	if err != nil {
		return err
	}
	needs, err := w.Missing(ctx, rel)
	if err != nil {
		return err
	}
	out["steps"], out["missing"] = steps, needs
	return w.term.json(out)
}

type releaseBoardCmd struct {
	For  string `help:"Only what waits for this person, by programme id."`
	JSON bool   `help:"Print JSON."`
}

// Run lists what waits.
func (c *releaseBoardCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	return reading(ctx, cli, t, func(w *releaseWork) error {
		all, err := w.Board(ctx, c.For)
		if err != nil {
			return err
		}
		if c.JSON {
			out := []map[string]any{}
			for _, x := range all {
				out = append(out, map[string]any{"product": x.Release.Statement.Product, "version": x.Release.Statement.Version, "state": x.Release.State, "need": x.Need})
			}
			return t.json(out)
		}
		if len(all) == 0 {
			t.printf("nothing waits\n")
		}
		for _, x := range all {
			t.printf("%s %s (%s): %s%s\n", x.Release.Statement.Product, x.Release.Statement.Version, x.Release.State, line(x.Need.What), w.whoAndWhen(x.Need))
		}
		return nil
	})
}

type releaseRulesCmd struct {
	Product string `arg:"" optional:"" help:"Only this product."`
}

// Run prints the rules of the programme in force.
func (c *releaseRulesCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	return reading(ctx, cli, t, func(w *releaseWork) error {
		p, err := programme.Current(ctx, w.db)
		if err != nil {
			return err
		}
		for _, product := range p.Products {
			if c.Product != "" && product.ID != c.Product {
				continue
			}
			for _, channel := range product.Channels {
				rule, _ := p.RuleFor(product.ID, channel)
				t.printf("%s %s\n  %s\n", product.ID, channel, strings.ReplaceAll(rule.String(), "; ", "\n  "))
			}
		}
		trust, err := w.home.trust()
		if err != nil {
			return err
		}
		t.printf("%s\n", fmt.Sprintf("whatever a rule says, strangers ask for %d approvals", trust.Root.Clerestory.Approvals))
		return nil
	})
}
