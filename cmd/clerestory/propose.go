package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/programme"
	"clerestory.dev/clerestory/internal/office/release"
)

type releaseProposeCmd struct {
	Product  string            `arg:"" help:"The product's id in the programme."`
	Version  string            `arg:"" help:"The version; once published it never gets another content."`
	Files    []string          `arg:"" type:"existingfile" help:"The files to release."`
	Channel  string            `default:"stable" help:"The channel."`
	By       string            `required:"" help:"Programme id of the person who proposes; nobody approves their own proposal."`
	Repo     string            `default:"." type:"existingdir" help:"A checkout of the source."`
	Revision string            `default:"HEAD" help:"The commit that the files were built from."`
	Builder  string            `default:"https://clerestory.dev/builder/by-hand/v1" help:"URI of the build platform."`
	Param    map[string]string `help:"Parameters of the build as name=value, for the provenance."`
	SBOM     string            `type:"existingfile" help:"A CycloneDX JSON file (default: made from the first Go binary, or else the list of files)."`
	Notes    string            `help:"What changed, for people."`
	// Emergency goes the emergency path of the rule; everybody reads why.
	Emergency string `help:"Why this can not wait, for everybody to read: goes the emergency path of the channel's rule."`
	Draft     bool   `help:"Keep it as a draft: nobody else is asked until you propose it again without --draft."`
	JSON      bool   `help:"Print JSON."`
}

// propose hands a draft in, or only keeps it.
func (c *releaseProposeCmd) propose(ctx context.Context, w *releaseWork, d release.Draft) (*release.Release, error) {
	if c.Draft {
		return w.Save(ctx, d)
	}
	return w.Propose(ctx, d)
}

// Run says the source and the build, then proposes.
func (c *releaseProposeCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	return withReleases(ctx, cli, t, func(w *releaseWork) error {
		p := &proposal{work: w, cmd: c}
		rel, err := p.make(ctx)
		if err != nil {
			return err
		}
		return w.print(rel, c.JSON)
	})
}

// proposal gathers what a release needs.
type proposal struct {
	work *releaseWork
	cmd  *releaseProposeCmd
}

func (p *proposal) make(ctx context.Context) (*release.Release, error) {
	c, w := p.cmd, p.work
	repository, err := p.checkProgramme(ctx)
	if err != nil {
		return nil, err
	}
	src, err := release.ReadSource(ctx, c.Repo, repository, c.Revision)
	if err != nil {
		return nil, err
	}
	source, err := w.home.keys().Unlock("source", w.passphrase)
	if err != nil {
		return nil, err
	}
	builder, err := w.home.keys().Unlock("builder", w.passphrase)
	if err != nil {
		return nil, err
	}
	started := time.Now()
	files, err := p.storeFiles(ctx)
	if err != nil {
		return nil, err
	}
	sbom, err := p.bill(ctx, src, files)
	if err != nil {
		return nil, err
	}
	saidSource, err := w.SaySource(ctx, c.Product, src, source)
	if err != nil {
		return nil, err
	}
	saidBuild, err := w.SayBuild(ctx, release.BuildRun{
		Source: src, Builder: c.Builder, Parameters: c.Param, Started: started, Finished: time.Now(), Files: files,
	}, builder)
	if err != nil {
		return nil, err
	}
	return c.propose(ctx, w, release.Draft{
		Product: c.Product, Version: c.Version, Channel: c.Channel, Files: append(files, sbom), SBOM: sbom,
		Source: saidSource, Build: saidBuild, Notes: c.Notes, By: c.By, Emergency: c.Emergency,
	})
}

// checkProgramme refuses what the programme in force does not know.
func (p *proposal) checkProgramme(ctx context.Context) (repository string, err error) {
	prog, err := programme.Current(ctx, p.work.db)
	if err != nil {
		return "", fmt.Errorf("reading the programme (clerestory apply puts one in force): %w", err)
	}
	i := slices.IndexFunc(prog.Products, func(x programme.Product) bool { return x.ID == p.cmd.Product })
	if i < 0 {
		return "", fault.Invalid.New("the programme has no product %q", p.cmd.Product)
	}
	if !slices.Contains(prog.Products[i].Channels, p.cmd.Channel) {
		return "", fault.Invalid.New("product %s has no channel %q; it has %s", p.cmd.Product, p.cmd.Channel, strings.Join(prog.Products[i].Channels, ", "))
	}
	if !slices.ContainsFunc(prog.People, func(x programme.Person) bool { return x.ID == p.cmd.By }) {
		return "", fault.Invalid.New("the programme has no person %q", p.cmd.By)
	}
	return prog.Products[i].Repository, nil
}

func (p *proposal) storeFiles(ctx context.Context) ([]release.File, error) {
	var all []release.File
	for _, path := range p.cmd.Files {
		f, err := os.Open(path)
		if err != nil {
			return nil, fault.Invalid.New("opening %s: %w", path, err)
		}
		stored, err := p.work.Store(ctx, filepath.Base(path), f)
		f.Close()
		if err != nil {
			return nil, err
		}
		all = append(all, stored)
	}
	return all, nil
}

// bill stores the bill of materials, after it was checked against every Go
// binary of the release.
func (p *proposal) bill(ctx context.Context, src release.Source, files []release.File) (release.File, error) {
	text, err := p.billText(src, files)
	if err != nil {
		return release.File{}, err
	}
	components, err := release.ReadSBOM(strings.NewReader(string(text)))
	if err != nil {
		return release.File{}, err
	}
	for _, path := range p.cmd.Files {
		f, err := os.Open(path)
		if err != nil {
			return release.File{}, fault.Invalid.New("opening %s: %w", path, err)
		}
		differ, err := release.CheckSBOM(components, f)
		f.Close()
		if err != nil {
			continue // no Go binary: nothing to compare with
		}
		if len(differ) > 0 {
			return release.File{}, fault.Invalid.New("the bill of materials does not fit %s: %s (%d differences)", filepath.Base(path), differ[0], len(differ))
		}
	}
	return p.work.Store(ctx, p.cmd.Product+"-"+p.cmd.Version+".cdx.json", strings.NewReader(string(text)))
}

// billText is the file that was given, what the first Go binary says of itself, or
// else the list of the files.
func (p *proposal) billText(src release.Source, files []release.File) ([]byte, error) {
	if p.cmd.SBOM != "" {
		b, err := os.ReadFile(p.cmd.SBOM)
		if err != nil {
			return nil, fault.Invalid.New("reading the bill of materials: %w", err)
		}
		return b, nil
	}
	for _, path := range p.cmd.Files {
		f, err := os.Open(path)
		if err != nil {
			return nil, fault.Invalid.New("opening %s: %w", path, err)
		}
		text, err := release.MakeSBOM(f, p.cmd.Product, p.cmd.Version, src.Time)
		f.Close()
		if err == nil {
			return text, nil
		}
	}
	return release.ListFiles(files, p.cmd.Product, p.cmd.Version, src.Time)
}
