package release

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/statement"
)

// Source is a git commit as it was found in a checkout.
type Source struct {
	Repository string // how the statement names it: a URL
	Commit     string
	Tree       string
	Files      int64
	Time       time.Time // the committer's
}

// ReadSource looks up a revision in the git repository at dir.
func ReadSource(ctx context.Context, dir, repository, revision string) (Source, error) {
	src := Source{Repository: repository}
	commit, err := git(ctx, dir, "rev-parse", "--verify", "--end-of-options", revision+"^{commit}")
	if err != nil {
		return src, fault.NotFound.New("finding revision %q in %s: %w", revision, dir, err)
	}
	src.Commit = strings.TrimSpace(string(commit))
	shown, err := git(ctx, dir, "show", "-s", "--format=%T %cI", src.Commit)
	if err != nil {
		return src, fault.Unavailable.New("reading commit %s: %w", src.Commit, err)
	}
	tree, when, _ := strings.Cut(strings.TrimSpace(string(shown)), " ")
	src.Tree = tree
	if src.Time, err = time.Parse(time.RFC3339, when); err != nil {
		return src, fault.Tampered.New("commit %s has no proper date: %w", src.Commit, err)
	}
	src.Time = src.Time.UTC()
	files, err := git(ctx, dir, "ls-tree", "-r", "-z", "--name-only", src.Commit)
	if err != nil {
		return src, fault.Unavailable.New("listing commit %s: %w", src.Commit, err)
	}
	src.Files = int64(bytes.Count(files, []byte{0}))
	return src, nil
}

// git runs a read-only git command with the user's and the system's
// configuration shut off: a hostile one could run programs.
func git(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", dir, "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0", "LC_ALL=C")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		first, _, _ := strings.Cut(strings.TrimSpace(stderr.String()), "\n")
		if first == "" {
			first = err.Error()
		}
		return nil, fault.Unavailable.New("git %s: %s", args[0], first)
	}
	return out, nil
}

// SaySource states that the vendor publishes this source as product's. Saying
// the same commit again finds the statement that there is.
func (s *Service) SaySource(ctx context.Context, product string, src Source, signer statement.Signer) (Said, error) {
	// The statement's time is the commit's, so that the same commit gives the same
	// bytes whoever asks when.
	payload, err := statement.New(
		[]statement.Subject{{Name: src.Repository, Digest: map[string]string{"gitCommit": src.Commit, "gitTree": src.Tree}}},
		&statement.Source{Product: product, Repository: src.Repository, Commit: src.Commit, Tree: src.Tree, Files: src.Files, At: src.Time.Format(time.RFC3339)})
	if err != nil {
		return Said{}, fault.Invalid.New("stating the source: %w", err)
	}
	return s.sayOnce(ctx, payload, signer)
}
