package detection

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Author is who wrote a change, as git has it: a claim, not a proof.
type Author struct {
	Name   string    `json:"name"`
	Email  string    `json:"-"` // personal: never leaves this process
	Commit string    `json:"commit"`
	Time   time.Time `json:"time"`
}

// blameCaps bound what git is asked: beyond them whole files are asked for, and
// removals are put down to the file's commits.
var blameCaps = struct{ ranges, searches int }{ranges: 400, searches: 40}

// Authors finds who wrote each change between two bases of one git repository,
// from the lines of the rules themselves: new lines by who wrote them since old,
// removed ones by who took them out. Without a commit on the new side nothing is
// known, and nothing is filled in.
func (d *Diff) Authors(ctx context.Context, old, new *Base) error {
	if new.home == nil {
		return nil
	}
	w := &writers{ctx: ctx, repo: new.home, since: "", touched: map[string][]string{}}
	if old != nil && old.Commit != "" {
		if _, err := git(ctx, new.home.dir, nil, "merge-base", "--is-ancestor", old.Commit, new.Commit); err == nil {
			w.since = old.Commit
		}
	}
	commits := make([][]string, len(d.Changes))
	byFile := map[string][]int{}
	for i, c := range d.Changes {
		if c.Kind != Removed {
			byFile[c.File] = append(byFile[c.File], i)
		}
	}
	for file, which := range byFile {
		if err := w.blame(file, d.Changes, which, commits); err != nil {
			return fmt.Errorf("finding who wrote %s: %w", file, err)
		}
	}
	for i, c := range d.Changes {
		if len(commits[i]) > 0 {
			continue
		}
		var err error
		if commits[i], err = w.took(c); err != nil {
			return fmt.Errorf("finding who changed %s: %w", c.File, err)
		}
	}
	return w.name(d.Changes, commits)
}

// writers asks git who wrote what.
type writers struct {
	ctx      context.Context
	repo     *repository
	since    string // commits up to this one are not part of the change
	touched  map[string][]string
	searches int
}

func (w *writers) span() string {
	if w.since == "" {
		return w.repo.commit
	}
	return w.since + ".." + w.repo.commit
}

// path is a file of the base as a pathspec that means nothing else.
func (w *writers) path(file string) string { return ":(top,literal)" + w.repo.prefix + file }

// blame finds the commits of the lines of the changes which, all in one file.
func (w *writers) blame(file string, changes []Change, which []int, commits [][]string) error {
	slices.SortFunc(which, func(i, j int) int { return cmp.Compare(changes[i].Line, changes[j].Line) })
	args := []string{"blame", "--incremental", "--root", "--no-textconv"}
	var ranges []string
	for n := 0; n < len(which); {
		first, last := changes[which[n]].Line, changes[which[n]].End
		for n++; n < len(which) && changes[which[n]].Line <= last+1; n++ {
			last = max(last, changes[which[n]].End)
		}
		ranges = append(ranges, fmt.Sprintf("-L%d,%d", first, last))
	}
	if len(ranges) <= blameCaps.ranges {
		args = append(args, ranges...)
	}
	// blame takes a path as seen from the folder that git runs in, and no pathspec
	out, err := git(w.ctx, w.repo.dir, nil, append(args, w.span(), "--", "./"+file)...)
	if err != nil {
		return err
	}
	lines := incremental(out)
	for _, i := range which {
		from, _ := slices.BinarySearchFunc(lines, changes[i].Line, func(s stretch, line int) int { return cmp.Compare(s.last, line) })
		for _, s := range lines[from:] {
			if s.first > changes[i].End {
				break
			}
			if !s.boundary && !slices.Contains(commits[i], s.commit) {
				commits[i] = append(commits[i], s.commit)
			}
		}
	}
	return nil
}

// stretch is lines that one commit wrote.
type stretch struct {
	first, last int
	commit      string
	boundary    bool // written before the range began
}

// incremental reads git blame --incremental, sorted by line.
func incremental(out []byte) []stretch {
	var all []stretch
	old := map[string]bool{} // git says it of a commit once
	for line := range bytes.SplitSeq(out, []byte{'\n'}) {
		if f := bytes.Fields(line); len(f) == 4 && (len(f[0]) == 40 || len(f[0]) == 64) && badHex(string(f[0])) < 0 {
			first, err1 := strconv.Atoi(string(f[2]))
			n, err2 := strconv.Atoi(string(f[3]))
			if err1 == nil && err2 == nil {
				all = append(all, stretch{first, first + n - 1, string(f[0]), false})
			}
		} else if len(all) > 0 && string(line) == "boundary" {
			old[all[len(all)-1].commit] = true
		}
	}
	for i := range all {
		all[i].boundary = old[all[i].commit]
	}
	slices.SortFunc(all, func(a, b stretch) int { return cmp.Compare(a.first, b.first) })
	return all
}

// took finds the commits that took lines away: those that change how often the
// rule's name or the entry's key stands in its file, else all that touched it.
func (w *writers) took(c Change) ([]string, error) {
	needle := c.Name
	if c.Key != "" {
		needle = c.Key
	}
	if c.Kind == Removed && w.searches < blameCaps.searches {
		w.searches++
		out, err := git(w.ctx, w.repo.dir, nil, "log", "--format=%H", "--no-textconv", "--no-ext-diff", "-n1", "-S"+needle, w.span(), "--", w.path(c.File))
		if err != nil {
			return nil, err
		}
		if found := strings.Fields(string(out)); len(found) > 0 {
			return found, nil
		}
	}
	if _, ok := w.touched[c.File]; !ok {
		out, err := git(w.ctx, w.repo.dir, nil, "log", "--format=%H", "--no-textconv", "--no-ext-diff", "-n20", w.span(), "--", w.path(c.File))
		if err != nil {
			return nil, err
		}
		w.touched[c.File] = strings.Fields(string(out))
	}
	return w.touched[c.File], nil
}

// name looks up the authors of commits: as the commits have them, not as a
// .mailmap in the tree would like them to be called.
func (w *writers) name(changes []Change, commits [][]string) error {
	var ask bytes.Buffer
	asked := map[string]bool{}
	for _, list := range commits {
		for _, c := range list {
			if !asked[c] {
				asked[c] = true
				ask.WriteString(c + "\n")
			}
		}
	}
	if len(asked) == 0 {
		return nil
	}
	out, err := git(w.ctx, w.repo.dir, &ask, "log", "--no-walk=unsorted", "--no-mailmap", "--stdin", "--format=%H%x00%an%x00%ae%x00%at")
	if err != nil {
		return err
	}
	known := map[string]Author{}
	for line := range strings.SplitSeq(string(out), "\n") {
		f := strings.Split(line, "\x00")
		if len(f) != 4 {
			continue
		}
		seconds, err := strconv.ParseInt(f[3], 10, 64)
		if err == nil {
			known[f[0]] = Author{plain(clip(f[1], 200)), plain(clip(f[2], 200)), f[0], time.Unix(seconds, 0).UTC()}
		}
	}
	for i, list := range commits {
		for _, c := range list {
			if a, ok := known[c]; ok {
				changes[i].Authors = append(changes[i].Authors, a)
			}
		}
		slices.SortFunc(changes[i].Authors, func(a, b Author) int {
			return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(a.Commit, b.Commit))
		})
	}
	return nil
}
