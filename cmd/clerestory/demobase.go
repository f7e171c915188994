package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"clerestory.dev/clerestory/internal/base/engine"
	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/office/detection"
	"clerestory.dev/clerestory/internal/office/release"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/update"
)

const demoBase = "clerestory-base"

// demoVersions are the two releases of the demo's base, by commit.
var demoVersions = []string{"1.0.0", "1.1.0"}

// demoRule is what the analyst adds after the first release.
const demoRule = `// EICAR as mail carries it.
rule EICAR_In_Mail : test mail
{
  meta:
    description = "EICAR's test file in base64, as an attachment is"
    severity = 0
  strings:
    $mail = "WDVPIVAlQEFQWzRcUFpYNTQoUF4pN0NDKTd9JEVJQ0FSLVNUQU5EQVJELUFOVElWSVJVUy1URVNU"
  condition:
    $mail
}
`

// base takes a detection base from an analyst's commit to a customer's machine,
// twice, and shows what becomes of a mirror that lies.
func (d *demo) base(ctx context.Context) error {
	d.title(4, "A detection base, from an analyst's commit to a customer's machine")
	if missing := missingEngines(); len(missing) > 0 {
		d.step("left out: it needs %s (apt-get install yara clamav clamav-testfiles bubblewrap)", strings.Join(missing, ", "))
		return nil
	}
	service, err := d.home.releases(d.db)
	if err != nil {
		return err
	}
	w := &releaseWork{service, d.home, d.db, d.term, d.passphrase}
	repo := d.home.path("analyst", demoBase)
	if err := d.commitBases(ctx, repo); err != nil {
		return err
	}
	var old *detection.Base
	for i, version := range demoVersions {
		candidate, err := detection.Find(ctx, fmt.Sprintf("%s@v%s", repo, version))
		if err != nil {
			return err
		}
		rel, err := w.Show(ctx, demoBase, version)
		if errors.Is(err, fault.NotFound) {
			rel, err = d.releaseBase(ctx, w, repo, version, old, candidate)
		}
		if err != nil {
			return err
		}
		if err := d.offer(ctx, w, rel); err != nil {
			return err
		}
		if err := d.customer(ctx, "customer"); err != nil {
			return fmt.Errorf("updating the customer to version %d of the base: %w", i+1, err)
		}
		old = candidate
	}
	return d.lyingMirror(ctx)
}

func missingEngines() []string {
	var missing []string
	for _, program := range []string{"bwrap", "yarac", "clamscan"} {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, program)
		}
	}
	if !exists(clamavFiles) {
		missing = append(missing, clamavFiles)
	}
	return missing
}

const clamavFiles = "/usr/share/clamav-testfiles"

// commitBases makes the analyst's repository: the base of the checkout, and then
// one rule more. A tag names each version.
func (d *demo) commitBases(ctx context.Context, repo string) error {
	if exists(filepath.Join(repo, ".git")) {
		return nil
	}
	from := os.DirFS(filepath.Join(d.checkout, "programmes", "bases", demoBase))
	if err := os.CopyFS(repo, from); err != nil {
		return fault.Unavailable.New("making the analyst's repository: %w", err)
	}
	git := func(words ...string) error {
		cmd := exec.CommandContext(ctx, "git", append([]string{"-C", repo, "-c", "user.name=Dana Reyes", "-c", "user.email=dana@clerestory.example", "-c", "commit.gpgSign=false"}, words...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fault.Unavailable.New("making the analyst's repository: git %s: %w: %s", words[0], err, line(string(out)))
		}
		return nil
	}
	for i, version := range demoVersions {
		if i > 0 {
			if err := os.WriteFile(filepath.Join(repo, "eicar-mail.yar"), []byte(demoRule), 0o644); err != nil {
				return fault.Unavailable.New("writing the analyst's new rule: %w", err)
			}
		} else if err := git("init", "--quiet"); err != nil {
			return err
		}
		message := []string{"The base as it begins", "Find EICAR in mail, too"}[i]
		for _, words := range [][]string{{"add", "."}, {"commit", "--quiet", "--message", message}, {"tag", "v" + version}} {
			if err := git(words...); err != nil {
				return err
			}
		}
	}
	return nil
}

// corpora are real: the toolchain's and Debian's own files must stay clean, and
// the industry's harmless test files must be found.
func (d *demo) corpora(ctx context.Context) (clean, known []detection.Corpus, err error) {
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return nil, nil, fault.Unavailable.New("finding the Go toolchain: %w", err)
	}
	samples := d.home.path("analyst", "test-files")
	if err := os.MkdirAll(samples, 0o755); err != nil {
		return nil, nil, fault.Unavailable.New("writing the test files: %w", err)
	}
	// Put together here, so that no scanner stops at this program.
	eicar := `X5O!P%@AP[4\PZX54(P^)7CC)7}$` + "EICAR-STANDARD-" + `ANTIVIRUS-TEST-FILE!$H+H*`
	gtube := "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-" + "ANTI-UBE-TEST-EMAIL*C.34X"
	for name, text := range map[string]string{
		"eicar.com": eicar, "spam.eml": "Subject: offer\n\n" + gtube + "\n",
		"mail.eml": "Subject: see attachment\nContent-Transfer-Encoding: base64\n\n" + base64.StdEncoding.EncodeToString([]byte(eicar)) + "\n",
	} {
		if err := os.WriteFile(filepath.Join(samples, name), []byte(text), 0o644); err != nil {
			return nil, nil, fault.Unavailable.New("writing the test files: %w", err)
		}
	}
	clean = []detection.Corpus{{Name: "go-toolchain", Path: filepath.Join(strings.TrimSpace(string(root)), "src", "net")}, {Name: "debian", Path: "/usr/share/common-licenses"}}
	return clean, []detection.Corpus{{Name: "test-files", Path: samples}, {Name: "clamav-testfiles", Path: clamavFiles}}, nil
}

