package detection

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1" // git's name for a blob; nothing rests on it but where a file is looked for
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"clerestory.dev/clerestory/internal/base/fault"
)

// repository is where a base stands in git.
type repository struct {
	dir    string // a folder of the work tree, or the repository itself
	prefix string // the base's folder in it, "" or ending with a slash
	commit string
}

// Find reads the base that where names: a folder, or FOLDER@REVISION for what git
// has there. The base knows its commit when the folder is as it was committed.
func Find(ctx context.Context, where string) (*Base, error) {
	if info, err := os.Stat(where); err == nil && info.IsDir() {
		b, err := OpenDir(where)
		if err != nil {
			return nil, err
		}
		return b, b.locate(ctx, where)
	}
	i := strings.LastIndexByte(where, '@')
	if i < 0 {
		return nil, fault.NotFound.New("there is no folder %s", plain(where))
	}
	return OpenAt(ctx, where[:i], where[i+1:])
}

// OpenAt reads the base in a folder of a git work tree as it was committed in
// revision. Attributes, filters and the work tree's own files play no part.
func OpenAt(ctx context.Context, dir, revision string) (*Base, error) {
	repo, err := find(ctx, dir, revision)
	if err != nil {
		return nil, err
	}
	r := &reader{}
	list, err := repo.list(ctx, r)
	if err != nil {
		return nil, err
	}
	files, err := repo.read(ctx, list)
	if err != nil {
		return nil, fmt.Errorf("reading the base %s at %s: %w", dir, revision, err)
	}
	b, err := r.base(files)
	if err != nil {
		return nil, fmt.Errorf("reading the base %s at %s: %w", dir, revision, err)
	}
	return b, b.belongs(ctx, repo)
}

// find looks up a folder and a revision in git.
func find(ctx context.Context, dir, revision string) (*repository, error) {
	prefix, err := git(ctx, dir, nil, "rev-parse", "--show-prefix")
	if err != nil {
		return nil, fault.NotFound.New("looking for %s in git: %w", dir, err)
	}
	commit, err := git(ctx, dir, nil, "rev-parse", "--verify", "--end-of-options", revision+"^{commit}")
	if err != nil {
		return nil, fault.NotFound.New("looking for revision %q of %s: %w", clip(revision, 80), dir, err)
	}
	return &repository{dir, strings.TrimSuffix(string(prefix), "\n"), strings.TrimSpace(string(commit))}, nil
}

// treeFile is a file as a git tree lists it.
type treeFile struct {
	name, id string
	size     int64
}

// list lists the base's files in a commit, within the caps; what a base can not
// have becomes a problem of r.
func (g *repository) list(ctx context.Context, r *reader) ([]treeFile, error) {
	out, err := git(ctx, g.dir, nil, "ls-tree", "-r", "-z", "-l", "--full-tree", g.commit+":"+strings.TrimSuffix(g.prefix, "/"))
	if err != nil {
		return nil, fmt.Errorf("listing commit %s: %w", g.commit, err)
	}
	var list []treeFile
	var total int64
	folded := map[string]string{}
	for line := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		meta, name, _ := strings.Cut(line, "\t")
		f := strings.Fields(meta)
		if len(f) != 4 || strings.HasPrefix(name, ".") || strings.Contains(name, "/.") {
			continue
		}
		mode := fs.ModeIrregular
		switch f[0] {
		case "100644", "100755":
			mode = 0
		case "120000":
			mode = fs.ModeSymlink
		}
		if !r.allowed(name, mode, folded) {
			continue
		}
		size, err := strconv.ParseInt(f[3], 10, 64)
		if err != nil || size > Caps.File {
			r.say(place{name, 1, 1}, fmt.Sprintf("the file has more than %d MiB", Caps.File>>20), "split it")
			continue
		}
		if total += size; !r.room(name, len(list), total) {
			break
		}
		list = append(list, treeFile{name, f[2], size})
	}
	return list, nil
}

// read reads blobs through one git process.
func (g *repository) read(ctx context.Context, list []treeFile) ([]Source, error) {
	var ask bytes.Buffer
	for _, b := range list {
		ask.WriteString(b.id + "\n")
	}
	out, err := git(ctx, g.dir, &ask, "cat-file", "--batch")
	if err != nil {
		return nil, err
	}
	in := bufio.NewReader(bytes.NewReader(out))
	files := make([]Source, 0, len(list))
	for _, b := range list {
		head, err := in.ReadString('\n')
		if err != nil || head != fmt.Sprintf("%s blob %d\n", b.id, b.size) {
			return nil, fault.Tampered.New("git gave something else than the file %s", plain(b.name))
		}
		content := make([]byte, b.size+1)
		if _, err := io.ReadFull(in, content); err != nil || blobID(content[:b.size], len(b.id)) != b.id {
			return nil, fault.Tampered.New("git gave another content than that of the file %s", plain(b.name))
		}
		files = append(files, Source{b.name, string(content[:b.size])})
	}
	return files, nil
}

// blobID is git's name for a file's content, in a repository whose names have so
// many hex digits.
func blobID(content []byte, digits int) string {
	h := sha1.New()
	if digits == 64 {
		h = sha256.New()
	}
	fmt.Fprintf(h, "blob %d\x00", len(content))
	h.Write(content)
	return hex.EncodeToString(h.Sum(nil))
}

// locate notes the commit of the folder that a base was read from, if every file
// is as it was committed. A folder outside of git has none.
func (b *Base) locate(ctx context.Context, dir string) error {
	if b.Commit != "" { // a released base names the commit that it was made from
		return nil
	}
	repo, err := find(ctx, dir, "HEAD")
	if err != nil {
		return ctx.Err()
	}
	list, err := repo.list(ctx, &reader{})
	if err != nil {
		return ctx.Err() // the folder is not in the commit
	}
	slices.SortFunc(list, func(x, y treeFile) int { return strings.Compare(x.name, y.name) })
	if !slices.EqualFunc(list, b.Files, func(x treeFile, f Source) bool {
		return x.name == f.Path && x.size == int64(len(f.Content)) && blobID([]byte(f.Content), len(x.id)) == x.id
	}) {
		return nil
	}
	return b.belongs(ctx, repo)
}

func (b *Base) belongs(ctx context.Context, repo *repository) error {
	tree, err := git(ctx, repo.dir, nil, "rev-parse", "--verify", "--end-of-options", repo.commit+":"+strings.TrimSuffix(repo.prefix, "/"))
	if err != nil {
		return fmt.Errorf("looking up the base's tree: %w", err)
	}
	b.Commit, b.Tree, b.home = repo.commit, strings.TrimSpace(string(tree)), repo
	return nil
}

// git runs a read-only git command. What could run programs, rename authors or
// put other objects in place of these is shut off, or left out of its environment.
func git(ctx context.Context, dir string, stdin io.Reader, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", dir, "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null",
		"-c", "blame.ignoreRevsFile=", "-c", "core.attributesFile=/dev/null", "-c", "log.showSignature=false"}, args...)...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "GIT_") }),
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0", "GIT_NO_REPLACE_OBJECTS=1", "GIT_NO_LAZY_FETCH=1", "LC_ALL=C")
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = stdin, &stderr
	out, err := cmd.Output()
	if err != nil {
		first, _, _ := strings.Cut(strings.TrimSpace(stderr.String()), "\n")
		if first == "" {
			first = err.Error()
		}
		return nil, fault.Unavailable.New("git %s: %s", args[0], plain(first))
	}
	return out, nil
}
