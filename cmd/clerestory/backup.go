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
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
)

type backupCmd struct {
	Out               string `type:"path" help:"The archive to write, FILE.tar.gz (default: a name with the time, in the current folder)."`
	IncludePassphrase bool   `help:"Put the file with the passphrase in as well: who gets the archive then has the keys."`
}

func (c *backupCmd) Help() string {
	return "It may run while the server runs. Keys are in the archive as they are on disk, encrypted. Restore with: clerestory restore ARCHIVE DIR."
}

// Names inside an archive.
const (
	manifestFile = "MANIFEST.sha256" // the last file: sums of all the others, as sha256sum writes them
	dumpFile     = "database.pgdump" // what pg_dump wrote, for a PostgreSQL database
)

// backedUp are the parts of a vendor's folder after the database, in the order
// in which they are copied; see [backup.write].
var backedUp = []string{"log", "blobs", "keys", "root-keys", "roots", "trusted_root.json", "programme", "repository", configFile}

// Run writes the archive beside its place and moves it there when it is whole.
func (c *backupCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	h, err := openHome(cli.Dir)
	if err != nil {
		return err
	}
	if c.Out == "" {
		c.Out = "clerestory-" + time.Now().UTC().Format("20060102T150405Z") + ".tar.gz"
	}
	if !strings.HasSuffix(c.Out, ".tar.gz") && !strings.HasSuffix(c.Out, ".tgz") {
		return fault.Invalid.New("--out %s: archives are gzipped; name it FILE.tar.gz", c.Out)
	}
	if exists(c.Out) {
		return fault.Conflict.New("%s is there already: an archive is never overwritten", c.Out)
	}
	file, err := os.CreateTemp(filepath.Dir(c.Out), ".clerestory-backup-*") // readable by its owner only
	if err != nil {
		return fault.Unavailable.New("writing the archive: %w", err)
	}
	defer os.Remove(file.Name()) // gone after the rename
	defer file.Close()
	b := &backup{home: h, term: t, withPassphrase: c.IncludePassphrase}
	if err := b.write(ctx, file); err != nil {
		return fmt.Errorf("backing up %s: %w", h.dir, err)
	}
	if err := errors.Join(file.Sync(), file.Close(), os.Rename(file.Name(), c.Out)); err != nil {
		return fault.Unavailable.New("writing the archive: %w", err)
	}
	t.printf("%s: %d files, %d bytes before compression\n", line(c.Out), len(b.sums), b.bytes)
	return nil
}

// backup is one run of the command.
type backup struct {
	home           *home
	term           *terminal
	withPassphrase bool
	tar            *tar.Writer
	sums           []string
	bytes          int64
}

// write copies the database first. Whatever it says was published (entry
// numbers, files) is then in what is copied after it, and the log in the archive
// is never older than the database: what the log has beyond it, clerestory log
// adopt takes over. The other way round, a database would speak of entries that
// the archive can not prove.
func (b *backup) write(ctx context.Context, file io.Writer) error {
	zip := gzip.NewWriter(file)
	b.tar = tar.NewWriter(zip)
	if err := b.database(ctx); err != nil {
		return err
	}
	for _, part := range backedUp {
		if err := b.part(ctx, part); err != nil {
			return err
		}
	}
	if b.withPassphrase {
		name, ok := b.home.passphraseName()
		if !ok {
			return fault.Invalid.New("%s names no passphrase file within the folder: there is none to include", configFile)
		}
		if err := b.file(name, b.home.path(name)); err != nil {
			return err
		}
	}
	if err := b.put(manifestFile, 0o644, []byte(strings.Join(b.sums, ""))); err != nil {
		return err
	}
	return errors.Join(b.tar.Close(), zip.Close())
}

