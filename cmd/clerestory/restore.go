package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/ledger/logread"
	"clerestory.dev/clerestory/internal/ledger/tile"
)

type restoreCmd struct {
	Archive string `arg:"" type:"existingfile" help:"What clerestory backup wrote."`
	Folder  string `arg:"" type:"path" help:"The vendor's folder to make; it must be empty or missing."`
}

// restoreLimits are the caps on an archive, in one place: it may come from
// anywhere.
var restoreLimits = struct {
	Files    int   // files
	Name     int   // bytes of a name
	Deep     int   // folders within folders
	Manifest int64 // bytes
	Ratio    int64 // bytes unpacked for each byte of the archive
	Free     int64 // bytes that may be unpacked whatever the ratio
}{Files: 5_000_000, Name: 512, Deep: 16, Manifest: 1 << 30, Ratio: 200, Free: 64 << 20}

// Run unpacks beside the place, checks everything, and moves the folder there.
func (c *restoreCmd) Run(ctx context.Context, t *terminal) error {
	if entries, err := os.ReadDir(c.Folder); err == nil && len(entries) > 0 {
		return fault.Conflict.New("%s is not empty: nothing is restored over anything", c.Folder)
	}
	parent := filepath.Dir(c.Folder)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return fault.Unavailable.New("making the folder: %w", err)
	}
	building, err := os.MkdirTemp(parent, ".clerestory-restore-")
	if err != nil {
		return fault.Unavailable.New("making the folder: %w", err)
	}
	defer os.RemoveAll(building)
	files, err := unpack(ctx, c.Archive, building)
	if err != nil {
		return fmt.Errorf("restoring %s: %w", c.Archive, err)
	}
	r := &restored{term: t, files: files}
	if err := r.check(ctx, building); err != nil {
		return fmt.Errorf("restoring %s: %w", c.Archive, err)
	}
	os.Remove(c.Folder) // an empty one may be in the way
	if err := os.Rename(building, c.Folder); err != nil {
		return fault.Unavailable.New("putting the folder in its place: %w", err)
	}
	r.tell(c.Folder)
	return nil
}

// unpack writes the files of an archive into dir and compares them with its
// manifest, in both directions. It returns how many there are.
func unpack(ctx context.Context, archive, dir string) (int, error) {
	f, err := os.Open(archive)
	if err != nil {
		return 0, fault.Invalid.New("opening the archive: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, fault.Unavailable.New("opening the archive: %w", err)
	}
	zip, err := gzip.NewReader(f)
	if err != nil {
		return 0, fault.Invalid.New("this is not an archive of clerestory backup: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, fault.Unavailable.New("opening the folder: %w", err)
	}
	defer root.Close()
	u := &unpacking{root: root, left: restoreLimits.Free + info.Size()*restoreLimits.Ratio, sums: map[string]string{}}
	r := tar.NewReader(zip)
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return 0, fault.Tampered.New("the archive is damaged or cut off: %w", err)
		}
		if err := u.entry(h, r); err != nil {
			return 0, err
		}
	}
	return len(u.sums), u.compare()
}

type unpacking struct {
	root     *os.Root
	left     int64             // bytes that may still be unpacked
	sums     map[string]string // by name, of what was unpacked
	manifest []byte
}

// entry unpacks a file that has a proper name and a size that fits.
func (u *unpacking) entry(h *tar.Header, r io.Reader) error {
	name := h.Name
	switch {
	case u.manifest != nil:
		return fault.Tampered.New("the archive goes on after its manifest")
	case h.Typeflag != tar.TypeReg:
		return fault.Tampered.New("the archive holds %q, which is not a file (a link or a device?)", plain(name))
	case !goodName(name):
		return fault.Tampered.New("the archive holds a file with the name %q, which no backup has", plain(name))
	case u.sums[name] != "":
		return fault.Tampered.New("the archive holds %s twice", plain(name))
	case len(u.sums) >= restoreLimits.Files:
		return fault.Tampered.New("the archive holds more than %d files", restoreLimits.Files)
	case h.Size > u.left:
		return fault.Tampered.New("the archive unpacks to more than %d times its size: this is no backup", restoreLimits.Ratio)
	}
	u.left -= h.Size
	if name == manifestFile {
		b, err := io.ReadAll(io.LimitReader(r, min(h.Size, restoreLimits.Manifest)))
		u.manifest = append([]byte{}, b...)
		if err != nil {
			return fault.Tampered.New("the archive is damaged or cut off: %w", err)
		}
		return nil
	}
	return u.write(name, h.FileInfo().Mode().Perm(), r)
}

// goodName takes the one spelling of names below the folder, and no others.
func goodName(name string) bool {
	if len(name) > restoreLimits.Name || !filepath.IsLocal(name) || path.Clean(name) != name || strings.Count(name, "/") > restoreLimits.Deep {
		return false
	}
	return !strings.ContainsAny(name, "\\:") && plain(name) == name && !strings.ContainsAny(name, "\n\t")
}

