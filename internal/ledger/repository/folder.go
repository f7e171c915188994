package repository

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"clerestory.dev/clerestory/internal/base/atomicfile"
	"clerestory.dev/clerestory/internal/base/fault"
)

// maxMetadata bounds a file of metadata that is read back, in bytes.
const maxMetadata = 64 << 20

func (s *Service) file(name string) string { return filepath.Join(s.Dir, filepath.FromSlash(name)) }

// lock keeps other writers of this folder out, in this process and in others.
// The lock file stands beside the folder: what is in it is public.
func (s *Service) lock() (unlock func(), err error) {
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return nil, fault.Unavailable.New("opening the repository: %w", err)
	}
	f, err := os.OpenFile(strings.TrimRight(s.Dir, "/")+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fault.Unavailable.New("locking the repository: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fault.Unavailable.New("locking the repository: %w", err)
	}
	return func() { f.Close() }, nil
}

// write replaces a file of metadata; its folder is made when it is missing.
func (s *Service) write(name string, content []byte) error {
	if err := s.makeDir(filepath.Dir(s.file(name))); err != nil {
		return err
	}
	if err := atomicfile.Write(s.file(name), content, 0o644); err != nil {
		return fault.Unavailable.New("publishing: %w", err)
	}
	return nil
}

// makeDir makes a folder that outlives a power cut.
func (s *Service) makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if dir != s.Dir {
		if err := s.makeDir(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	err := os.Mkdir(dir, 0o755)
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	if err = errors.Join(err, atomicfile.SyncDir(filepath.Dir(dir))); err != nil {
		return fault.Unavailable.New("publishing: making a folder: %w", err)
	}
	return nil
}

// place copies a blob to where clients look for it, in constant memory. Its name
// carries its hash, so what is there already is right. The caller syncs the
// folder that it is in, and is told whether that is needed.
func (s *Service) place(name, sha string, size int64) (placed bool, err error) {
	if s.isThere(name, int(size)) {
		return false, nil
	}
	to := s.file(name)
	if err := s.makeDir(filepath.Dir(to)); err != nil {
		return false, err
	}
	in, err := s.Blobs.Open(sha)
	if err != nil {
		return false, err
	}
	defer in.Close()
	out, err := os.CreateTemp(filepath.Dir(to), ".new-")
	if err != nil {
		return false, fault.Unavailable.New("publishing %s: %w", name, err)
	}
	defer os.Remove(out.Name()) // gone after the rename
	defer out.Close()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(out, sum), in)
	if err != nil {
		return false, fault.Unavailable.New("publishing %s: %w", name, err)
	}
	if n != size || hex.EncodeToString(sum.Sum(nil)) != sha {
		return false, fault.Tampered.New("publishing %s: the stored bytes are not those that were released", name)
	}
	err = errors.Join(out.Chmod(0o644), out.Sync())
	if err == nil {
		err = os.Rename(out.Name(), to)
	}
	if err != nil {
		return false, fault.Unavailable.New("publishing %s: %w", name, err)
	}
	return true, nil
}

// isThere tells whether a file is there with its size. Names that carry a number
// or a hash have one content.
func (s *Service) isThere(name string, size int) bool {
	info, err := os.Stat(s.file(name))
	return err == nil && info.Mode().IsRegular() && info.Size() == int64(size)
}

// newestFile is the highest number of a role's metadata in the folder, or 0.
func (s *Service) newestFile(role string) (int64, error) {
	if role == metadata.TIMESTAMP {
		t, err := s.readTimestamp()
		if t == nil || err != nil {
			return 0, err
		}
		return t.Signed.Version, nil
	}
	entries, err := os.ReadDir(s.file("metadata"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fault.Unavailable.New("reading the repository: %w", err)
	}
	var newest int64
	for _, e := range entries {
		number, rest, _ := strings.Cut(e.Name(), ".")
		if n, err := strconv.ParseInt(number, 10, 64); err == nil && rest == role+".json" {
			newest = max(newest, n)
		}
	}
	return newest, nil
}

// newestRoot is the version of the root that clients find in the folder, or 0.
func (s *Service) newestRoot() (int64, error) { return s.newestFile(metadata.ROOT) }

// readTimestamp reads what clients get first; nil when there is none yet.
func (s *Service) readTimestamp() (*metadata.Metadata[metadata.TimestampType], error) {
	content, err := s.readFile(timestampFile)
	if content == nil || err != nil {
		return nil, err
	}
	t, err := metadata.Timestamp().FromBytes(content)
	if err != nil {
		return nil, fault.Tampered.New("reading %s: %w", timestampFile, err)
	}
	return t, nil
}

// readFile reads metadata; a file that is not there is nil.
func (s *Service) readFile(name string) ([]byte, error) {
	f, err := os.Open(s.file(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.Unavailable.New("reading the repository: %w", err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxMetadata+1))
	if err == nil && len(content) > maxMetadata {
		err = fmt.Errorf("%s has more than %d bytes", name, maxMetadata)
	}
	if err != nil {
		return nil, fault.Unavailable.New("reading the repository: %w", err)
	}
	return content, nil
}
