package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/office/release"
	"clerestory.dev/clerestory/verify"
)

const demoProduct = "clerestory"

// buildFlags are the whole difference to a plain go build.
var buildFlags = []string{"-trimpath", "-buildvcs=false", "-ldflags=-buildid="}

// publish takes the checkout's commit from source to a published release; what
// an earlier run has done already is not done again.
func (d *demo) publish(ctx context.Context) error {
	d.title(2, "A release: Clerestory's own source, built twice, approved by two")
	service, err := d.home.releases(d.db)
	if err != nil {
		return err
	}
	w := &releaseWork{service, d.home, d.db, d.term, d.passphrase}
	src, err := release.ReadSource(ctx, d.checkout, "https://clerestory.dev/clerestory", "HEAD")
	if err != nil {
		return err
	}
	d.made.Product, d.made.Commit = demoProduct, src.Commit
	d.made.Version = fmt.Sprintf("0.1.0-%s-%s", src.Time.Format("20060102"), src.Commit[:12])
	rel, err := w.Show(ctx, demoProduct, d.made.Version)
	if errors.Is(err, fault.NotFound) {
		rel, err = d.propose(ctx, w, src)
	} else if err == nil {
		d.step("%s is %s already", d.made.Version, rel.State)
		d.made.Reproduced = true
	}
	if err != nil {
		return err
	}
	if rel.State == release.Revoked {
		return fault.Conflict.New("this commit's release was revoked at entry %d, and a version is never released again: commit something, or start over with --fresh", rel.RevokedBy)
	}
	if rel.Entry < 0 {
		if rel, err = d.approveAndPublish(ctx, w, rel); err != nil {
			return err
		}
	}
	if _, err := d.writer.Wait(ctx, rel.Entry); err != nil {
		return fmt.Errorf("waiting for the witnesses: %w", err)
	}
	d.step("entry %d is in a checkpoint that the witnesses cosigned", rel.Entry)
	out := d.home.path("dist", d.made.Version)
	if err := w.write(ctx, rel, out); err != nil {
		return err
	}
	d.made.Entry, d.made.Artifact = rel.Entry, filepath.Join(out, binaryName())
	d.made.Bundle = d.made.Artifact + ".clerestory"
	d.step("wrote %s and its bundle", line(d.made.Artifact))
	return os.Chmod(d.made.Artifact, 0o755)
}

func binaryName() string {
	if runtime.GOOS == "windows" {
		return "clerestory.exe"
	}
	return "clerestory"
}

