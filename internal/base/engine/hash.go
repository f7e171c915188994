package engine

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"clerestory.dev/clerestory/internal/base/fault"
)

// hashes are the hash lists of one or two rule sets.
type hashes struct {
	list      map[string][]hashEntry // by digest, as bytes
	sha1, md5 bool                   // whether some digest is of this kind
}

type hashEntry struct {
	name string
	size int64 // -1: any
	in   In
}

// readHashes reads hash:size:name lines; the digest's length says its kind.
func readHashes(old, new []Entry) (*hashes, error) {
	h := &hashes{list: make(map[string][]hashEntry, max(len(old), len(new)))}
	var refused Refused
	for _, side := range []struct {
		in      In
		entries []Entry
	}{{Old, old}, {New, new}} {
		for _, e := range side.entries {
			if err := h.add(side.in, e.Line); err != nil && len(refused) < 100 {
				refused = append(refused, Problem{File: e.File, Line: e.At, Rule: e.Name, Text: err.Error()})
			}
		}
	}
	if len(refused) > 0 {
		return nil, fault.Invalid.New("reading hash lists: %w", refused)
	}
	return h, nil
}

func (h *hashes) add(in In, line string) error {
	f := strings.SplitN(line, ":", 4)
	if len(f) < 3 || f[2] == "" {
		return fmt.Errorf("a hash line is hash:size:name")
	}
	digest, err := hex.DecodeString(f[0])
	if err != nil {
		return fmt.Errorf("%.70q is no hash: it is not hex", f[0])
	}
	switch len(digest) {
	case md5.Size:
		h.md5 = true
	case sha1.Size:
		h.sha1 = true
	case sha256.Size:
	default:
		return fmt.Errorf("a hash of %d bytes is neither MD5, SHA-1 nor SHA-256", len(digest))
	}
	size := int64(-1)
	if f[1] != "*" {
		if size, err = strconv.ParseInt(f[1], 10, 64); err != nil || size < 0 {
			return fmt.Errorf("%.30q is no size", f[1])
		}
	}
	list := h.list[string(digest)]
	for i := range list {
		if list[i].name == f[2] && list[i].size == size {
			list[i].in |= in
			return nil
		}
	}
	h.list[string(digest)] = append(list, hashEntry{f[2], size, in})
	return nil
}

// reader reads the files of one batch.
type reader struct {
	roots map[string]*os.Root
	buf   []byte
}

func (r *reader) close() {
	for _, root := range r.roots {
		root.Close()
	}
}

// open opens a regular file. A pipe that took its place must not hold us; a link
// not lead us on.
func (r *reader) open(t Target) (*os.File, error) {
	if t.Path == "" {
		t.Root, t.Path = filepath.Dir(t.Root), filepath.Base(t.Root)
	}
	root := r.roots[t.Root]
	if root == nil {
		var err error
		if root, err = os.OpenRoot(t.Root); err != nil {
			return nil, err
		}
		r.roots[t.Root] = root
	}
	f, err := root.OpenFile(t.Path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		f.Close()
		return nil, fmt.Errorf("%s is no regular file any more: %w", t.Path, fs.ErrInvalid)
	}
	return f, nil
}

// look reads a file once: its SHA-256, and what the lists say of it.
func (h *hashes) look(r *reader, t Target, found func(name string, in In)) (sum [32]byte, size int64, err error) {
	f, err := r.open(t)
	if err != nil {
		return sum, 0, err
	}
	defer f.Close()
	main := sha256.New()
	sums := []hash.Hash{main}
	if h.sha1 {
		sums = append(sums, sha1.New())
	}
	if h.md5 {
		sums = append(sums, md5.New())
	}
	for {
		n, err := f.Read(r.buf)
		for _, s := range sums {
			s.Write(r.buf[:n])
		}
		if size += int64(n); err == io.EOF {
			break
		}
		if err != nil {
			return sum, 0, err
		}
	}
	for _, s := range sums {
		for _, e := range h.list[string(s.Sum(nil))] {
			if e.size < 0 || e.size == size {
				found(e.name, e.in)
			}
		}
	}
	main.Sum(sum[:0])
	return sum, size, nil
}
