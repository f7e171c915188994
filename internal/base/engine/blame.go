package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
)

// A piece is one rule or pattern that can be tried alone: an index into the YARA
// rules, then into the patterns, then into the logical signatures.
type piece = int

func (r *Rules) pieces() int { return len(r.YARA) + len(r.Patterns) + len(r.Logical) }

// only gives the rule set of these pieces, with what they need.
func (r *Rules) only(pieces []piece) *Rules {
	small := &Rules{Imports: r.Imports}
	var yara []int
	for _, p := range pieces {
		switch y, n := len(r.YARA), len(r.YARA)+len(r.Patterns); {
		case p < y:
			yara = append(yara, p)
		case p < n:
			small.Patterns = append(small.Patterns, r.Patterns[p-y])
		default:
			small.Logical = append(small.Logical, r.Logical[p-n])
		}
	}
	if len(yara) > 0 {
		small.YARA = r.pick(yara)
	}
	return small
}

func (r *Rules) name(p piece) string {
	switch y, n := len(r.YARA), len(r.YARA)+len(r.Patterns); {
	case p < y:
		return r.YARA[p].Name
	case p < n:
		return r.Patterns[p-y].Name
	default:
		return r.Logical[p-n].Name
	}
}

// Culprit finds the rule for which an engine does not survive the compilation, or
// this file: it halves the rules until one is left. "" means that no single rule
// does it alone. It takes up to about 2·log2(rules) runs that may each last until
// the engine's PerFile (or Compile) time; set them short.
func (e Engine) Culprit(ctx context.Context, r *Rules, file *Target) (string, error) {
	e = e.filled()
	fails := func(pieces []piece) (bool, error) {
		s, err := e.Load(ctx, nil, r.only(pieces))
		if err != nil {
			if ctx.Err() != nil {
				return false, ctx.Err()
			}
			if errors.Is(err, fault.Unavailable) && file == nil {
				return true, nil
			}
			return false, err
		}
		defer s.Close()
		if file == nil {
			return false, nil
		}
		report, err := s.Scan(ctx, []Target{*file}, nil)
		return err == nil && len(report.Gaps) > 0, err
	}
	all := make([]piece, r.pieces())
	for i := range all {
		all[i] = i
	}
	if bad, err := fails(all); err != nil || !bad {
		return "", err
	}
	for len(all) > 1 {
		half := all[:len(all)/2]
		bad, err := fails(half)
		if err != nil {
			return "", err
		}
		if !bad {
			half = all[len(all)/2:]
			if bad, err = fails(half); err != nil {
				return "", err
			}
		}
		if !bad {
			return "", nil
		}
		all = half
	}
	return r.name(all[0]), nil
}

// Time is what rules cost: one rule alone, or many together where they are fast.
type Time struct {
	Rule  string        // "" when there are many
	Rules int           // how many were measured together
	PerMB time.Duration // CPU time beyond what reading the files takes anyway
	Slow  bool          // more than the caller's limit
}

// Timing says how [Engine.Times] measures.
type Timing struct {
	Sample []Target
	Alone  []string      // rules that are measured alone whatever they cost, such as new ones
	Slow   time.Duration // per MB: more is slow (20 ms)
	Runs   int           // of engines, at most (48)
}