// releaseBase tries a version on the corpora, and takes it through its gates.
func (d *demo) releaseBase(ctx context.Context, w *releaseWork, repo, version string, old, candidate *detection.Base) (*release.Release, error) {
	pack, err := candidate.Pack()
	if err != nil {
		return nil, err
	}
	if err := d.testBase(ctx, repo, version, old, candidate, pack); err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "clerestory-base-")
	if err != nil {
		return nil, fault.Unavailable.New("making a folder for the base: %w", err)
	}
	defer os.RemoveAll(folder)
	if err := pack.Write(folder); err != nil {
		return nil, err
	}
	cmd := &releaseProposeCmd{Product: demoBase, Version: version, Channel: "stable", By: "dana", Repo: repo, Revision: "v" + version, Builder: "https://clerestory.dev/builder/base-pack/v1"}
	for _, f := range pack.Files {
		cmd.Files = append(cmd.Files, filepath.Join(folder, f.Name))
	}
	rel, err := (&proposal{work: w, cmd: cmd}).make(ctx)
	if err != nil {
		return nil, err
	}
	return d.approveAndPublish(ctx, w, rel)
}

// testBase says what the tests came to: without green gates nobody can approve.
func (d *demo) testBase(ctx context.Context, repo, version string, old, candidate *detection.Base, pack *detection.Pack) error {
	clean, known, err := d.corpora(ctx)
	if err != nil {
		return err
	}
	checked, err := detection.Check(ctx, fmt.Sprintf("%s@v%s", repo, version), engine.Engine{})
	if err != nil {
		return err
	}
	r := &detection.Report{Base: pack.Manifest, Check: checked, Diff: detection.Compare(old, candidate)}
	if err := r.Diff.Authors(ctx, old, candidate); err != nil {
		return err
	}
	if r.Replay, err = detection.Replay(ctx, detection.Setup{Old: old, New: candidate, Clean: clean, Known: known}); err != nil {
		return err
	}
	r.Before = r.Replay.Before
	for _, v := range r.Replay.Verdicts {
		if !v.Passed {
			return fault.Denied.New("the gate %s of the base %s is red: %s", v.Gate, version, strings.Join(v.Why, "; "))
		}
	}
	files := 0
	for _, c := range r.Replay.Corpora {
		files += c.Files
	}
	d.step("base %s: %s since the version before; tried on %d files: nothing new in clean ones, nothing lost in known ones", version, many(len(r.Diff.Changes), "change"), files)
	report, err := r.JSON()
	if err != nil {
		return err
	}
	key, err := d.home.keys().Unlock("tester", d.passphrase)
	if err != nil {
		return err
	}
	service, err := d.home.releases(d.db)
	if err != nil {
		return err
	}
	room := &detection.Service{DB: d.db, Blobs: service.Blobs, Roots: d.home.roots, Now: time.Now}
	_, err = room.SayTests(ctx, demoBase, pack.Subjects(), r.Outcomes(), report, key)
	return err
}

