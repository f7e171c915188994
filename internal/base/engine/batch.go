package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/sandbox"
)

type job = sandbox.Job

// once runs an engine over files. It gives the files that got no answer although
// the engine was stopped or died, and why it was; what got no answer from an
// engine that ended by itself is a gap already.
func (sc *scan) once(ctx context.Context, t tool, files []int, byLine bool) (left []int, why string, err error) {
	dir, err := sc.s.e.folder()
	if err != nil {
		return nil, "", err
	}
	defer removeAll(dir)
	l, err := sc.list(dir, files)
	if err != nil {
		return nil, "", fmt.Errorf("listing files for the engine: %w", err)
	}
	// No file may hold the engine for longer than PerFile: silence is how one shows.
	// It starts with loading the rules.
	longest := time.Duration(len(files))*sc.s.e.PerFile + time.Minute
	j := sc.s.e.job(nil, sandbox.Limits{Wall: longest, CPU: longest, Silence: sc.s.e.PerFile, Scratch: 512 << 20})
	j.Binds = append(j.Binds, l.binds...)
	j.Argv = t.argv(&j, l.name)
	if byLine {
		j.Argv = append(slices.Clone(lineBuffered), j.Argv...)
	}
	res, err := sandbox.Run(ctx, j)
	sc.mu.Lock()
	sc.report.CPU += res.CPU
	sc.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return nil, "", ctx.Err()
	case err != nil && res.Killed == "":
		return nil, "", err
	case err != nil:
		why = "the engine was stopped: " + res.Killed
	case res.Exit >= 128:
		why = fmt.Sprintf("the engine died of signal %d", res.Exit-128)
	}
	open := map[int]bool{}
	for _, i := range files {
		open[i] = true
	}
	t.read(res.Stdout, l.at, sc.found, func(i int, doubt string) {
		if doubt != "" && open[i] {
			sc.gap(i, t.name(), doubt)
		}
		delete(open, i)
	})
	if doubt := t.distrust(res.Stderr); doubt != "" {
		sc.mu.Lock()
		sc.report.Notices = append(sc.report.Notices, t.name()+": "+doubt)
		sc.mu.Unlock()
	}
	if why == "" && res.Exit != 0 && len(open) == len(files) && !anyAccounted(t, res, l, files) {
		return nil, "", fault.Unavailable.New("%s ended with %d: %s", t.name(), res.Exit, clip(append(res.Stderr, res.Stdout...)))
	}
	for _, i := range files {
		switch {
		case !open[l.at[l.paths[i]]]: // a file that is listed twice is answered for twice
		case why != "":
			left = append(left, i)
		default:
			said := t.why(append(res.Stderr, res.Stdout...), l.paths[i])
			if said == "" {
				said = "the engine said nothing of it"
			}
			if os.Geteuid() == 0 && (strings.Contains(said, "open file") || strings.Contains(said, "ccess")) {
				said += " (the sandbox's user must be able to read it: chmod -R o+rX)"
			}
			sc.gap(i, t.name(), said)
		}
	}
	return left, why, nil
}

// anyAccounted tells whether the engine spoke of at least one file, if only to say
// that it can not read it.
func anyAccounted(t tool, res sandbox.Result, l *list, files []int) bool {
	said := append(res.Stderr, res.Stdout...)
	for _, i := range files[:min(len(files), 10)] {
		if t.why(said, l.paths[i]) != "" {
			return true
		}
	}
	return false
}

// list is the file that tells an engine what to scan.
type list struct {
	name  string // as the job sees it
	binds []sandbox.Bind
	at    map[string]int // by the path in the list
	paths map[int]string
}

// list writes the names of files, one a line. A name that could not stand in a
// line (or that an engine would print as two) goes by a link of ours.
func (sc *scan) list(dir string, files []int) (*list, error) {
	l := &list{at: make(map[string]int, len(files)), paths: make(map[int]string, len(files))}
	bare := sc.s.e.UnsafeUnconfined
	inside := func(host, name string) string {
		if bare {
			return host
		}
		l.binds = append(l.binds, sandbox.Bind{Host: host, Inside: name})
		return name
	}
	roots := map[string]string{}
	links := ""
	var text strings.Builder
	for _, i := range files {
		t := sc.targets[i]
		root, known := roots[t.Root]
		if !known {
			abs, err := filepath.Abs(t.Root)
			if err != nil {
				return nil, err
			}
			root = inside(abs, fmt.Sprintf("/corpus/%d", len(roots)))
			roots[t.Root] = root
		}
		name := strings.TrimSuffix(root+"/"+filepath.ToSlash(t.Path), "/")
		if odd(name) {
			if links == "" {
				if err := os.Mkdir(filepath.Join(dir, "odd"), 0o755); err != nil {
					return nil, err
				}
				links = inside(filepath.Join(dir, "odd"), "/in/odd")
			}
			link := fmt.Sprintf("%d", i)
			if err := os.Symlink(name, filepath.Join(dir, "odd", link)); err != nil {
				return nil, err
			}
			name = links + "/" + link
		}
		l.at[name], l.paths[i] = i, name
		text.WriteString(name)
		text.WriteByte('\n')
	}
	host := filepath.Join(dir, "list")
	if err := put(host, text.String()); err != nil {
		return nil, err
	}
	l.name = inside(host, "/in/list")
	return l, nil
}

// odd tells whether a name can not stand in a list as it is.
func odd(name string) bool {
	return len(name) > 500 || strings.TrimSpace(name) != name || strings.ContainsFunc(name, func(c rune) bool { return c < 0x20 || c == 0x7f || c == '�' })
}

func removeAll(dir string) { _ = os.RemoveAll(dir) }

// takeFile takes one file out of a folder that a job wrote: a regular one, not too
// large, whatever its name now leads to.
func takeFile(dir, name, to string, most int64) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	st, err := root.Lstat(name)
	if errors.Is(err, os.ErrNotExist) || err == nil && (!st.Mode().IsRegular() || st.Size() == 0 || st.Size() > most) {
		return fault.Unavailable.New("taking %s: %w", name, errNoOutput)
	}
	if err != nil {
		return err
	}
	// The job has ended, so nobody can swap the file between the look and the move.
	if err := os.Rename(filepath.Join(dir, name), to); err != nil {
		return fmt.Errorf("keeping %s: %w", name, err)
	}
	if err := os.Chmod(to, 0o444); err != nil {
		return fmt.Errorf("keeping %s: %w", name, err)
	}
	return nil
}
