package programme

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"clerestory.dev/clerestory/statement"
)

// File is one file of the folder.
type File struct {
	Path    string // slash-separated, in the folder
	SHA256  string // hex
	Content []byte
}

func newFile(name string, content []byte) File {
	sum := sha256.Sum256(content)
	return File{name, hex.EncodeToString(sum[:]), content}
}

// errEnough ends the walk through a folder that has too much of something.
var errEnough = errors.New("enough")

// load reads every file of the folder within the caps. What begins with a dot
// (.git, .schema) is no part of the programme. The error is for what could not
// be read at all; what is wrong with the folder becomes problems.
func (r *reader) load(folder fs.FS) ([]File, error) {
	var files []File
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
			folders++
			return r.enter(name, folders)
		}
		if !r.allowed(name, d, folded) {
			return nil
		}
		if len(files) == Limits.Files {
			r.say(place{name, 1, 1}, fmt.Sprintf("the folder has more than %d files", Limits.Files), "leave out or join files")
			return errEnough
		}
		content, err := r.content(folder, name)
		if err != nil || content == nil {
			return err
		}
		if total += int64(len(content)); total > Limits.Folder {
			r.say(place{name, 1, 1}, fmt.Sprintf("the folder has more than %d MiB", Limits.Folder>>20), "leave out or shorten files")
			return errEnough
		}
		f := newFile(name, content)
		r.checkText(f)
		files = append(files, f)
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	byPath(files)
	return files, nil
}

func byPath(files []File) {
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
}

func (r *reader) enter(name string, folders int) error {
	if folders > Limits.Folders || strings.Count(name, "/") >= Limits.Deep {
		r.say(place{name, 1, 1}, fmt.Sprintf("the folder has more than %d folders, or more than %d within each other", Limits.Folders, Limits.Deep), "remove what does not belong to the programme")
		return errEnough
	}
	return nil
}

// allowed tells whether the programme can have such a file; it looks at the
// file's name and type only, because to open a pipe could wait for ever.
func (r *reader) allowed(name string, d fs.DirEntry, folded map[string]string) bool {
	at := place{name, 1, 1}
	switch {
	case d.Type()&fs.ModeSymlink != 0:
		r.say(at, "this is a link", "put the file itself here: what a link leads to can change unseen")
		return false
	case !d.Type().IsRegular():
		r.say(at, "this is not a regular file", "remove it")
		return false
	}
	if err := statement.CheckFileName(name); err != nil || strings.ContainsFunc(name, hostile) {
		r.say(at, "the file name has characters that are not allowed", "rename it: letters, digits, '.', '_' and '-' are always right")
		return false
	}
	if !slices.ContainsFunc(kinds, func(k kind) bool { return matches(k.pattern, name) }) {
		r.say(at, "a programme has no such file", "remove it, or rename it to one of: "+patterns())
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
func (r *reader) content(folder fs.FS, name string) ([]byte, error) {
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
	content, err := io.ReadAll(io.LimitReader(f, Limits.File+1))
	if err != nil {
		return nil, err
	}
	if int64(len(content)) > Limits.File {
		r.say(place{name, 1, 1}, fmt.Sprintf("the file has more than %d KiB", Limits.File>>10), "shorten or split it")
		return nil, nil
	}
	return content, nil
}

// checkList refuses a folder whose list of files would not fit into a statement.
func (r *reader) checkList(files []File) {
	list, err := json.Marshal(fileList(files))
	if err != nil || len(list) > Limits.FileList {
		r.say(place{Main, 1, 1}, fmt.Sprintf("the list of file names and hashes has %d bytes; a statement holds %d", len(list), Limits.FileList), "use fewer files or shorter names")
	}
}

func fileList(files []File) map[string]string {
	list := make(map[string]string, len(files))
	for _, f := range files {
		list[f.Path] = f.SHA256
	}
	return list
}

func matches(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return err == nil && ok
}

func patterns() string {
	var all []string
	for _, k := range kinds {
		all = append(all, k.pattern)
	}
	return strings.Join(all, ", ")
}

// DigestText is the text whose SHA-256 is the folder's digest: for each file, in
// the order of the paths' bytes, its SHA-256 in hex, two spaces, its path and a
// line feed. It is what sha256sum prints, so anyone can make it with that tool.
func (p *Programme) DigestText() string {
	var b strings.Builder
	for _, f := range p.Files {
		fmt.Fprintf(&b, "%s  %s\n", f.SHA256, f.Path)
	}
	return b.String()
}

// Digest names the folder's exact content: the SHA-256 of [Programme.DigestText]
// in hex.
func (p *Programme) Digest() string {
	sum := sha256.Sum256([]byte(p.DigestText()))
	return hex.EncodeToString(sum[:])
}

// File finds a file of the folder by its path.
func (p *Programme) File(name string) (File, bool) {
	i, ok := slices.BinarySearchFunc(p.Files, name, func(f File, name string) int { return strings.Compare(f.Path, name) })
	if !ok {
		return File{}, false
	}
	return p.Files[i], true
}

// Policies are the Cedar files, sorted by path; nothing here has parsed them.
func (p *Programme) Policies() []File {
	var found []File
	for _, f := range p.Files {
		if matches("policies/*.cedar", f.Path) {
			found = append(found, f)
		}
	}
	return found
}
