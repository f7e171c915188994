package detection

import (
	"encoding/json"
	"fmt"
	"slices"

	"clerestory.dev/clerestory/internal/base/fault"
)

// Report is the full account of a candidate's tests: what people read, and what
// the statements about it name by hash.
type Report struct {
	Base   Manifest `json:"base"`             // the candidate
	Before string   `json:"before,omitempty"` // content digest of the base before it
	Check  *Checked `json:"check,omitempty"`
	Diff   *Diff    `json:"diff,omitempty"`
	Replay *Result  `json:"replay,omitempty"`
}

// Untried lists the corpora that the candidate or the base before it names and
// that are not among those given: a change must not drop the corpus in which it
// would be found out.
func Untried(old, new *Base, clean, known []Corpus) []string {
	var missing []string
	look := func(kind string, names []string, given []Corpus) {
		for _, name := range names {
			text := kind + " corpus " + name
			if !slices.ContainsFunc(given, func(c Corpus) bool { return c.Name == name }) && !slices.Contains(missing, text) {
				missing = append(missing, text)
			}
		}
	}
	for _, b := range []*Base{new, old} {
		if b != nil {
			look("clean", b.About.Clean, clean)
			look("known", b.About.Known, known)
		}
	}
	return missing
}

// JSON is the report as bytes, for keeping.
func (r *Report) JSON() ([]byte, error) {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the report: %w", err)
	}
	if len(text) > MaxReport {
		return nil, fault.Invalid.New("writing the report: it has %d bytes, more than %d", len(text), int64(MaxReport))
	}
	return append(text, '\n'), nil
}

// Outcomes are what the tests say to the gates.
func (r *Report) Outcomes() []Outcome {
	var all []Outcome
	if r.Check != nil {
		all = append(all, r.Check.outcome())
	}
	if r.Replay != nil {
		all = append(all, r.Replay.Outcomes()...)
	}
	return all
}

// outcome is what a check says to its gate: what was not checked is not green.
func (c *Checked) outcome() Outcome {
	o := Outcome{Gate: GateCheck, Passed: c.Good() && len(c.NotChecked) == 0, With: enginesUsed(c.Engines), Numbers: map[string]int64{
		"rules": int64(c.Counts.Rules), "hashes": int64(c.Counts.Hashes), "patterns": int64(c.Counts.Patterns), "logical": int64(c.Counts.Logical),
		"tests": int64(c.Tests), "problems": int64(len(c.Problems)), "warnings": int64(len(c.Warnings)),
	}}
	for _, p := range c.Problems {
		o.Fails = append(o.Fails, p.Error())
	}
	for _, n := range c.NotChecked {
		o.Fails = append(o.Fails, "not checked: "+n)
	}
	if o.Passed {
		o.Passes = []string{"it compiles", fmt.Sprintf("%d tests of its own", c.Tests)}
	}
	return o
}
