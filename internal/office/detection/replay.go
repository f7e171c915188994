package detection

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"clerestory.dev/clerestory/internal/base/engine"
	"clerestory.dev/clerestory/internal/base/fault"
)

// Setup is what a replay runs: the candidate and the base before it, over corpora.
type Setup struct {
	Old, New *Base // Old is nil for a first version
	// Clean are corpora in which the candidate may match nothing; Known are those
	// in which all that Old detects must still be detected.
	Clean, Known []Corpus
	Engine       engine.Engine
	Limits       ReplayLimits
	// Progress is called now and then, by one goroutine at a time.
	Progress func(step string, done, of int)
}

// ReplayLimits bound a replay. A zero takes the default.
type ReplayLimits struct {
	Files int           // of all corpora (500,000)
	Bytes int64         // of all corpora (256 GiB)
	File  int64         // of one file (1 GiB); a larger one can not be judged
	Slow  time.Duration // CPU time per MB from which on a rule is called slow (20 ms)
	// NoTimes leaves the rules unmeasured.
	NoTimes bool
}

// Match is one rule that matches one file.
type Match struct {
	Corpus string `json:"corpus"`
	File   string `json:"file"` // relative to the corpus
	Kind   string `json:"kind"` // yar, hsb, ndb, ldb
	Rule   string `json:"rule"`
}

// Unjudged is a file of which nobody can say what the candidate makes of it.
type Unjudged struct {
	Corpus string `json:"corpus"`
	File   string `json:"file"`
	Engine string `json:"engine"`
	Why    string `json:"why"`
	Rule   string `json:"rule,omitempty"` // that the engine dies of, where one was found
}

// RuleTime is what rules cost, beyond reading the files.
type RuleTime struct {
	Rule  string  `json:"rule,omitempty"` // "" for many that are fast together
	Rules int     `json:"rules"`
	PerMB float64 `json:"msPerMB"` // milliseconds of CPU time
	Slow  bool    `json:"slow"`
}

// Verdict is what a replay says to one gate.
type Verdict struct {
	Gate   string   `json:"gate"`
	Passed bool     `json:"passed"`
	Why    []string `json:"why"` // what is against it; none when it passed
}

// Result is what a replay found. The lists hold at most [Listed] entries each;
// Numbers count all.
type Result struct {
	Corpora        []CorpusResult    `json:"corpora"`
	FalsePositives []Match           `json:"falsePositives"` // of the candidate, in clean corpora
	LostFiles      []Match           `json:"lostFiles"`      // known files that no rule detects any more, with a rule that did
	NewMatches     []Match           `json:"newMatches"`     // by the candidate only, in all corpora
	GoneMatches    []Match           `json:"goneMatches"`    // by the base before only
	Undetected     []Match           `json:"undetected"`     // known files that neither base detects (no rule)
	Open           []Unjudged        `json:"open"`
	Notices        []string          `json:"notices"`
	Times          []RuleTime        `json:"times"`
	Slow           []string          `json:"slow"` // rules
	Engines        map[string]string `json:"engines"`
	Before         string            `json:"before,omitempty"` // digest of the base before, as packed
	Numbers        map[string]int64  `json:"numbers"`
	Verdicts       []Verdict         `json:"verdicts"`
	Took           time.Duration     `json:"tookNanoseconds"`
}

// Listed is how many entries a list of a result holds.
const Listed = 20_000

// Replay runs both bases over all corpora, in one pass, and judges the candidate.
// It fails closed: a file that was not scanned to its end, by whatever accident or
// rule, is no clean file, and a corpus without files proves nothing. The error is
// for a replay that could not be made at all; what is against the candidate is in
// the result.
func Replay(ctx context.Context, s Setup) (*Result, error) {
	begun := time.Now()
	if s.New == nil {
		return nil, fault.Invalid.New("a replay without a candidate")
	}
	s.Limits = s.Limits.filled()
	if s.Progress == nil {
		s.Progress = func(string, int, int) {}
	}
	all, err := s.gather(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the corpora: %w", err)
	}
	r := &replay{Setup: s, all: all, new: s.New.Engine(), result: &Result{Engines: s.Engine.Versions(ctx), Numbers: map[string]int64{}}}
	if s.Old != nil {
		r.old = s.Old.Engine()
		packed, err := s.Old.Pack()
		if err != nil {
			return nil, fmt.Errorf("naming the base before: %w", err)
		}
		r.result.Before = packed.Digest
	}
	if err := r.scan(ctx); err != nil {
		return nil, fmt.Errorf("replaying: %w", err)
	}
	if err := r.blame(ctx); err != nil {
		return nil, fmt.Errorf("looking for the rule that the engine dies of: %w", err)
	}
	if err := r.times(ctx); err != nil {
		return nil, fmt.Errorf("measuring the rules: %w", err)
	}
	r.compare()
	r.judge()
	r.result.Took = time.Since(begun)
	return r.result, nil
}

func (l ReplayLimits) filled() ReplayLimits {
	if l.Files <= 0 {
		l.Files = 500_000
	}
	if l.Bytes <= 0 {
		l.Bytes = 256 << 30
	}
	if l.File <= 0 {
		l.File = 1 << 30
	}
	if l.Slow <= 0 {
		l.Slow = 20 * time.Millisecond
	}
	return l
}

