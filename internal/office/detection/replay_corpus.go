package detection

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"clerestory.dev/clerestory/internal/base/engine"
	"clerestory.dev/clerestory/internal/base/fault"
)

// Corpus is a folder of files, or one file, under the name that the programme has
// for it.
type Corpus struct {
	Name, Path string
}

// CorpusResult is what was in a corpus, and how much of it the bases detect.
type CorpusResult struct {
	Name    string `json:"name"`
	Known   bool   `json:"known"` // else clean
	Files   int    `json:"files"`
	Bytes   int64  `json:"bytes"`
	Skipped int    `json:"skipped"` // links, devices, pipes: not followed, not opened
	// Digest is the SHA-256 of the lines "sha256  name\n" of its files, sorted by name.
	Digest      string `json:"digest"`
	DetectedOld int    `json:"detectedOld"` // files
	DetectedNew int    `json:"detectedNew"`
}

// gathered is all files of all corpora, corpus by corpus.
type gathered struct {
	corpora []CorpusResult
	first   []int // index of the first file of each corpus, and of none behind the last
	targets []engine.Target
}

// corpus finds the corpus of a file.
func (g *gathered) corpus(file int) *CorpusResult {
	for i := range g.corpora {
		if file < g.first[i+1] {
			return &g.corpora[i]
		}
	}
	panic("a file of no corpus")
}

func (g *gathered) known(file int) bool { return g.corpus(file).Known }

// gather lists the files of all corpora, by name. Links are not followed; what is
// no regular file is not opened.
func (s Setup) gather(ctx context.Context) (*gathered, error) {
	g := &gathered{first: []int{0}}
	names := map[string]bool{}
	var total int64
	for i, c := range append(append([]Corpus(nil), s.Clean...), s.Known...) {
		if names[c.Name] || c.Name == "" {
			return nil, fault.Invalid.New("the corpus %q needs a name of its own", c.Name)
		}
		names[c.Name] = true
		begin := len(g.targets)
		result := CorpusResult{Name: c.Name, Known: i >= len(s.Clean)}
		if err := s.walk(ctx, c, g, &result, &total); err != nil {
			return nil, fmt.Errorf("the corpus %s: %w", c.Name, err)
		}
		result.Files = len(g.targets) - begin
		g.corpora = append(g.corpora, result)
		g.first = append(g.first, len(g.targets))
	}
	return g, nil
}

func (s Setup) walk(ctx context.Context, c Corpus, g *gathered, result *CorpusResult, total *int64) error {
	abs, err := filepath.Abs(c.Path)
	if err != nil {
		return err
	}
	st, err := os.Stat(abs)
	if errors.Is(err, fs.ErrNotExist) {
		return fault.NotFound.New("there is no %s", c.Path)
	}
	if err != nil {
		return err
	}
	dir, only := abs, "."
	if !st.IsDir() {
		dir, only = filepath.Dir(abs), filepath.Base(abs)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), filepath.ToSlash(only), func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return fault.Unavailable.New("it can not be read in full: %w", err)
		}
		if d.IsDir() {
			return ctx.Err()
		}
		if !d.Type().IsRegular() {
			result.Skipped++
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return fault.Unavailable.New("it changes while it is read: %w", err)
		}
		result.Bytes += info.Size()
		*total += info.Size()
		switch {
		case len(g.targets) == s.Limits.Files:
			return fault.Invalid.New("the corpora have more than %d files", s.Limits.Files)
		case *total > s.Limits.Bytes:
			return fault.Invalid.New("the corpora have more than %d MiB", s.Limits.Bytes>>20)
		case info.Size() > s.Limits.File:
			return fault.Invalid.New("%s has more than %d MiB", plain(name), s.Limits.File>>20)
		}
		t := engine.Target{Root: dir, Path: filepath.FromSlash(path.Clean(name)), Size: info.Size()}
		if only != "." {
			t.Root, t.Path = abs, ""
		}
		g.targets = append(g.targets, t)
		return nil
	})
}

// name is a file as people are told of it, relative to its corpus.
func (g *gathered) name(file int) string {
	t := g.targets[file]
	if t.Path == "" {
		return filepath.Base(t.Root)
	}
	return filepath.ToSlash(t.Path)
}

// digest is what names the content of a corpus.
func (g *gathered) digest(i int, sums [][32]byte) string {
	h := sha256.New()
	for f := g.first[i]; f < g.first[i+1]; f++ {
		fmt.Fprintf(h, "%x  %s\n", sums[f], g.name(f))
	}
	return hex.EncodeToString(h.Sum(nil))
}
