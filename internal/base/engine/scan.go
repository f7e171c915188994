package engine

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"clerestory.dev/clerestory/internal/base/fault"
)

// Target is one file to scan: Path is relative to the folder Root. With an empty
// Path, Root is the file, and nothing beside it is shown to the engine.
type Target struct {
	Root, Path string
	Size       int64
}

// Hit is one rule that matched one file, in the old set, the new one, or both.
type Hit struct {
	File int    // index in the list of targets
	Kind string // yar, hsb, ndb, ldb
	Rule string
	In   In
}

// Gap is a file of which nobody can say whether the rules match it.
type Gap struct {
	File   int
	Engine string // yara, clamscan, hash
	Why    string
}

// Report is what a scan found. It is complete when there is no gap.
type Report struct {
	Hits    []Hit // sorted by file, kind, rule
	Gaps    []Gap // sorted by file, engine
	Sums    [][32]byte
	Bytes   int64
	Took    time.Duration
	CPU     time.Duration // of the engines
	Notices []string      // what makes whole batches doubtful
}

// Progress counts files; each engine that looks at a file counts it once.
type Progress struct{ Done, Of int }

// tool is one engine: how it is called and what its output means.
type tool interface {
	name() string
	argv(j *job, list string) []string
	read(stdout []byte, at map[string]int, found func(i int, kind, name string, in In), answered func(i int, why string))
	why(said []byte, path string) string
	distrust(stderr []byte) string
}

// run is one scan under way.
type scan struct {
	s        *Scanner
	targets  []Target
	progress func(Progress)
	total    int

	mu       sync.Mutex
	report   *Report
	hits     map[Hit]In
	failures int
	done     int
}

// Scan scans every target with every engine that the rules need. It fails only
// when nothing can be said at all (no sandbox, ctx ended); all else is a gap.
func (s *Scanner) Scan(ctx context.Context, targets []Target, progress func(Progress)) (*Report, error) {
	if len(targets) > Caps.Files {
		return nil, fault.Invalid.New("%d files are more than %d", len(targets), Caps.Files)
	}
	var tools []tool
	if len(s.clam) > 0 {
		tools = append(tools, clamTool{s}) // the slower one first
	}
	if s.yara {
		tools = append(tools, yaraTool{s})
	}
	begun := time.Now()
	sc := &scan{s: s, targets: targets, progress: progress, total: len(targets) * (len(tools) + 1), hits: map[Hit]In{},
		report: &Report{Sums: make([][32]byte, len(targets))}}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(s.e.Workers)
	for _, b := range batches(targets, s.e.Batch) {
		for _, t := range tools {
			g.Go(func() error { return sc.batch(ctx, t, b) })
		}
		g.Go(func() error { return sc.hash(ctx, b) })
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("scanning: %w", err)
	}
	return sc.finish(time.Since(begun))
}

func (sc *scan) finish(took time.Duration) (*Report, error) {
	r := sc.report
	for h, in := range sc.hits {
		h.In = in
		r.Hits = append(r.Hits, h)
	}
	slices.SortFunc(r.Hits, func(a, b Hit) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Rule, b.Rule))
	})
	slices.SortFunc(r.Gaps, func(a, b Gap) int { return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Engine, b.Engine)) })
	slices.Sort(r.Notices)
	r.Notices = slices.Compact(r.Notices)
	r.Took = took
	return r, nil
}

// batches cuts the list by count and by bytes, into indices.
func batches(targets []Target, most int) [][]int {
	var all [][]int
	var b []int
	var size int64
	for i, t := range targets {
		if len(b) > 0 && (len(b) == most || size+t.Size > Caps.BatchBytes) {
			all, b, size = append(all, b), nil, 0
		}
		b = append(b, i)
		size += t.Size
	}
	if len(b) > 0 {
		all = append(all, b)
	}
	return all
}

// hash reads every file of a batch, for the hash lists and for the record of what
// was scanned.
func (sc *scan) hash(ctx context.Context, files []int) error {
	var read int64
	r := &reader{roots: map[string]*os.Root{}, buf: make([]byte, 256<<10)}
	defer r.close()
	for _, i := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		sum, size, err := sc.s.hash.look(r, sc.targets[i], func(name string, in In) { sc.found(i, "hsb", name, in) })
		if err != nil {
			sc.gap(i, "hash", "it can not be read: "+err.Error())
			continue
		}
		sc.report.Sums[i] = sum
		read += size
	}
	sc.mu.Lock()
	sc.report.Bytes += read
	sc.mu.Unlock()
	sc.step(len(files))
	return nil
}

// batch scans files with one engine until each is answered for. When the engine
// dies, it runs again over what is left, now saying each line at once: in order, so
// that the first unanswered file is the one that it dies of.
func (sc *scan) batch(ctx context.Context, t tool, files []int) error {
	all, byLine := len(files), len(files) == 1
	for len(files) > 0 {
		if sc.tooManyFailures() {
			for _, i := range files {
				sc.gap(i, t.name(), fmt.Sprintf("not scanned: the engine had failed on %d files", Caps.Failures))
			}
			break
		}
		left, why, err := sc.once(ctx, t, files, byLine)
		if err != nil {
			return err
		}
		if why == "" || len(left) == 0 {
			break
		}
		if !byLine {
			files, byLine = left, true
			continue
		}
		sc.gap(left[0], t.name(), why)
		sc.mu.Lock()
		sc.failures++
		sc.mu.Unlock()
		files = left[1:]
	}
	sc.step(all)
	return nil
}

func (sc *scan) tooManyFailures() bool {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	return sc.failures >= Caps.Failures
}

func (sc *scan) found(i int, kind, name string, in In) {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	h := Hit{File: i, Kind: kind, Rule: name}
	if _, known := sc.hits[h]; !known && len(sc.hits) >= Caps.Hits {
		sc.report.Notices = append(sc.report.Notices, fmt.Sprintf("there are more than %d hits", Caps.Hits))
		return
	}
	sc.hits[h] |= in
}

func (sc *scan) gap(i int, engine, why string) {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	sc.report.Gaps = append(sc.report.Gaps, Gap{i, engine, why})
}

func (sc *scan) step(n int) {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	sc.done += n
	if sc.progress != nil {
		sc.progress(Progress{sc.done, sc.total})
	}
}
