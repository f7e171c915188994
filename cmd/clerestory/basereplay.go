package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"clerestory.dev/clerestory/internal/base/atomicfile"
	"clerestory.dev/clerestory/internal/base/blob"
	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/office/detection"
)

type baseReplayCmd struct {
	New          string   `required:"" help:"The candidate: its folder, or FOLDER@REVISION."`
	Old          string   `help:"The base before it: a folder (a released one, too), or FOLDER@REVISION. Without it all is new."`
	Clean        []string `sep:"none" placeholder:"NAME=DIR" help:"A corpus in which nothing may match. Can be given more than once."`
	Known        []string `sep:"none" placeholder:"NAME=DIR" help:"A corpus whose detections must stay. Can be given more than once."`
	Some         bool     `help:"Try only the corpora that are given, though the base names others; nothing can be stated then."`
	NoTimes      bool     `help:"Do not measure what each rule costs."`
	Out          string   `type:"path" help:"File to write the full report to, as JSON."`
	JSON         bool     `help:"Print the full report as JSON."`
	enginesFlags `embed:""`
	sayFlags     `embed:""`
}

// sayFlags is how a command states what its tests came to.
type sayFlags struct {
	Say string `placeholder:"KEY" help:"State the result to the log with this tester's key, for the product that the base's id names."`
}

// Run checks, compares and replays. Exit code 1 says that a gate is red.
func (c *baseReplayCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	clean, err := corpora(c.Clean)
	if err != nil {
		return err
	}
	known, err := corpora(c.Known)
	if err != nil {
		return err
	}
	r, pack, err := c.test(ctx, t, clean, known)
	if err != nil {
		return err
	}
	if err := c.write(r); err != nil {
		return err
	}
	if c.JSON {
		err = t.json(r)
	} else {
		printReplay(t, r)
	}
	if err == nil && c.Say != "" {
		err = sayTests(ctx, cli, t, c.Say, pack, r)
	}
	for _, v := range r.Replay.Verdicts {
		if err == nil && !v.Passed {
			err = exitCode(1)
		}
	}
	return err
}

// test makes the report.
func (c *baseReplayCmd) test(ctx context.Context, t *terminal, clean, known []detection.Corpus) (*detection.Report, *detection.Pack, error) {
	s := detection.Setup{Clean: clean, Known: known, Engine: c.engine(t), Limits: detection.ReplayLimits{NoTimes: c.NoTimes}, Progress: replayProgress(t)}
	var err error
	if s.New, err = detection.Find(ctx, c.New); err != nil {
		return nil, nil, err
	}
	if c.Old != "" {
		if s.Old, err = detection.Find(ctx, c.Old); err != nil {
			return nil, nil, err
		}
	}
	if missing := detection.Untried(s.Old, s.New, clean, known); len(missing) > 0 && (!c.Some || c.Say != "") {
		return nil, nil, fault.Invalid.New("the base is to be tried on the %s: give it as --clean or --known NAME=DIR, or try only some with --some (which can not be stated)", strings.Join(missing, ", the "))
	}
	pack, err := s.New.Pack()
	if err != nil {
		return nil, nil, err
	}
	r := &detection.Report{Base: pack.Manifest, Diff: detection.Compare(s.Old, s.New)}
	if err := r.Diff.Authors(ctx, s.Old, s.New); err != nil {
		return nil, nil, err
	}
	if r.Replay, err = detection.Replay(ctx, s); err != nil {
		return nil, nil, err
	}
	r.Before = r.Replay.Before
	return r, pack, nil
}

func (c *baseReplayCmd) write(r *detection.Report) error {
	if c.Out == "" {
		return nil
	}
	text, err := r.JSON()
	if err != nil {
		return err
	}
	if err := atomicfile.Write(c.Out, text, 0o644); err != nil {
		return fault.Unavailable.New("writing %s: %w", c.Out, err)
	}
	return nil
}

// corpora reads NAME=DIR; without a name the folder's own is taken.
func corpora(flags []string) ([]detection.Corpus, error) {
	var all []detection.Corpus
	for _, f := range flags {
		name, dir, ok := strings.Cut(f, "=")
		if !ok {
			name, dir = strings.ToLower(filepath.Base(f)), f
		}
		if _, err := os.Stat(dir); err != nil {
			return nil, fault.NotFound.New("the corpus %s: %w", line(name), err)
		}
		all = append(all, detection.Corpus{Name: name, Path: dir})
	}
	return all, nil
}