func (u *unpacking) write(name string, mode fs.FileMode, r io.Reader) error {
	if err := u.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return fault.Unavailable.New("writing %s: %w", name, err)
	}
	// Nothing of an archive gets to be executable, or writable for others.
	f, err := u.root.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_EXCL, mode&0o644|0o600)
	if err != nil {
		return fault.Tampered.New("writing %s: %w", name, err)
	}
	sum := sha256.New()
	in := &archived{Reader: r}
	_, err = io.Copy(io.MultiWriter(f, sum), in)
	err = errors.Join(err, f.Sync(), f.Close())
	if in.failed != nil {
		return fault.Tampered.New("the archive is damaged or cut off within %s: %w", name, in.failed)
	}
	if err != nil {
		return fault.Unavailable.New("writing %s: %w", name, err)
	}
	u.sums[name] = hex.EncodeToString(sum.Sum(nil))
	return nil
}

// archived tells a damaged archive from a full disk.
type archived struct {
	io.Reader
	failed error
}

func (a *archived) Read(p []byte) (int, error) {
	n, err := a.Reader.Read(p)
	if err != nil && err != io.EOF {
		a.failed = err
	}
	return n, err
}

// compare holds what was unpacked against the manifest.
func (u *unpacking) compare() error {
	if u.manifest == nil {
		return fault.Tampered.New("the archive has no manifest: it is cut off, or no backup")
	}
	seen := 0
	for l := range strings.Lines(string(u.manifest)) {
		sum, name, ok := strings.Cut(strings.TrimSuffix(l, "\n"), "  ")
		if have := u.sums[name]; !ok || have == "" || have != sum {
			return fault.Tampered.New("%q is not in the archive as its manifest says", plain(name))
		}
		seen++
	}
	if seen != len(u.sums) {
		return fault.Tampered.New("the archive holds %d files, but its manifest %d", len(u.sums), seen)
	}
	return nil
}

// restored is what was found out about a restored folder.
type restored struct {
	term     *terminal
	files    int
	log      *logread.Report // nil: nothing was published yet
	rows     int64           // statements in the database; -1: it is not here
	seen     int64           // entries that this machine saw of the log
	passFile bool            // config names a passphrase file that the archive does not have
}

// check reads the restored folder as a stranger would, and compares log and
// database.
func (r *restored) check(ctx context.Context, dir string) error {
	if !exists(filepath.Join(dir, configFile)) {
		return fault.Tampered.New("the archive has no %s", configFile)
	}
	h, err := openHome(dir)
	if err != nil {
		return err
	}
	trust, err := h.trust()
	if err != nil {
		return err
	}
	if r.rows, err = countRows(ctx, h); err != nil {
		return err
	}
	if name, ok := h.passphraseName(); ok {
		r.passFile = !exists(h.path(name))
	}
	// Without this machine's memory: it may rightly know a longer log than an old
	// backup has. That is said below, and is no forgery.
	if !exists(filepath.Join(h.logDir(), "checkpoint")) {
		return nil
	}
	r.log, err = logread.Check(ctx, tile.Dir(h.logDir()), trust.Policy, logread.Options{Progress: progress(r.term, "reading the log")})
	if err != nil {
		return err
	}
	if last, err := seenLogs().Last(trust.Policy); err == nil && last != nil {
		r.seen = last.Size
	}
	return nil
}

func countRows(ctx context.Context, h *home) (int64, error) {
	if strings.HasPrefix(h.config.Database, "postgres://") {
		return -1, nil
	}
	name, err := h.databaseFile()
	if err != nil {
		return 0, err
	}
	if !exists(h.path(name)) {
		return 0, fault.Tampered.New("the archive has no database %s", plain(name))
	}
	db, err := h.openDB(ctx)
	if err != nil {
		return 0, err
	}
	rows, err := db.Next(ctx)
	return rows, errors.Join(err, db.Close())
}

// tell says what was restored, and what has to be done before it may run.
func (r *restored) tell(dir string) {
	t := r.term
	t.printf("%s: %d files restored, each as the manifest says\n", line(dir), r.files)
	var steps []string
	if r.rows < 0 {
		steps = append(steps, "load the PostgreSQL database: pg_restore "+filepath.Join(dir, dumpFile)+" (or your own dump)")
	}
	if r.log == nil {
		t.printf("the log was not published yet when this was backed up\n")
	} else {
		size := r.log.Checkpoint.Size
		t.printf("the log is whole: %d entries, %d witnesses cosigned its checkpoint\n", size, len(r.log.Checkpoint.Cosigned))
		if r.seen > size {
			steps = append(steps, fmt.Sprintf("this machine saw %d entries of the log, and the backup ends at %d: bring the missing ones back before anything is written, or the log forks (clerestory log mirror LOG %s, from whoever has a copy; then clerestory log adopt)", r.seen, size, filepath.Join(dir, "log")))
		}
		if r.rows >= 0 && size > r.rows {
			steps = append(steps, fmt.Sprintf("the log is ahead of the database (%d entries, %d rows): clerestory log adopt --dir %s", size, r.rows, dir))
		}
	}
	if r.passFile {
		steps = append(steps, "put the passphrase file back that config.yaml names: the backup leaves it out")
	}
	for i, s := range slices.All(steps) {
		t.printf("%s %d. %s\n", t.style(amber, "to do"), i+1, line(s))
	}
}