// Times measures rules on a sample of files. Groups that cost more than the limit
// are halved until the slow rules stand alone; those that are fast together are
// given as one sum, because nothing smaller could be told from noise. Hash lists
// take no time that could be measured.
func (e Engine) Times(ctx context.Context, r *Rules, t Timing) ([]Time, error) {
	e = e.filled()
	e.Workers = 1 // what runs beside would be measured, too
	t.Slow, t.Runs = cmp.Or(t.Slow, 20*time.Millisecond), cmp.Or(t.Runs, 48)
	m := &meter{e: e, r: r, t: t}
	if m.fill(); m.mb == 0 || r.pieces() == 0 {
		return nil, nil
	}
	var rest, alone []piece
	for p := range r.pieces() {
		if slices.Contains(t.Alone, r.name(p)) && len(alone) < t.Runs/2 {
			alone = append(alone, p)
		} else {
			rest = append(rest, p)
		}
	}
	var all []Time
	for _, p := range alone {
		times, err := m.halve(ctx, []piece{p})
		if err != nil {
			return nil, err
		}
		all = append(all, times...)
	}
	times, err := m.halve(ctx, rest)
	if err != nil {
		return nil, err
	}
	all = append(all, times...)
	slices.SortStableFunc(all, func(a, b Time) int {
		return cmp.Or(cmp.Compare(b.PerMB, a.PerMB), cmp.Compare(a.Rule, b.Rule))
	})
	return all, nil
}

// meter measures groups of rules.
type meter struct {
	e    Engine
	r    *Rules
	t    Timing
	list []Target
	mb   float64
	runs int
	idle map[string]time.Duration // what an engine takes with a rule that does nothing
}

// fill makes the list long enough that a run takes a time that can be measured.
func (m *meter) fill() {
	var size int64
	for range 200 {
		for _, t := range m.t.Sample {
			m.list = append(m.list, t)
			size += t.Size
		}
		if size == 0 || size >= 8<<20 || len(m.list) > 4000 {
			break
		}
	}
	m.mb = float64(size) / (1 << 20)
	m.idle = map[string]time.Duration{}
}

func (m *meter) halve(ctx context.Context, pieces []piece) ([]Time, error) {
	if len(pieces) == 0 {
		return nil, nil
	}
	cost, err := m.cost(ctx, pieces)
	if err != nil {
		return nil, err
	}
	per := time.Duration(float64(cost) / m.mb)
	slow := per > m.t.Slow && cost > 60*time.Millisecond // less can not be told from noise
	if slow && len(pieces) > 1 && m.runs < m.t.Runs {
		left, err := m.halve(ctx, pieces[:len(pieces)/2])
		if err != nil {
			return nil, err
		}
		right, err := m.halve(ctx, pieces[len(pieces)/2:])
		return append(left, right...), err
	}
	t := Time{Rules: len(pieces), PerMB: per, Slow: slow && len(pieces) == 1}
	if len(pieces) == 1 {
		t.Rule = m.r.name(pieces[0])
	}
	return []Time{t}, nil
}

// cost is the CPU time of these rules over the sample, beyond an engine's own.
func (m *meter) cost(ctx context.Context, pieces []piece) (time.Duration, error) {
	m.runs++
	rules := m.r.only(pieces)
	took, gaps, err := m.scan(ctx, rules)
	if err != nil {
		return 0, err
	}
	if gaps { // it did not even get through: as slow as can be
		return time.Hour, nil
	}
	none := &Rules{}
	if len(rules.YARA) > 0 {
		none.YARA = []Rule{{Name: "idle", Text: "rule idle { condition: false }"}}
	}
	if len(rules.Patterns)+len(rules.Logical) > 0 {
		none.Patterns = []Entry{{Name: "idle", Line: "idle:0:0:7f000102030405060708090a0b0c0d0e0f"}}
	}
	key := fmt.Sprint(len(none.YARA), len(none.Patterns))
	if _, known := m.idle[key]; !known {
		if m.idle[key], _, err = m.scan(ctx, none); err != nil {
			return 0, err
		}
	}
	return max(0, took-m.idle[key]), nil
}

func (m *meter) scan(ctx context.Context, r *Rules) (time.Duration, bool, error) {
	s, err := m.e.Load(ctx, nil, r)
	if err != nil {
		return 0, false, err
	}
	defer s.Close()
	report, err := s.Scan(ctx, m.list, nil)
	if err != nil {
		return 0, false, err
	}
	return report.CPU, len(report.Gaps) > 0, nil
}