func (b *backup) database(ctx context.Context) error {
	tmp, err := os.MkdirTemp("", "clerestory-backup-")
	if err != nil {
		return fault.Unavailable.New("making room for the copy of the database: %w", err)
	}
	defer os.RemoveAll(tmp)
	copied := filepath.Join(tmp, "database")
	dsn := b.home.config.Database
	if strings.HasPrefix(dsn, "postgres://") {
		done, err := b.dump(ctx, dsn, copied)
		if err != nil || !done {
			return err
		}
		return b.file(dumpFile, copied)
	}
	name, err := b.home.databaseFile()
	if err != nil {
		return err
	}
	db, err := b.home.openDB(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(db.BackupTo(ctx, copied), db.Close()); err != nil {
		return err
	}
	return b.file(name, copied)
}

// passphraseName is the passphrase file's name below the vendor's folder, if it
// is there.
func (h *home) passphraseName() (string, bool) {
	name := h.config.PassphraseFile
	if filepath.IsAbs(name) {
		dir, err := filepath.Abs(h.dir)
		if err == nil {
			name, err = filepath.Rel(dir, name)
		}
		if err != nil {
			return "", false
		}
	}
	return filepath.ToSlash(filepath.Clean(name)), name != "" && filepath.IsLocal(name)
}

// databaseFile is where a SQLite database lies, below the vendor's folder.
func (h *home) databaseFile() (string, error) {
	name := h.config.Database
	if name == "" {
		name = "clerestory.db"
	}
	if !filepath.IsLocal(name) {
		return "", fault.Invalid.New("the database %s lies outside the vendor's folder: back it up with the folder that it is in", name)
	}
	return filepath.ToSlash(filepath.Clean(name)), nil
}

// dump lets pg_dump copy a PostgreSQL database: it knows how. The password goes
// by the environment, because everybody can read a command line.
func (b *backup) dump(ctx context.Context, dsn, to string) (bool, error) {
	program, err := exec.LookPath("pg_dump")
	if err != nil {
		b.term.note("the database is PostgreSQL and pg_dump is not installed here: run pg_dump before this backup, and keep its output with it; the rest is backed up now")
		return false, nil
	}
	u, err := url.Parse(dsn)
	if err != nil {
		return false, fault.Invalid.New("the database's address can not be read")
	}
	cmd := exec.CommandContext(ctx, program, "--format=custom", "--file="+to)
	if password, ok := u.User.Password(); ok {
		u.User = url.User(u.User.Username())
		cmd.Env = append(os.Environ(), "PGPASSWORD="+password)
	}
	cmd.Args = append(cmd.Args, "--dbname="+u.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		return false, fault.Unavailable.New("pg_dump: %w: %s", err, line(string(out)))
	}
	return true, nil
}

// part copies a file or a folder of the vendor's folder.
func (b *backup) part(ctx context.Context, name string) error {
	path := b.home.path(name)
	if info, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err == nil && !info.IsDir() {
		return b.file(name, path)
	}
	// A part may lie elsewhere, behind a link; within it links are not followed.
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fault.Unavailable.New("reading %s: %w", name, err)
	}
	if err := b.copyHeads(name, real); err != nil {
		return err
	}
	passphrase, _ := b.home.passphraseName()
	return filepath.WalkDir(real, func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if errors.Is(err, fs.ErrNotExist) { // a partial tile that a full one has replaced just now
			return nil
		}
		if err != nil {
			return fault.Unavailable.New("reading %s: %w", name, err)
		}
		rel, err := filepath.Rel(real, path)
		if err != nil {
			return err
		}
		inside := name + "/" + filepath.ToSlash(rel)
		switch {
		case d.IsDir() && inside == "blobs/incoming":
			return fs.SkipDir // half-written uploads
		case d.IsDir() || slices.Contains(heads, inside) || inside == passphrase:
			return nil // the passphrase is copied by name, when it was asked for
		case !d.Type().IsRegular():
			b.term.note("left out: %s is not a file", line(inside))
			return nil
		}
		return b.file(inside, path)
	})
}

// heads say how far the log goes, and which state of the update repository counts.
var heads = []string{"log/checkpoint", "log/.state/treeState", "repository/metadata/timestamp.json"}

// copyHeads copies the heads of a part before what they speak of: tiles and
// versioned metadata are only added, so all that the heads cover is among the files
// copied later. The checkpoint first, because the writer's state may be ahead of it.
func (b *backup) copyHeads(part, dir string) error {
	for _, name := range heads {
		inside, ok := strings.CutPrefix(name, part+"/")
		if !ok {
			continue
		}
		if err := b.file(name, filepath.Join(dir, inside)); err != nil {
			return err
		}
	}
	return nil
}

// file copies one file; one that has gone meanwhile is left out.
func (b *backup) file(name, path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.Unavailable.New("reading %s: %w", name, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fault.Unavailable.New("reading %s: %w", name, err)
	}
	return b.copy(name, info.Mode().Perm(), info.Size(), f)
}

func (b *backup) put(name string, mode fs.FileMode, content []byte) error {
	return b.copy(name, mode, int64(len(content)), strings.NewReader(string(content)))
}

func (b *backup) copy(name string, mode fs.FileMode, size int64, r io.Reader) error {
	if err := b.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: int64(mode), Size: size}); err != nil {
		return fault.Unavailable.New("writing %s: %w", name, err)
	}
	sum := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(b.tar, sum), r, size); err != nil {
		return fault.Unavailable.New("copying %s (did it change meanwhile? run the backup again): %w", name, err)
	}
	b.bytes += size
	b.sums = append(b.sums, hex.EncodeToString(sum.Sum(nil))+"  "+name+"\n")
	return nil
}
