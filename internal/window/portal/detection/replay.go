package detection

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	office "clerestory.dev/clerestory/internal/office/detection"
	"clerestory.dev/clerestory/internal/window/portal/frame"
)

// Replay is what trying an update on corpora found, as the full report of its
// tests has it. Lists are cut; Numbers count all.
type Replay struct {
	Report  int64                 `json:"report"` // log entry of the test that names the report
	Corpora []office.CorpusResult `json:"corpora"`
	// False are matches in clean files, Lost known files that nothing detects any
	// more; New and Gone are what matches and does not match since the update
	// before; Open are files of which nobody can say.
	False   []office.Match    `json:"falsePositives"`
	Lost    []office.Match    `json:"lostFiles"`
	New     []office.Match    `json:"newMatches"`
	Gone    []office.Match    `json:"goneMatches"`
	Open    []office.Unjudged `json:"open"`
	Slow    []office.RuleTime `json:"slow"`
	Engines map[string]string `json:"engines"`
	Numbers map[string]int64  `json:"numbers"`
}

// account is what is kept of a report.
type account struct {
	content, before string // digests of the two bases
	replay          *Replay
	authors         map[string][]office.Author // by change
}

// listed is how many entries of each list a page has.
const listed = 100

// told adds what the full report of the tests says: the replay, and who wrote
// each change. A report that is gone, or about other bases, adds nothing: the
// statements still say what the tests came to.
func (m *Room) told(ctx context.Context, u *Update, before string) error {
	for _, t := range u.Tests {
		if t.Report == "" {
			continue
		}
		a, err := m.account(ctx, t.Report)
		if err != nil {
			return err
		}
		if a == nil || a.content != u.Content {
			continue
		}
		if a.replay != nil && u.Replay == nil {
			again := *a.replay
			again.Report = t.Entry
			u.Replay = &again
		}
		if a.before == before {
			changes := slices.Clone(u.Rules.Changes)
			for i, c := range changes {
				changes[i].Authors = a.authors[changeKey(c)]
			}
			u.Rules.Changes = changes
		}
	}
	return nil
}

// account reads a report, once; nil when it can not be read as one.
func (m *Room) account(ctx context.Context, sum string) (*account, error) {
	m.comparing.Lock()
	defer m.comparing.Unlock()
	if a, ok := m.accounts[sum]; ok {
		return a, nil
	}
	text, err := m.read(sum, office.MaxReport)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("reading a report: %w", ctx.Err())
	}
	var r office.Report
	var a *account
	if err == nil && json.Unmarshal(text, &r) == nil && r.Base.Content != "" {
		a = &account{r.Base.Content, r.Before, replayOf(r.Replay), authorsOf(r.Diff)}
	}
	if m.accounts == nil || len(m.accounts) >= Caps.Kept {
		m.accounts = map[string]*account{}
	}
	if err == nil { // a file that can not be read now may be there later
		m.accounts[sum] = a
	}
	return a, nil
}

func replayOf(r *office.Result) *Replay {
	if r == nil {
		return nil
	}
	x := &Replay{Corpora: append([]office.CorpusResult{}, r.Corpora...), False: first(r.FalsePositives), Lost: first(r.LostFiles), New: first(r.NewMatches),
		Gone: first(r.GoneMatches), Open: first(r.Open), Slow: []office.RuleTime{}, Engines: map[string]string{}, Numbers: map[string]int64{}}
	for _, t := range r.Times {
		if t.Slow && len(x.Slow) < listed {
			x.Slow = append(x.Slow, t)
		}
	}
	maps.Copy(x.Engines, r.Engines)
	maps.Copy(x.Numbers, r.Numbers)
	return x
}

func first[T any](all []T) []T { return append([]T{}, all[:min(len(all), listed)]...) }

// authorsOf keeps names and commits: addresses are nobody's business here.
func authorsOf(d *office.Diff) map[string][]office.Author {
	all := map[string][]office.Author{}
	if d != nil {
		for _, c := range d.Changes {
			for _, a := range c.Authors {
				all[changeKey(c)] = append(all[changeKey(c)], office.Author{Name: a.Name, Commit: a.Commit, Time: a.Time})
			}
		}
	}
	return all
}

func changeKey(c office.Change) string {
	return c.Kind + "\x00" + c.What + "\x00" + c.Name + "\x00" + c.Key
}

// finding is one list of a replay.
type finding struct {
	Title string
	Count int64
	Bad   bool
	Rows  [][3]string // corpus, file, what
}

func (r *Replay) findings() []finding {
	list := func(title, number string, bad bool, all []office.Match) finding {
		f := finding{Title: title, Count: r.Numbers[number], Bad: bad}
		for _, m := range all {
			f.Rows = append(f.Rows, [3]string{m.Corpus, m.File, m.Rule})
		}
		return f
	}
	open := finding{Title: "Files that could not be judged", Count: r.Numbers["open"], Bad: true}
	for _, o := range r.Open {
		open.Rows = append(open.Rows, [3]string{o.Corpus, o.File, o.Engine + ": " + o.Why})
	}
	return []finding{
		list("Matches in clean files", "falsePositives", true, r.False), list("Known files that nothing detects any more", "lostFiles", true, r.Lost), open,
		list("What newly matches", "newMatches", false, r.New), list("What matches no more", "goneMatches", false, r.Gone),
	}
}

func kindOf(c office.CorpusResult) string {
	if c.Known {
		return "known"
	}
	return "clean"
}

// found is the finding in a sentence.
func (r *Replay) found() string {
	bad := r.Numbers["falsePositives"] + r.Numbers["lostFiles"] + r.Numbers["open"]
	text := "Over " + frame.Number(r.Numbers["files"]) + " files: "
	if bad == 0 {
		text += "nothing in clean files matches, and everything known is still detected."
	} else {
		text += fmt.Sprintf("%s matches in clean files, %s known files lost, %s not judged.", frame.Number(r.Numbers["falsePositives"]), frame.Number(r.Numbers["lostFiles"]), frame.Number(r.Numbers["open"]))
	}
	return text
}
