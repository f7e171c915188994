package detection

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"clerestory.dev/clerestory/internal/base/engine"
	"clerestory.dev/clerestory/statement"
)

// compare finds the differences between the two bases, by rule and file.
func (r *replay) compare() {
	res := r.result
	byOld, byNew := map[int]bool{}, map[int]bool{}
	for _, h := range r.report.Hits {
		c := r.all.corpus(h.File)
		m := Match{c.Name, plain(r.all.name(h.File)), h.Kind, plain(h.Rule)}
		old, new := h.In&engine.Old != 0, h.In&engine.New != 0
		byOld[h.File], byNew[h.File] = byOld[h.File] || old, byNew[h.File] || new
		if new && !c.Known {
			res.list("falsePositives", &res.FalsePositives, m)
			if !old {
				res.Numbers["newFalsePositives"]++
			}
		}
		if new && !old {
			res.list("newMatches", &res.NewMatches, m)
		}
		if old && !new {
			res.list("goneMatches", &res.GoneMatches, m)
		}
	}
	told := map[int]bool{}
	for _, h := range r.report.Hits {
		if c := r.all.corpus(h.File); c.Known && h.In == engine.Old && !byNew[h.File] && !told[h.File] {
			told[h.File] = true
			res.list("lostFiles", &res.LostFiles, Match{c.Name, plain(r.all.name(h.File)), h.Kind, plain(h.Rule)})
		}
	}
	for f := range r.all.targets {
		c := r.all.corpus(f)
		if byOld[f] {
			c.DetectedOld++
		}
		if byNew[f] {
			c.DetectedNew++
		}
		if c.Known && !byOld[f] && !byNew[f] {
			res.list("undetected", &res.Undetected, Match{Corpus: c.Name, File: plain(r.all.name(f))})
		}
	}
	r.describe()
}

// describe fills in what does not depend on the hits.
func (r *replay) describe() {
	res := r.result
	for i := range r.all.corpora {
		r.all.corpora[i].Digest = r.all.digest(i, r.report.Sums)
	}
	res.Corpora = r.all.corpora
	for _, g := range r.gaps {
		if res.Numbers["open"]++; len(res.Open) < Listed {
			res.Open = append(res.Open, Unjudged{r.all.corpus(g.File).Name, plain(r.all.name(g.File)), g.Engine, plain(g.Why), plain(g.rule)})
		}
	}
	res.Numbers["files"], res.Numbers["bytes"] = int64(len(r.all.targets)), r.report.Bytes
	res.Numbers["scanMilliseconds"] = r.report.Took.Milliseconds()
	res.Numbers["slowRules"] = int64(len(res.Slow))
	for _, name := range []string{"falsePositives", "newFalsePositives", "newMatches", "goneMatches", "lostFiles", "undetected", "open"} {
		res.Numbers[name] += 0 // a zero is a result, too
	}
}

// list adds to a list while it has room, and counts.
func (res *Result) list(name string, to *[]Match, m Match) {
	if res.Numbers[name]++; len(*to) < Listed {
		*to = append(*to, m)
	}
}

// judge says what the gates hear.
func (r *replay) judge() {
	res := r.result
	clean, known := Verdict{Gate: GateClean}, Verdict{Gate: GateKnown}
	if n := res.Numbers["falsePositives"]; n > 0 {
		m := res.FalsePositives[0]
		clean.against("%s in clean corpora, %d of them new: first %s on %s (%s)", counted(n, "match", "matches"), res.Numbers["newFalsePositives"], m.Rule, m.File, m.Corpus)
	}
	if n := res.Numbers["lostFiles"]; n > 0 {
		m := res.LostFiles[0]
		known.against("%s of the known corpora no longer detected: first %s (%s), which %s detected", counted(n, "file", "files"), m.File, m.Corpus, m.Rule)
	}
	for v, isKnown := range map[*Verdict]bool{&clean: false, &known: true} {
		files, detected, open := 0, 0, 0
		for _, c := range res.Corpora {
			if c.Known == isKnown {
				files += c.Files
				detected += c.DetectedOld + c.DetectedNew
				if c.Files == 0 {
					v.against("the corpus %s has no files", c.Name)
				}
			}
		}
		for _, g := range r.gaps {
			if r.all.known(g.File) == isKnown {
				open++
			}
		}
		if files == 0 {
			v.against("no file was looked at")
		} else if isKnown && detected == 0 && open == 0 {
			v.against("neither base detects anything in the known corpora: they prove nothing")
		}
		if open > 0 {
			v.against("%s not scanned to the end", counted(int64(open), "file was", "files were"))
		}
		for _, n := range r.doubts {
			v.against("the engine doubts its own answers: %s", plain(n))
		}
	}
	if r.oldLost {
		known.against("the base before could not be loaded, so what it detected is not known")
	}
	clean.Passed, known.Passed = len(clean.Why) == 0, len(known.Why) == 0
	res.Verdicts = []Verdict{clean, known}
}

