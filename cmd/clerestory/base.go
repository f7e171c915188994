package main

import (
	"context"
	"fmt"
	"strings"

	"clerestory.dev/clerestory/internal/base/engine"
	"clerestory.dev/clerestory/internal/office/detection"
)

type baseCmd struct {
	Check baseCheckCmd `cmd:"" help:"Compile and lint a base, and run its own tests."`
	Pack  basePackCmd  `cmd:"" help:"Make the released form: sorted files and a manifest, always the same bytes."`
	Diff  baseDiffCmd  `cmd:"" help:"Compare two bases rule by rule, and say who wrote each change."`

	Replay baseReplayCmd `cmd:"" help:"Try a candidate on corpora: what would newly match, and what no longer."`
}

// enginesFlags is how a command runs engines.
type enginesFlags struct {
	UnsafeNoSandbox bool `help:"Run engines without a sandbox where there is none: a hostile rule could then do what you can."`
}

func (f enginesFlags) engine(t *terminal) engine.Engine {
	if f.UnsafeNoSandbox {
		t.note("clerestory: engines may run unconfined: --unsafe-no-sandbox")
	}
	return engine.Engine{UnsafeUnconfined: f.UnsafeNoSandbox}
}

type baseCheckCmd struct {
	Base         string `arg:"" help:"The base's folder, or FOLDER@REVISION for what git has there."`
	JSON         bool   `help:"Print JSON."`
	enginesFlags `embed:""`
	sayFlags     `embed:""`
}

// Run checks; exit code 1 says that something is wrong.
func (c *baseCheckCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	got, err := detection.Check(ctx, c.Base, c.engine(t))
	if err != nil {
		return err
	}
	if c.JSON {
		err = t.json(got)
	} else {
		printBase(t, got)
	}
	if err == nil && c.Say != "" && got.Base != nil {
		err = c.say(ctx, cli, t, got)
	}
	if err == nil && !got.Good() {
		err = exitCode(1)
	}
	return err
}

func (c *baseCheckCmd) say(ctx context.Context, cli *cli, t *terminal, got *detection.Checked) error {
	pack, err := got.Base.Pack()
	if err != nil {
		return err
	}
	return sayTests(ctx, cli, t, c.Say, pack, &detection.Report{Base: pack.Manifest, Check: got})
}

func printBase(t *terminal, c *detection.Checked) {
	for _, p := range c.Problems {
		t.printf("%s\n", line(p.Error()))
	}
	for _, p := range c.Warnings {
		t.printf("%s %s\n", t.style(amber, "warning:"), line(p.Error()))
	}
	for _, n := range c.NotChecked {
		t.printf("%s %s\n", t.style(amber, "not checked:"), line(n))
	}
	if !c.Good() {
		t.printf("%s: %s\n", t.style(red, "not sound"), many(len(c.Problems), "problem"))
		return
	}
	n := c.Counts
	t.printf("%s: %s, %s, %s, %s; %s passed\n", t.style(green, "sound"), many(n.Rules, "rule"), many(n.Hashes, "hash"), many(n.Patterns, "pattern"),
		many(n.Logical, "logical signature"), many(c.Tests, "test of its own"))
}

// many is a number with its noun.
func many(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	switch {
	case strings.HasSuffix(noun, "test of its own"):
		noun = "tests of its own"
	case strings.HasSuffix(noun, "sh"):
		noun += "es"
	default:
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

type basePackCmd struct {
	Base string `arg:"" help:"The base's folder, or FOLDER@REVISION for what git has there."`
	Out  string `type:"path" required:"" help:"Folder to write the released files and manifest.json to; it is made."`
	JSON bool   `help:"Print the manifest as JSON."`
}

// Run packs. It does not compile: base check does, and its test is a gate.
func (c *basePackCmd) Run(ctx context.Context, t *terminal) error {
	b, err := detection.Find(ctx, c.Base)
	if err != nil {
		return err
	}
	p, err := b.Pack()
	if err != nil {
		return err
	}
	if err := p.Write(c.Out); err != nil {
		return err
	}
	if c.JSON {
		return t.json(p.Manifest)
	}
	for _, f := range p.Files {
		t.printf("%s  %s  %d bytes\n", f.SHA256, f.Name, f.Size)
	}
	if b.Commit == "" {
		t.note("clerestory: the folder is not as it was committed, so the manifest names no commit")
	}
	t.printf("content %s\n", p.Digest)
	return nil
}

type baseDiffCmd struct {
	Old       string `arg:"" help:"The base before: a folder (a released one, too), or FOLDER@REVISION."`
	New       string `arg:"" help:"The base after."`
	NoAuthors bool   `help:"Do not ask git who wrote each change."`
	JSON      bool   `help:"Print JSON, with every part before and after."`
}

// Run compares.
func (c *baseDiffCmd) Run(ctx context.Context, t *terminal) error {
	old, err := detection.Find(ctx, c.Old)
	if err != nil {
		return err
	}
	new, err := detection.Find(ctx, c.New)
	if err != nil {
		return err
	}
	d := detection.Compare(old, new)
	if !c.NoAuthors {
		if err := d.Authors(ctx, old, new); err != nil {
			return err
		}
	}
	if c.JSON {
		return t.json(d)
	}
	printDiff(t, d)
	return nil
}

// printed is how many changes of one kind are printed in full.
const printed = 50

func printDiff(t *terminal, d *detection.Diff) {
	colours := map[string]string{detection.Added: green, detection.Removed: red, detection.Changed: amber, detection.Renamed: amber}
	marks := map[string]string{detection.Added: "+", detection.Removed: "-", detection.Changed: "~", detection.Renamed: ">"}
	seen := map[string]int{}
	for _, c := range d.Changes {
		if seen[c.What+c.Kind]++; seen[c.What+c.Kind] > printed {
			continue
		}
		name := line(c.Name)
		if c.Was != "" {
			name += ", before " + line(c.Was)
		}
		t.printf("%s %-8s %s  %s%s\n", t.style(colours[c.Kind], marks[c.Kind]), c.What, name, t.style(dim, fmt.Sprintf("%s:%d", line(c.File), c.Line)), writtenBy(c))
		for _, p := range c.Parts {
			t.printf("    %s: %s\n", line(p.Name), fromTo(p))
		}
	}
	if len(d.Changes) == 0 {
		t.printf("both detect the same by the same rules\n")
		return
	}
	for _, what := range []string{"rule", "hash", "pattern", "logical"} {
		a, c, r, n := d.Count(what, detection.Added), d.Count(what, detection.Changed), d.Count(what, detection.Removed), d.Count(what, detection.Renamed)
		if a+c+r+n > 0 {
			t.printf("%-8s %d added, %d changed, %d renamed, %d removed\n", what, a, c, n, r)
		}
	}
}

// writtenBy names the authors of a change, the last one first.
func writtenBy(c detection.Change) string {
	var names []string
	for _, a := range c.Authors {
		if name := fmt.Sprintf("%s (%.10s)", line(a.Name), a.Commit); len(names) < 3 {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	if more := len(c.Authors) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return "  by " + strings.Join(names, ", ")
}

func fromTo(p detection.Part) string {
	short := func(s string) string {
		if s = line(s); len(s) > 100 {
			return strings.ToValidUTF8(s[:100], "") + "…"
		}
		return s
	}
	switch {
	case p.Old == "":
		return "new: " + short(p.New)
	case p.New == "":
		return "gone: " + short(p.Old)
	}
	return short(p.Old) + " → " + short(p.New)
}