// offer shows a published base to every client, once.
func (d *demo) offer(ctx context.Context, w *releaseWork, rel *release.Release) error {
	product, version := rel.Statement.Product, rel.Statement.Version
	online, err := d.home.keys().Unlock("online", d.passphrase)
	if err != nil {
		return err
	}
	s, err := d.home.repository(d.db, online)
	if err != nil {
		return err
	}
	head, err := s.Head(ctx, product, rel.Statement.Channel)
	if err != nil || slices.ContainsFunc(head.Releases, func(o update.Offer) bool { return o.Version == version }) || rel.RevokedBy >= 0 {
		return err
	}
	if _, err := d.writer.Wait(ctx, rel.Entry); err != nil {
		return fmt.Errorf("waiting for the witnesses: %w", err)
	}
	var signers []statement.Signer
	for _, name := range []string{"root-1", "root-2"} {
		k, err := d.home.rootKeys().Unlock(name, d.passphrase)
		if err != nil {
			return err
		}
		signers = append(signers, k)
	}
	key, err := d.home.keys().Unlock("release", d.passphrase)
	if err != nil {
		return err
	}
	p, err := s.Publish(ctx, func(ctx context.Context) error {
		r, err := w.offerable(ctx, product, version)
		if err != nil {
			return err
		}
		_, err = s.Offer(ctx, *r, 100, rand.Text())
		return err
	}, append(signers, key)...)
	if err != nil {
		return err
	}
	if !p.Published {
		return fault.Unavailable.New("the repository with %s %s was not published", product, version)
	}
	d.step("%s %s is offered to clients: signed by the release key, named by two root keys, dated by the online key", product, version)
	return nil
}

// customer is a machine that trusts the root alone, and fetches from a folder as
// any mirror might have it.
func (d *demo) customer(ctx context.Context, name string) error {
	r, err := d.update(ctx, name, d.home.path("repository"))
	if err != nil {
		return err
	}
	if r.Updated {
		d.step("a customer's machine has %s %s: %d bytes in %d requests, checked against a log of %d entries", r.Product, r.Version, r.Traffic.Bytes, r.Traffic.Requests, r.LogSize)
	} else {
		d.step("a customer's machine is up to date with %s %s, after %d bytes", r.Product, r.Version, r.Traffic.Bytes)
	}
	return nil
}

func (d *demo) update(ctx context.Context, name, repository string) (*update.Result, error) {
	trust, err := os.ReadFile(d.made.TrustedRoot)
	if err != nil {
		return nil, fault.Unavailable.New("reading the trusted root: %w", err)
	}
	client, err := update.New(update.Config{Trust: trust, Repo: repository, Log: d.home.logDir(), Dir: d.home.path("customers", name), Product: demoBase, Channel: "stable"})
	if err != nil {
		return nil, err
	}
	return client.Update(ctx)
}

// lyingMirror copies the repository, changes one byte of the newest rules, and
// must not get them installed anywhere.
func (d *demo) lyingMirror(ctx context.Context) error {
	mirror, err := os.MkdirTemp("", "clerestory-mirror-")
	if err != nil {
		return fault.Unavailable.New("making a mirror: %w", err)
	}
	defer os.RemoveAll(mirror)
	if err := os.CopyFS(mirror, os.DirFS(d.home.path("repository"))); err != nil {
		return fault.Unavailable.New("copying the repository: %w", err)
	}
	rules, err := filepath.Glob(filepath.Join(mirror, "targets", demoBase, "*", "*.rules.yar"))
	if err != nil || len(rules) == 0 {
		return fault.Unavailable.New("the mirror has no rules to change: %w", err)
	}
	for _, path := range rules {
		if err := flipByte(path, path); err != nil {
			return err
		}
	}
	defer os.RemoveAll(d.home.path("customers", "victim"))
	r, err := d.update(ctx, "victim", mirror)
	if !update.Definite(err) || r.Updated {
		return fault.Tampered.New("a mirror with a changed byte was not refused: %w", err)
	}
	d.step("a mirror with one byte changed is refused (%s): %s", update.CodeOf(err), line(err.Error()))
	return nil
}
