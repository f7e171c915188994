package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/ledger/logread"
	"clerestory.dev/clerestory/internal/ledger/tile"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

type verifyCmd struct {
	File   string `arg:"" help:"The file to check."`
	Trust  string `type:"path" help:"The vendor's trusted_root.json (default: ${trust}). Get it once, from somebody you trust, and compare its fingerprint."`
	Log    string `help:"Read the whole log, at this URL or in this folder: the only way to know that nothing was revoked."`
	Bundle string `type:"path" help:"The file's bundle (default: FILE.clerestory, else it is fetched from the vendor)."`
	JSON   bool   `help:"Print the report as JSON (docs/spec/report.schema.json)."`
}

func (c *verifyCmd) Help() string {
	return "Exit codes: 0 verified; 1 definitely not (changed, revoked, unsigned, forked log); 2 wrong usage; 3 could not be checked."
}

// maxFetch bounds how long a bundle may take to come.
const maxFetch = 20 * time.Second

// Run hashes the file, gathers evidence, judges, prints.
func (c *verifyCmd) Run(ctx context.Context, t *terminal) error {
	a, err := artifact(c.File)
	if err != nil {
		return err
	}
	report := verify.NewReport(a, "nothing was checked")
	if err := c.judge(ctx, t, a, report); err != nil {
		if fault.KindOf(err) == fault.Invalid {
			return err
		}
		report.Fail(err)
		if errors.Is(err, fault.Tampered) {
			report.Verdict = verify.Refused
			report.Code = cmp.Or(report.Code, verify.CodeFork)
		}
	}
	if c.JSON {
		if err := t.json(report); err != nil {
			return err
		}
	} else {
		printReport(t, report)
	}
	if code := map[string]exitCode{verify.Refused: 1, verify.Unchecked: 3}[report.Verdict]; code != 0 {
		return code
	}
	return nil
}

func (c *verifyCmd) judge(ctx context.Context, t *terminal, a verify.Artifact, report *verify.Report) error {
	file, err := readTrust(c.Trust)
	if err != nil {
		return err
	}
	trust, err := verify.ParseTrust(file)
	if err != nil {
		return err
	}
	var member *verify.Member
	bundle, err := c.bundle(ctx, trust, a)
	if err != nil && c.Log == "" {
		return err
	}
	if err == nil {
		*report = *verify.JudgeBundle(file, bundle, a, time.Now())
		if c.Log == "" || report.Verdict != verify.Verified {
			return nil
		}
		if b, err := verify.ParseBundle(bundle); err == nil {
			member = b.Member
			if trust, _, err = trust.Prove(b); err != nil { // follows root rotations
				return err
			}
		}
	}
	if trust, err = followRoots(ctx, c.Log, trust); err != nil {
		return err
	}
	ev, err := readLog(ctx, t, c.Log, trust, a)
	if err != nil {
		return err
	}
	ev.Member = member
	*report = *trust.Judge(ev, a, time.Now())
	return nil
}

// readTrust reads the trusted root. There is no default beside the file: who
// gave you the file could have given you that too.
func readTrust(path string) ([]byte, error) {
	path = cmp.Or(path, defaultTrust())
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Invalid.New("there is no trusted root at %s: name the vendor's trusted_root.json with --trust, after comparing its fingerprint with one from elsewhere", path)
	}
	if err != nil {
		return nil, fault.Invalid.New("reading the trusted root: %w", err)
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, int64(verify.Limits.Trust)+1))
}

func defaultTrust() string {
	dir, err := os.UserConfigDir()
	if err != nil {
		dir = "."
	}
	return filepath.Join(dir, "clerestory", "trusted_root.json")
}

// bundle finds the file's bundle: the one named, the one beside the file, or the
// one that the vendor serves beside its log.
func (c *verifyCmd) bundle(ctx context.Context, trust *verify.Trust, a verify.Artifact) ([]byte, error) {
	path := cmp.Or(c.Bundle, c.File+".clerestory")
	f, err := os.Open(path)
	if err == nil {
		defer f.Close()
		return io.ReadAll(io.LimitReader(f, int64(verify.Limits.Bundle)+1))
	}
	if c.Bundle != "" {
		return nil, fault.Invalid.New("reading the bundle: %w", err)
	}
	base := trust.Policy.Log.URL
	if base == "" || c.Log != "" {
		return nil, fault.Unavailable.New("there is no bundle %s", path)
	}
	url := portalOf(base) + "/bundle/sha256/" + a.SHA256
	b, err := fetch(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("there is no bundle beside the file, and %w", err)
	}
	return b, nil
}

func fetch(ctx context.Context, url string) ([]byte, error) {
	ctx, stop := context.WithTimeout(ctx, maxFetch)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fault.Unavailable.New("the vendor's address is wrong: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fault.Unavailable.New("the vendor could not be asked: %w", err)
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
		return io.ReadAll(io.LimitReader(res.Body, int64(verify.Limits.Bundle)+1))
	case http.StatusNotFound:
		return nil, fault.Unavailable.New("%s says that it knows no release with these bytes (that is its word only; --log reads the whole log)", req.URL.Host)
	}
	return nil, fault.Unavailable.New("%s answered %s", req.URL.Host, res.Status)
}

// followRoots asks for newer versions of the root of trust, beside the log, until
// there is none (TUF 1.0, section 5.3). Each must be signed by the one before.
// A log that is served without them ends the search: the root in hand counts.
func followRoots(ctx context.Context, where string, trust *verify.Trust) (*verify.Trust, error) {
	for range verify.Limits.Roots {
		name := fmt.Sprintf("roots/%d.root.json", trust.Root.Version+1)
		var next []byte
		var err error
		if strings.HasPrefix(where, "http://") || strings.HasPrefix(where, "https://") {
			next, err = fetch(ctx, portalOf(where)+"/"+name)
		} else {
			next, err = os.ReadFile(filepath.Join(where, "..", filepath.FromSlash(name)))
		}
		if err != nil {
			return trust, nil
		}
		if trust, err = trust.Rotate(next); err != nil {
			return nil, err
		}
	}
	return trust, nil
}