// replay is one under way.
type replay struct {
	Setup
	all      *gathered
	old, new *engine.Rules
	report   *engine.Report
	gaps     []unsaid // that stand in the candidate's way
	doubts   []string // an engine's own, about what it says of the candidate
	oldLost  bool     // the base before could not be loaded: what it detected is not known
	result   *Result
}

type unsaid struct {
	engine.Gap
	rule string
}

// scan runs both bases over all files. What the base before can not get through
// must not stop the candidate that mends it, so gaps are looked at once more with
// the candidate alone.
func (r *replay) scan(ctx context.Context) error {
	r.Progress("compile", 0, 1)
	s, err := r.Engine.Load(ctx, r.old, r.new)
	if err != nil && r.old != nil && ctx.Err() == nil {
		var alone error
		if s, alone = r.Engine.Load(ctx, nil, r.new); alone == nil {
			r.oldLost = true
			r.result.Notices = append(r.result.Notices, "the base before could not be loaded, so what it detected is not known: "+plain(err.Error()))
			err = nil
		}
	}
	if err != nil {
		return r.unloadable(ctx, err)
	}
	defer s.Close()
	r.Progress("compile", 1, 1)
	r.report, err = s.Scan(ctx, r.all.targets, func(p engine.Progress) { r.Progress("scan", p.Done, p.Of) })
	if err != nil {
		return err
	}
	for _, n := range r.report.Notices {
		r.result.Notices = append(r.result.Notices, plain(n))
	}
	for _, g := range r.report.Gaps {
		r.gaps = append(r.gaps, unsaid{Gap: g})
	}
	r.doubts = r.report.Notices
	if len(r.gaps)+len(r.doubts) == 0 || r.old == nil || r.oldLost {
		return nil
	}
	return r.again(ctx)
}

// unloadable says which rule it is that kills the compiler, when it was killed.
func (r *replay) unloadable(ctx context.Context, err error) error {
	if !errors.Is(err, fault.Unavailable) || ctx.Err() != nil || !stopped(err.Error()) {
		return err
	}
	e := r.Engine
	e.Compile = 20 * time.Second
	if name, blameErr := e.Culprit(ctx, r.new, nil); blameErr == nil && name != "" {
		return fmt.Errorf("the rule %s: %w", plain(name), err)
	}
	return err
}

func stopped(why string) bool {
	return strings.Contains(why, "stopped") || strings.Contains(why, "died")
}

// again scans the files with gaps with the candidate alone; all files, where an
// engine doubts its answers, because it does not say for which file.
func (r *replay) again(ctx context.Context) error {
	s, err := r.Engine.Load(ctx, nil, r.new)
	if err != nil {
		return err
	}
	defer s.Close()
	var files []int
	for _, g := range r.gaps {
		files = append(files, g.File)
	}
	if len(r.doubts) > 0 {
		for f := range r.all.targets {
			files = append(files, f)
		}
	}
	slices.Sort(files)
	files = slices.Compact(files)
	targets := make([]engine.Target, len(files))
	for i, f := range files {
		targets[i] = r.all.targets[f]
	}
	report, err := s.Scan(ctx, targets, nil)
	if err != nil {
		return err
	}
	detected := map[int]bool{}
	for _, h := range report.Hits {
		h.File = files[h.File]
		detected[h.File] = true
		r.merge(h)
	}
	first := r.gaps
	r.gaps, r.doubts = nil, report.Notices
	for _, g := range report.Gaps {
		g.File = files[g.File]
		r.gaps = append(r.gaps, unsaid{Gap: g})
	}
	open := map[int]bool{}
	for _, g := range r.gaps {
		open[g.File] = true
	}
	for _, g := range first {
		// The candidate got through. What the base before would have said matters where
		// it may have detected something that the candidate does not.
		if !open[g.File] && r.all.known(g.File) && !detected[g.File] {
			g.Why = "the base before does not get through it, and the candidate does not detect it: " + g.Why
			r.gaps = append(r.gaps, g)
		}
	}
	return nil
}

func (r *replay) merge(h engine.Hit) {
	for i := range r.report.Hits {
		if k := &r.report.Hits[i]; k.File == h.File && k.Kind == h.Kind && k.Rule == h.Rule {
			k.In |= h.In
			return
		}
	}
	r.report.Hits = append(r.report.Hits, h)
}

// blame names the rule for the first few files that the engine died of.
func (r *replay) blame(ctx context.Context) error {
	e := r.Engine
	if e.PerFile == 0 || e.PerFile > 5*time.Second {
		e.PerFile = 5 * time.Second
	}
	e.Workers = 1
	tried := map[int]bool{}
	for i := range r.gaps {
		g := &r.gaps[i]
		if len(tried) == 2 || tried[g.File] || !stopped(g.Why) || g.Engine == "hash" {
			continue
		}
		tried[g.File] = true
		r.Progress("blame", len(tried)-1, 2)
		for _, rules := range []*engine.Rules{r.new, r.old} {
			if rules == nil || g.rule != "" {
				continue
			}
			name, err := e.Culprit(ctx, rules, &r.all.targets[g.File])
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err == nil { // else it stays unnamed: the gap itself blocks anyway
				g.rule = name
			}
		}
	}
	return nil
}