func (v *Verdict) against(format string, args ...any) {
	v.Why = append(v.Why, fmt.Sprintf(format, args...))
}

func counted(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// times measures the candidate's rules on a sample of the corpora: new and changed
// ones alone, the others until the slow ones are found.
func (r *replay) times(ctx context.Context) error {
	// Where the engine does not get through, the rule is named already, and the clock says nothing.
	if r.Limits.NoTimes || len(r.gaps) > 0 {
		return nil
	}
	var alone []string
	if r.Old != nil {
		for _, c := range Compare(r.Old, r.New).Changes {
			if c.Kind != Removed {
				alone = append(alone, c.Name)
			}
		}
	}
	r.Progress("times", 0, 1)
	times, err := r.Engine.Times(ctx, r.new, engine.Timing{Sample: r.sample(), Alone: alone, Slow: r.Limits.Slow})
	if err != nil {
		return err
	}
	for _, t := range times {
		one := RuleTime{Rule: plain(t.Rule), Rules: t.Rules, PerMB: float64(t.PerMB) / float64(time.Millisecond), Slow: t.Slow}
		r.result.Times = append(r.result.Times, one)
		if t.Slow {
			r.result.Slow = append(r.result.Slow, one.Rule)
		}
	}
	r.Progress("times", 1, 1)
	return nil
}

// sample takes files from all over the corpora, always the same ones: up to 200,
// and 6 MB.
func (r *replay) sample() []engine.Target {
	var sample []engine.Target
	var size int64
	step := max(1, len(r.all.targets)/200)
	for i := 0; i < len(r.all.targets); i += step {
		if t := r.all.targets[i]; t.Size > 0 && size+t.Size <= 6<<20 {
			sample = append(sample, t)
			size += t.Size
		}
	}
	return sample
}

// Outcomes are the verdicts as [Service.SayTests] states them.
func (r *Result) Outcomes() []Outcome {
	var engines []statement.Resource
	for _, name := range slices.Sorted(maps.Keys(r.Engines)) {
		engines = append(engines, statement.Resource{Name: name + " " + r.Engines[name]})
	}
	if r.Before != "" {
		engines = append(engines, statement.Resource{Name: "base before", Digest: map[string]string{"sha256": r.Before}})
	}
	var all []Outcome
	for _, v := range r.Verdicts {
		o := Outcome{Gate: v.Gate, Passed: v.Passed, Numbers: r.Numbers, With: slices.Clone(engines)}
		for _, c := range r.Corpora {
			if c.Known != (v.Gate == GateKnown) {
				continue
			}
			o.With = append(o.With, statement.Resource{Name: "corpus " + c.Name, Digest: map[string]string{"sha256": c.Digest}})
			if v.Passed {
				o.Passes = append(o.Passes, fmt.Sprintf("%s: %d files, %d bytes", c.Name, c.Files, c.Bytes))
			}
		}
		if !v.Passed {
			o.Fails = append(slices.Clone(v.Why), r.against(v.Gate)...)
		}
		all = append(all, o)
	}
	return all
}

// against are the single findings behind a verdict.
func (r *Result) against(gate string) []string {
	var all []string
	matches, what := r.FalsePositives, "matches"
	if gate == GateKnown {
		matches, what = r.LostFiles, "no longer detects"
	}
	for _, m := range matches[:min(len(matches), 500)] {
		all = append(all, fmt.Sprintf("%s %s %s (%s)", m.Rule, what, m.File, m.Corpus))
	}
	for _, o := range r.Open {
		if len(all) == 600 || !slices.ContainsFunc(r.Corpora, func(c CorpusResult) bool { return c.Name == o.Corpus && c.Known == (gate == GateKnown) }) {
			continue
		}
		text := fmt.Sprintf("%s (%s): %s: %s", o.File, o.Corpus, o.Engine, o.Why)
		if o.Rule != "" {
			text += ": rule " + o.Rule
		}
		all = append(all, text)
	}
	return all
}
