package detection

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/statement"
)

// Main and ManifestName are the files that make a folder a base, and a released
// one.
const (
	Main         = "base.yaml"
	ManifestName = "manifest.json"
)

// errEnough ends the walk through a folder that has too much of something.
var errEnough = errors.New("enough")

// OpenDir reads the base in the folder at dir. What is wrong with the folder comes
// as [Problems], an Invalid error. A folder in released form is read as well, and
// held against its manifest.
func OpenDir(dir string) (*Base, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fault.NotFound.New("opening the base: %w", err)
	}
	defer root.Close()
	b, err := Read(root.FS())
	if err != nil {
		return nil, fmt.Errorf("reading the base %s: %w", dir, err)
	}
	return b, nil
}

// Read reads the base in a folder; see [OpenDir].
func Read(folder fs.FS) (*Base, error) {
	r := &reader{}
	files, err := r.load(folder)
	if err != nil {
		return nil, fault.Unavailable.New("reading the folder: %w", err)
	}
	return r.base(files)
}

// base makes a base of its files.
func (r *reader) base(files []Source) (*Base, error) {
	slices.SortFunc(files, func(a, b Source) int { return strings.Compare(a.Path, b.Path) })
	b := &Base{Entries: map[string][]Entry{}, Files: files}
	about, manifest := "", ""
	for _, f := range files {
		switch f.Path {
		case Main:
			about = f.Content
		case ManifestName:
			manifest = f.Content
		}
	}
	switch {
	case manifest != "":
		r.released(b, manifest)
	case about == "":
		r.say(place{Main, 1, 1}, "the folder has no base.yaml", "add one: it says what the base is called and who owns it (docs/guide/bases.md)")
	default:
		r.about(b, about)
	}
	for _, f := range files {
		if r.full() {
			break
		}
		if f.Path != Main && f.Path != ManifestName && r.checkText(f.Path, f.Content) {
			r.parse(b, f)
		}
	}
	r.finish(b)
	if problems := r.sorted(); len(problems) > 0 {
		return nil, fault.Invalid.New("%w", problems)
	}
	return b, nil
}

func (r *reader) parse(b *Base, f Source) {
	switch strings.TrimPrefix(path.Ext(f.Path), ".") {
	case YARA:
		r.rules(b, f)
	case Hashes:
		r.entries(b, f, Hashes, r.hashLine)
	case Pattern:
		r.entries(b, f, Pattern, r.patternLine)
	case Logical:
		r.entries(b, f, Logical, r.logicalLine)
	}
}

// finish sorts, finds doubles, and checks what needs the whole base.
func (r *reader) finish(b *Base) {
	for _, d := range released {
		sortEntries(b.Entries[d.format])
		r.doubles(b.Entries[d.format], d.format)
	}
	slices.Sort(b.Imports)
	b.Imports = slices.Compact(b.Imports)
	r.order(b)
}

// load reads every file of the folder within the caps. What begins with a dot is
// no part of the base; README and other Markdown is for people, and not read.
func (r *reader) load(folder fs.FS) ([]Source, error) {
	var files []Source
	var total int64
	folders := 0
	folded := map[string]string{}
	err := fs.WalkDir(folder, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name == "." {
			return nil
		}
		if strings.HasPrefix(d.Name(), ".") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			if folders++; folders > Caps.Folders || strings.Count(name, "/") >= Caps.Deep {
				r.say(place{name, 1, 1}, fmt.Sprintf("the base has more than %d folders, or more than %d within each other", Caps.Folders, Caps.Deep), "join folders")
				return errEnough
			}
			return nil
		}
		if !r.allowed(name, d.Type(), folded) {
			return nil
		}
		f, err := r.content(folder, name)
		if err != nil || f == nil {
			return err
		}
		if total += int64(len(f.Content)); !r.room(name, len(files), total) {
			return errEnough
		}
		files = append(files, *f)
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	return files, nil
}

// room tells whether a base may have one more file, with this total of bytes.
func (r *reader) room(name string, files int, total int64) bool {
	switch {
	case files == Caps.Files:
		r.say(place{name, 1, 1}, fmt.Sprintf("the base has more than %d files", Caps.Files), "join files")
	case total > Caps.Folder:
		r.say(place{name, 1, 1}, fmt.Sprintf("the base has more than %d MiB", Caps.Folder>>20), "split the base")
	default:
		return true
	}
	return false
}

// allowed tells whether a base can have such a file; it looks at the name and
// type only, because to open a pipe could wait for ever.
func (r *reader) allowed(name string, mode fs.FileMode, folded map[string]string) bool {
	at := place{name, 1, 1}
	switch {
	case mode&fs.ModeSymlink != 0:
		r.say(at, "this is a link", "put the file itself here: what a link leads to can change unseen")
		return false
	case !mode.IsRegular():
		r.say(at, "this is not a regular file", "remove it")
		return false
	}
	if err := statement.CheckFileName(name); err != nil || strings.ContainsFunc(name, hostile) || strings.Contains(name, "\ufffd") {
		r.say(at, "the file name has characters that are not allowed", "rename it: letters, digits, '.', '_' and '-' are always right")
		return false
	}
	if path.Ext(name) == ".md" {
		return false // for people
	}
	known := name == Main || name == ManifestName
	for _, d := range released {
		known = known || path.Ext(name) == "."+d.format
	}
	if !known {
		r.say(at, "a base has no such file", "remove it, or rename it: *.yar, *.hsb, *.ndb, *.ldb, base.yaml and *.md belong to a base")
		return false
	}
	if other, ok := folded[strings.ToLower(name)]; ok {
		r.say(at, fmt.Sprintf("the name differs from %s only in case", other), "rename one: some computers can not hold both")
		return false
	}
	folded[strings.ToLower(name)] = name
	return true
}

// content reads one file; nil means that it became a problem.
func (r *reader) content(folder fs.FS, name string) (*Source, error) {
	f, err := folder.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // it was swapped after the walk saw it
		r.say(place{name, 1, 1}, "this is not a regular file", "remove it")
		return nil, nil
	}
	var text strings.Builder
	text.Grow(int(min(info.Size(), Caps.File)) + 1)
	n, err := io.Copy(&text, io.LimitReader(f, Caps.File+1))
	if err != nil {
		return nil, err
	}
	if n > Caps.File {
		r.say(place{name, 1, 1}, fmt.Sprintf("the file has more than %d MiB", Caps.File>>20), "split it")
		return nil, nil
	}
	return &Source{name, text.String()}, nil
}