// replayProgress tells on a terminal how far a replay is, once a second.
func replayProgress(t *terminal) func(string, int, int) {
	if !t.interactive() {
		return nil
	}
	last := time.Time{}
	return func(step string, done, of int) {
		if now := time.Now(); now.Sub(last) >= time.Second {
			last = now
			t.note("%s: %d of %d", step, done, of)
		}
	}
}

func printReplay(t *terminal, r *detection.Report) {
	res := r.Replay
	printDiff(t, r.Diff)
	t.printf("\n")
	for _, c := range res.Corpora {
		kind := "clean"
		if c.Known {
			kind = "known"
		}
		t.printf("%s  %-24s %8d files, %d bytes; detected before %d, now %d\n", kind, line(c.Name), c.Files, c.Bytes, c.DetectedOld, c.DetectedNew)
	}
	clean := map[string]bool{} // a new match there is told below
	for _, c := range res.Corpora {
		clean[c.Name] = !c.Known
	}
	better := slices.DeleteFunc(slices.Clone(res.NewMatches), func(m detection.Match) bool { return clean[m.Corpus] })
	printMatches(t, "would newly match", green, better, int64(len(better)))
	printMatches(t, "would no longer match", amber, res.GoneMatches, res.Numbers["goneMatches"])
	printMatches(t, "false positive", red, res.FalsePositives, res.Numbers["falsePositives"])
	printMatches(t, "no longer detected", red, res.LostFiles, res.Numbers["lostFiles"])
	for i, o := range res.Open {
		if i < printed {
			t.printf("%s %s (%s) by %s: %s %s\n", t.style(red, "not scanned"), line(o.File), line(o.Corpus), o.Engine, line(o.Why), line(o.Rule))
		}
	}
	for _, rt := range res.Times {
		if rt.Slow {
			t.printf("%s %s: %.1f ms per MB\n", t.style(amber, "slow rule"), line(rt.Rule), rt.PerMB)
		}
	}
	for _, n := range res.Notices {
		t.printf("%s %s\n", t.style(amber, "note:"), line(n))
	}
	t.printf("\n")
	for _, v := range res.Verdicts {
		if v.Passed {
			t.printf("%-14s %s\n", v.Gate, t.style(green, "green"))
			continue
		}
		t.printf("%-14s %s\n", v.Gate, t.style(red, "red"))
		for _, why := range v.Why {
			t.printf("    %s\n", line(why))
		}
	}
	t.printf("took %s\n", res.Took.Round(time.Millisecond))
}

func printMatches(t *terminal, what, colour string, all []detection.Match, n int64) {
	for i, m := range all {
		if i == printed {
			t.printf("%s: %d in all; --out writes them\n", what, n)
			return
		}
		t.printf("%s %s on %s (%s)\n", t.style(colour, what), line(m.Rule), line(m.File), line(m.Corpus))
	}
}

// sayTests states what the tests of a packed base came to, and waits until that is
// witnessed.
func sayTests(ctx context.Context, cli *cli, t *terminal, keyName string, pack *detection.Pack, r *detection.Report) error {
	report, err := r.JSON()
	if err != nil {
		return err
	}
	return withHome(ctx, cli, t, func(h *home, db *store.DB, passphrase []byte) error {
		blobs, err := blob.NewDisk(h.path("blobs"))
		if err != nil {
			return err
		}
		key, err := h.keys().Unlock(keyName, passphrase)
		if err != nil {
			return err
		}
		room := &detection.Service{DB: db, Blobs: blobs, Roots: h.roots, Now: time.Now}
		said, err := room.SayTests(ctx, pack.Manifest.ID, pack.Subjects(), r.Outcomes(), report, key)
		if err != nil {
			return err
		}
		for i, o := range r.Outcomes() {
			t.note("stated %s at entry %d", o.Gate, said[i].Entry)
		}
		return h.settle(ctx, db, said[len(said)-1].Entry, passphrase)
	})
}