// propose builds in two folders, compares, and proposes the result.
func (d *demo) propose(ctx context.Context, w *releaseWork, src release.Source) (*release.Release, error) {
	if out, err := exec.CommandContext(ctx, "git", "-C", d.checkout, "status", "--porcelain").Output(); err == nil && len(out) > 0 {
		d.step("the checkout has uncommitted changes: they are not part of commit %s, and not of the release", src.Commit[:12])
	}
	signer, err := w.home.keys().Unlock("source", w.passphrase)
	if err != nil {
		return nil, err
	}
	saidSource, err := w.SaySource(ctx, demoProduct, src, signer)
	if err != nil {
		return nil, err
	}
	d.step("source: commit %s, tree %s, %d files", src.Commit[:12], src.Tree[:12], src.Files)
	toolchain, err := goEnv(ctx, d.checkout)
	if err != nil {
		return nil, err
	}
	var saidBuild release.Said
	var first release.File
	var binary string
	for i, role := range []string{"builder", "rebuilder"} {
		dir, err := os.MkdirTemp("", fmt.Sprintf("clerestory-build-%d-", i+1))
		if err != nil {
			return nil, fault.Unavailable.New("making a folder to build in: %w", err)
		}
		defer removeTree(dir)
		d.step("build %d in %s …", i+1, dir)
		started := time.Now()
		path, err := buildCommit(ctx, d.checkout, src.Commit, dir, toolchain)
		if err != nil {
			return nil, err
		}
		file, err := storeBinary(ctx, w, path)
		if err != nil {
			return nil, err
		}
		d.step("build %d: sha256 %s… (%.0f s)", i+1, file.SHA256[:16], time.Since(started).Seconds())
		if i == 0 {
			first, binary = file, path
		} else if file.SHA256 != first.SHA256 {
			return nil, fault.Tampered.New("the two builds differ: %s and %s", first.SHA256, file.SHA256)
		}
		key, err := w.home.keys().Unlock(role, w.passphrase)
		if err != nil {
			return nil, err
		}
		said, err := w.SayBuild(ctx, release.BuildRun{
			Source: src, Builder: "https://clerestory.dev/builder/demo-" + role + "/v1", Invocation: filepath.Base(dir),
			Parameters: map[string]string{"package": "./cmd/clerestory", "flags": strings.Join(buildFlags, " "), "cgo": "off"},
			Toolchain:  map[string]string{"go": toolchain["GOVERSION"], "os": toolchain["GOOS"], "arch": toolchain["GOARCH"]},
			Started:    started, Finished: time.Now(), Files: []release.File{file},
		}, key)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			saidBuild = said
		}
	}
	d.made.Reproduced = true
	d.step("the two builds have the same bytes")
	p := &proposal{work: w, cmd: &releaseProposeCmd{Product: demoProduct, Version: d.made.Version, Files: []string{binary}}}
	sbom, err := p.bill(ctx, src, []release.File{first})
	if err != nil {
		return nil, err
	}
	d.step("bill of materials: %s, checked against the binary's own build information", sbom.Name)
	rel, err := w.Propose(ctx, release.Draft{
		Product: demoProduct, Version: d.made.Version, Channel: "stable", Files: []release.File{first, sbom}, SBOM: sbom,
		Source: saidSource, Build: saidBuild, Notes: "Built from commit " + src.Commit + ".", By: "dana",
	})
	if err == nil {
		d.step("dana proposed %s", d.made.Version)
	}
	return rel, err
}

func (d *demo) approveAndPublish(ctx context.Context, w *releaseWork, rel *release.Release) (*release.Release, error) {
	product, version := rel.Statement.Product, rel.Statement.Version
	for _, person := range []string{"boris", "chidi"} {
		if slices.ContainsFunc(rel.Approvals, func(a release.Approval) bool { return a.Holder == person }) {
			continue
		}
		key, err := w.home.keys().Unlock(person, w.passphrase)
		if err != nil {
			return nil, err
		}
		if rel, err = w.Approve(ctx, product, version, rel.PayloadHash, key); err != nil {
			return nil, err
		}
		d.step("%s approved with key %s…", person, key.KeyID()[:16])
	}
	key, err := w.home.keys().Unlock("release", w.passphrase)
	if err != nil {
		return nil, err
	}
	if rel, err = w.Publish(ctx, product, version, key); err != nil {
		return nil, err
	}
	d.step("published as entry %d", rel.Entry)
	return rel, nil
}

func storeBinary(ctx context.Context, w *releaseWork, path string) (release.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return release.File{}, fault.Unavailable.New("reading what was built: %w", err)
	}
	defer f.Close()
	return w.Store(ctx, binaryName(), f)
}

// goEnv asks the toolchain for what a build depends on.
func goEnv(ctx context.Context, dir string) (map[string]string, error) {
	cmd := exec.CommandContext(ctx, "go", "env", "-json", "GOVERSION", "GOOS", "GOARCH", "GOMODCACHE", "GOCACHE", "GOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE", "GONOPROXY")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		return nil, fault.Unavailable.New("asking the go command (is it installed?): %w", err)
	}
	env := map[string]string{}
	if err := json.Unmarshal(out, &env); err != nil {
		return nil, fmt.Errorf("reading go env: %w", err)
	}
	return env, nil
}

