// Package blob keeps bytes by their SHA-256: put them once, get them verified.
//
// It promises that a blob that Put returned is on disk, whole (fsync of file and
// folder), and that Open never hands out bytes that do not have their hash.
// Putting the same bytes twice is the same as once. It does not delete.
package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"clerestory.dev/clerestory/internal/base/atomicfile"
	"clerestory.dev/clerestory/internal/base/fault"
)

// Disk keeps blobs in a folder: <dir>/<first two hex digits>/<sha256>.
type Disk struct {
	dir string

	mu      sync.Mutex
	checked map[string]time.Time // verified blobs, with the file's modification time then
}

// NewDisk uses dir, which is made when it is missing.
func NewDisk(dir string) (*Disk, error) {
	if err := os.MkdirAll(filepath.Join(dir, "incoming"), 0o750); err != nil {
		return nil, fault.Unavailable.New("opening the blob folder: %w", err)
	}
	return &Disk{dir: dir, checked: map[string]time.Time{}}, nil
}

// Info names a blob.
type Info struct {
	SHA256 string // hex
	Size   int64  // bytes
}

// Put streams r to disk, in constant memory. More than limit bytes are Invalid.
func (d *Disk) Put(ctx context.Context, r io.Reader, limit int64) (Info, error) {
	tmp, err := os.CreateTemp(filepath.Join(d.dir, "incoming"), "put-*")
	if err != nil {
		return Info{}, fault.Unavailable.New("storing a file: %w", err)
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	sum := sha256.New()
	n, err := io.CopyBuffer(io.MultiWriter(tmp, sum), &io.LimitedReader{R: withContext{ctx, r}, N: limit + 1}, make([]byte, 1<<20))
	if err != nil {
		return Info{}, fault.Unavailable.New("storing a file: %w", err)
	}
	if n > limit {
		return Info{}, fault.Invalid.New("storing a file: it has more than the %d bytes that are allowed", limit)
	}
	info := Info{hex.EncodeToString(sum.Sum(nil)), n}
	path := d.path(info.SHA256)
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return Info{}, fault.Unavailable.New("storing a file: %w", err)
	}
	if err := errors.Join(tmp.Chmod(0o440), tmp.Sync(), os.Rename(tmp.Name(), path), atomicfile.SyncDir(filepath.Dir(path)), atomicfile.SyncDir(d.dir)); err != nil {
		return Info{}, fault.Unavailable.New("storing a file: %w", err)
	}
	return info, nil
}

// Open opens a blob for reading and seeking, after its hash was checked (once
// per process and unchanged file). Damaged bytes are Tampered.
func (d *Disk) Open(sha string) (*os.File, error) {
	if raw, err := hex.DecodeString(sha); err != nil || len(raw) != sha256.Size || hex.EncodeToString(raw) != sha {
		return nil, fault.Invalid.New("a blob's name is 64 hex digits")
	}
	f, err := os.Open(d.path(sha))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.NotFound.New("there is no blob %s", sha)
	}
	if err != nil {
		return nil, fault.Unavailable.New("opening blob %s: %w", sha, err)
	}
	if err := d.check(f, sha); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (d *Disk) check(f *os.File, sha string) error {
	info, err := f.Stat()
	if err != nil {
		return fault.Unavailable.New("opening blob %s: %w", sha, err)
	}
	d.mu.Lock()
	seen, ok := d.checked[sha]
	d.mu.Unlock()
	if ok && seen.Equal(info.ModTime()) {
		return nil
	}
	sum := sha256.New()
	if _, err := io.CopyBuffer(sum, f, make([]byte, 1<<20)); err != nil {
		return fault.Unavailable.New("reading blob %s: %w", sha, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != sha {
		return fault.Tampered.New("blob %s is damaged: its bytes have the hash %s", sha, got)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fault.Unavailable.New("reading blob %s: %w", sha, err)
	}
	d.mu.Lock()
	d.checked[sha] = info.ModTime()
	d.mu.Unlock()
	return nil
}

func (d *Disk) path(sha string) string { return filepath.Join(d.dir, sha[:2], sha) }

// withContext makes a long copy stop when its caller gives up.
type withContext struct {
	ctx context.Context
	r   io.Reader
}

func (w withContext) Read(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, fmt.Errorf("interrupted: %w", err)
	}
	return w.r.Read(p)
}
