package detection

import (
	"bytes"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// memory is a flat folder of files that were read already.
type memory map[string][]byte

// Open implements fs.FS.
func (m memory) Open(name string) (fs.File, error) {
	if name == "." {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid} // ReadDir has it
	}
	text, ok := m[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &opened{entry{name, int64(len(text))}, bytes.NewReader(text)}, nil
}

// ReadDir implements fs.ReadDirFS.
func (m memory) ReadDir(string) ([]fs.DirEntry, error) {
	var all []fs.DirEntry
	for name, text := range m {
		all = append(all, entry{name, int64(len(text))})
	}
	slices.SortFunc(all, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return all, nil
}

// Stat implements fs.StatFS: a walk asks what its beginning is.
func (m memory) Stat(name string) (fs.FileInfo, error) {
	if name == "." {
		return folder{entry{".", 0}}, nil
	}
	text, ok := m[name]
	if !ok {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
	}
	return entry{name, int64(len(text))}, nil
}

type opened struct {
	entry
	*bytes.Reader
}

func (o *opened) Stat() (fs.FileInfo, error) { return o.entry, nil }
func (o *opened) Close() error               { return nil }
func (o *opened) Size() int64                { return o.entry.Size() }

// entry is a file as a folder lists it, and what is known of it.
type entry struct {
	name string
	size int64
}

func (e entry) Name() string               { return e.name }
func (e entry) Size() int64                { return e.size }
func (e entry) IsDir() bool                { return false }
func (e entry) Type() fs.FileMode          { return 0 }
func (e entry) Mode() fs.FileMode          { return 0o444 }
func (e entry) ModTime() time.Time         { return time.Time{} }
func (e entry) Sys() any                   { return nil }
func (e entry) Info() (fs.FileInfo, error) { return e, nil }

type folder struct{ entry }

func (folder) IsDir() bool       { return true }
func (folder) Mode() fs.FileMode { return fs.ModeDir | 0o555 }
