package witness

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

	"clerestory.dev/clerestory/internal/base/atomicfile"
	"clerestory.dev/clerestory/internal/base/crash"
	"clerestory.dev/clerestory/internal/base/fault"
)

// folder is the witness's durable state: small files, replaced whole. It belongs
// to one process: a second one with its own idea of the last checkpoint would
// cosign a fork.
type folder struct {
	dir  string
	lock *os.File
}

const (
	lockName  = "lock"
	tmpSuffix = ".tmp"
)

func idOf(origin string) string {
	sum := sha256.Sum256([]byte(origin))
	return hex.EncodeToString(sum[:])
}

func checkpointName(id string) string { return id + ".checkpoint" }
func forkName(id string) string       { return id + ".fork" }

func openFolder(dir string) (*folder, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("opening witness folder: %w", err)
	}
	if err := makeFolder(dir); err != nil {
		return nil, fmt.Errorf("making witness folder: %w", err)
	}
	f := &folder{dir: dir}
	if err := f.take(); err != nil {
		return nil, err
	}
	// What a crash left before its rename was never answered.
	left, _ := filepath.Glob(filepath.Join(dir, "*"+tmpSuffix))
	for _, name := range left {
		os.Remove(name)
	}
	return f, nil
}

// take locks the folder until the process ends, however it ends.
func (f *folder) take() error {
	lock, err := os.OpenFile(f.path(lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("locking witness folder: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer lock.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("locking witness folder %s: %w", f.dir, err)
		}
		holder := "another process"
		text, _ := io.ReadAll(io.LimitReader(lock, 32))
		if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			holder = fmt.Sprintf("process %d", pid)
		}
		return fault.Conflict.New("witness folder %s is in use by %s: stop it, or give this witness a folder of its own", f.dir, holder)
	}
	// The number only helps a person; the lock itself does not need it.
	if lock.Truncate(0) == nil {
		lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	f.lock = lock
	return nil
}

func (f *folder) close() error { return f.lock.Close() }

func (f *folder) path(name string) string { return filepath.Join(f.dir, name) }

// read returns nil without an error when there is no such file.
func (f *folder) read(name string, max int64) ([]byte, error) {
	file, err := os.Open(f.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading witness state: %w", err)
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, max+1))
	if err == nil && (len(raw) == 0 || int64(len(raw)) > max) {
		// An empty file is no "never cosigned": that would be a way back to size 0.
		err = fault.Tampered.New("it has %d bytes or more, which this witness never wrote", len(raw))
	}
	if err != nil {
		return nil, fmt.Errorf("reading witness state %s: %w", file.Name(), err)
	}
	return raw, nil
}

func (f *folder) has(name string) (bool, error) {
	_, err := os.Stat(f.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// write replaces a file. When it returns nil, the new content outlives a power
// cut; until the rename, the old one does.
func (f *folder) write(name string, data []byte) error {
	tmp := f.path(name + tmpSuffix)
	file, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		os.Remove(tmp)
		return err
	}
	crash.Point("witness.before-rename")
	if err := os.Rename(tmp, f.path(name)); err != nil {
		return err
	}
	return atomicfile.SyncDir(f.dir)
}

// makeFolder makes dir and its parents so that they too outlive a power cut: a
// state folder that vanishes would put the witness back to the start.
func makeFolder(dir string) error {
	if info, err := os.Stat(dir); err == nil {
		if !info.IsDir() {
			return fault.Invalid.New("%s is not a folder", dir)
		}
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := makeFolder(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return atomicfile.SyncDir(parent)
}