// portalOf is the address that a log's URL is below.
func portalOf(logURL string) string {
	return strings.TrimSuffix(strings.TrimSuffix(logURL, "/"), "/log")
}

// readLog checks the whole log and keeps what speaks of the file, and all key,
// revocation and advisory statements. It remembers the checkpoint for the next time.
func readLog(ctx context.Context, t *terminal, where string, trust *verify.Trust, a verify.Artifact) (*verify.Evidence, error) {
	src, err := tile.Open(where, nil)
	if err != nil {
		return nil, err
	}
	ev := &verify.Evidence{Complete: true}
	named := map[string]bool{} // hashes of the statements that a release relies on
	var builds []verify.Entry
	keep := func(e logread.Entry) {
		entry := verify.Entry{Index: e.N, Raw: e.Raw, Envelope: e.Envelope, Statement: e.Statement}
		switch e.Statement.PredicateType {
		case statement.KeyType, statement.RevocationType, statement.AdvisoryType:
			ev.Entries = append(ev.Entries, entry)
		case statement.ReleaseType:
			rel, err := statement.As(e.Statement, &statement.Release{})
			if err == nil && (speaksOf(e.Statement, a.SHA256) || rel.Manifest.Files > statement.InlineFiles) {
				ev.Entries = append(ev.Entries, entry)
				named[rel.Source], named[rel.Build] = true, true
			}
		case statement.SourceType, statement.BuildType:
			builds = append(builds, entry)
		}
	}
	report, err := logread.Check(ctx, src, trust.Policy, logread.Options{Memory: seenLogs(), Each: keep, Progress: progress(t, "reading the log")})
	if err != nil {
		return nil, err
	}
	for _, e := range builds {
		if named[statement.HashOf(e.Raw)] || speaksOf(e.Statement, a.SHA256) {
			ev.Entries = append(ev.Entries, e)
		}
	}
	slices.SortFunc(ev.Entries, func(a, b verify.Entry) int { return cmp.Compare(a.Index, b.Index) })
	ev.Checkpoint = report.Checkpoint
	return ev, nil
}

func speaksOf(s *statement.Statement, sha string) bool {
	return slices.ContainsFunc(s.Subject, func(x statement.Subject) bool { return x.Digest["sha256"] == sha })
}

// seenLogs is where this machine remembers the last checkpoint of each log.
func seenLogs() logread.Memory {
	dir := os.Getenv("XDG_STATE_HOME")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		dir = filepath.Join(home, ".local", "state")
	}
	return logread.Memory(filepath.Join(dir, "clerestory", "logs"))
}

// artifact hashes a file, whatever its size, in constant memory.
func artifact(path string) (verify.Artifact, error) {
	f, err := os.Open(path)
	if err != nil {
		return verify.Artifact{}, fault.Invalid.New("opening the file: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return verify.Artifact{}, fault.Invalid.New("%s is not a file", path)
	}
	sum := sha256.New()
	n, err := io.CopyBuffer(sum, struct{ io.Reader }{f}, make([]byte, 256<<10))
	if err != nil {
		return verify.Artifact{}, fault.Unavailable.New("reading the file: %w", err)
	}
	return verify.Artifact{Name: filepath.Base(path), SHA256: hex.EncodeToString(sum.Sum(nil)), Size: n}, nil
}

func printReport(t *terminal, r *verify.Report) {
	t.printf("%s  sha256 %s  %d bytes\n", line(r.File.Name), r.File.SHA256, r.File.Size)
	if r.Trust != nil {
		t.printf("  %-12s %s, root version %d, fingerprint %s\n", "trusting", r.Trust.Vendor, r.Trust.Version, r.Trust.Fingerprint)
	}
	affected := map[int64]bool{}
	for _, a := range r.Advisories {
		affected[a.Entry] = a.Affected
	}
	for _, c := range r.Claims {
		mark := t.style(green, "✓")
		if c.Name == "advisory" && affected[c.Entry] {
			mark = t.style(red, "!") // true, and no good news
		}
		t.printf("  %s %-10s %s\n", mark, c.Name, line(c.Text))
	}
	for _, n := range r.NotChecked {
		t.printf("  %s %-10s not checked: %s\n", t.style(amber, "–"), n.Name, line(n.Why))
	}
	switch r.Verdict {
	case verify.Verified:
		t.printf("%s: %s\n", t.style(bold+";"+green, "VERIFIED"), line(r.Reason))
	case verify.Refused:
		t.printf("%s (%s): %s\n", t.style(bold+";"+red, "REFUSED"), r.Code, line(r.Reason))
	default:
		t.printf("%s: %s\n", t.style(bold+";"+amber, "NOT CHECKED"), line(r.Reason))
	}
}

// progress tells how far a long reading is, a few times a second, and only on a
// terminal.
func progress(t *terminal, what string) func(done, of int64) {
	if !t.interactive() {
		return nil
	}
	last := time.Now()
	return func(done, of int64) {
		if done == of && time.Since(last) < 300*time.Millisecond || time.Since(last) > 300*time.Millisecond {
			last = time.Now()
			fmt.Fprintf(t.err, "\r%s: %d of %d entries\x1b[K", what, done, of)
			if done == of {
				fmt.Fprint(t.err, "\r\x1b[K")
			}
		}
	}
}