// buildCommit unpacks a commit into dir and builds it there. The environment is
// fixed, so that the user's settings can not change the bytes.
func buildCommit(ctx context.Context, checkout, commit, dir string, env map[string]string) (string, error) {
	archive, err := exec.CommandContext(ctx, "git", "-C", checkout, "archive", "--format=tar", commit).Output()
	if err != nil {
		return "", fault.Unavailable.New("unpacking commit %s: %w", commit, err)
	}
	if err := untar(archive, filepath.Join(dir, "src")); err != nil {
		return "", fault.Unavailable.New("unpacking commit %s: %w", commit, err)
	}
	out := filepath.Join(dir, binaryName())
	cmd := exec.CommandContext(ctx, "go", append(append([]string{"build"}, buildFlags...), "-o", out, "./cmd/clerestory")...)
	cmd.Dir = filepath.Join(dir, "src")
	// GOGC and GOMEMLIMIT are the compiler's own: it collects less while there is
	// memory, which takes a fifth off a build with a cold cache.
	cmd.Env = []string{"GOGC=1000", "GOMEMLIMIT=2GiB", "CGO_ENABLED=0", "GOFLAGS=", "GOENV=off", "GOWORK=off", "GOTOOLCHAIN=local", "GOEXPERIMENT=", "HOME=" + dir, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir()}
	for _, k := range []string{"GOOS", "GOARCH", "GOMODCACHE", "GOCACHE", "GOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE", "GONOPROXY"} {
		cmd.Env = append(cmd.Env, k+"="+env[k])
	}
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fault.Unavailable.New("building commit %s: %w: %s", commit, err, line(string(text)))
	}
	return out, nil
}

// untar unpacks git's own archive of a commit: folders and files, links skipped.
func untar(archive []byte, dir string) error {
	root, err := openRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	r := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		switch h.Typeflag {
		case tar.TypeDir:
			err = root.MkdirAll(strings.TrimSuffix(h.Name, "/"), 0o755)
		case tar.TypeReg:
			var f *os.File
			if f, err = root.OpenFile(h.Name, os.O_CREATE|os.O_WRONLY|os.O_EXCL, h.FileInfo().Mode().Perm()|0o600); err == nil {
				_, err = io.Copy(f, r)
				err = errors.Join(err, f.Close())
			}
		}
		if err != nil {
			return err
		}
	}
}

func openRoot(dir string) (*os.Root, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return os.OpenRoot(dir)
}

// removeTree removes a build folder, read-only module files included.
func removeTree(dir string) { os.RemoveAll(dir) }

// stranger verifies the published file with the published program, then a copy
// with one flipped byte.
func (d *demo) stranger(ctx context.Context) error {
	d.title(3, "A stranger checks it, with the file and the root of trust alone")
	good, err := d.check(ctx, d.made.Artifact)
	if err != nil {
		return err
	}
	d.made.Verified, d.made.SHA256 = good, good.File.SHA256
	printReport(d.term, good)
	if good.Verdict != verify.Verified {
		return fault.Tampered.New("the release does not verify")
	}
	forged := filepath.Join(d.home.path("dist"), "flipped", binaryName())
	if err := flipByte(d.made.Artifact, forged); err != nil {
		return err
	}
	bad, err := d.check(ctx, forged, "--bundle", d.made.Bundle)
	if err != nil {
		return err
	}
	d.made.Refused = bad
	d.term.printf("\nThe same with one byte flipped:\n")
	printReport(d.term, bad)
	if bad.Verdict != verify.Refused {
		return fault.Tampered.New("a changed file was not refused")
	}
	return nil
}

// check runs the released program's own verify command.
func (d *demo) check(ctx context.Context, file string, more ...string) (*verify.Report, error) {
	args := append([]string{"verify", file, "--trust", d.made.TrustedRoot, "--json"}, more...)
	out, err := exec.CommandContext(ctx, d.made.Artifact, args...).Output()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		return nil, fault.Unavailable.New("running the released program: %w", err)
	}
	var r verify.Report
	if err := json.Unmarshal(out, &r); err != nil {
		return nil, fault.Unavailable.New("reading the verification's report: %w", err)
	}
	return &r, nil
}

func flipByte(from, to string) error {
	b, err := os.ReadFile(from)
	if err == nil {
		b[len(b)/2] ^= 1
		if err = os.MkdirAll(filepath.Dir(to), 0o755); err == nil {
			err = os.WriteFile(to, b, 0o644)
		}
	}
	if err != nil {
		return fault.Unavailable.New("flipping a byte: %w", err)
	}
	return nil
}
