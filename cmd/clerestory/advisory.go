package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/programme"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/office/advisory"
	"clerestory.dev/clerestory/internal/office/release"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

type advisoryCmd struct {
	Check   advisoryCheckCmd   `cmd:"" help:"Check a CSAF 2.0 document: the standard's tests, and that its versions were released."`
	Publish advisoryPublishCmd `cmd:"" help:"Say an advisory, and the OpenVEX document derived from it, to the log."`
	List    advisoryListCmd    `cmd:"" help:"List the advisories."`
	VEX     advisoryVEXCmd     `cmd:"" name:"vex" help:"Print an advisory's OpenVEX document."`
	Account advisoryAccountCmd `cmd:"" help:"State how reports of weaknesses were dealt with since the last account."`
	Report  advisoryReportCmd  `cmd:"" help:"Make the key that reports are encrypted to, list reports, open one."`
}

// advisories opens the room of advisories.
func (h *home) advisories(db *store.DB, releases *release.Service) *advisory.Service {
	return &advisory.Service{DB: db, Releases: released{releases}, Roots: h.roots, URL: h.config.URL, Now: time.Now,
		Programme: func(ctx context.Context) (*programme.Programme, error) { return programme.Current(ctx, db) }}
}

// released is what the room of advisories asks of the room of releases.
type released struct{ *release.Service }

// Files implements advisory.Releases: a version counts when its statement was said.
func (r released) Files(ctx context.Context, product, version string) ([]verify.File, error) {
	rel, err := r.Show(ctx, product, version)
	if err != nil {
		return nil, err
	}
	if rel.Entry < 0 {
		return nil, fault.NotFound.New("%s %s is not published", product, version)
	}
	var files []verify.File
	for _, f := range rel.Files {
		files = append(files, verify.File{Name: f.Name, SHA256: f.SHA256})
	}
	return files, nil
}

// advising opens the vendor's folder for a command that needs no key.
func advising(ctx context.Context, cli *cli, t *terminal, do func(*advisory.Service, *store.DB) error) error {
	return reading(ctx, cli, t, func(w *releaseWork) error { return do(w.home.advisories(w.db, w.Service), w.db) })
}

// speaking opens it for one that says something with the security key.
func speaking(ctx context.Context, cli *cli, t *terminal, key string, do func(*advisory.Service, statement.Signer) (int64, error)) error {
	return withReleases(ctx, cli, t, func(w *releaseWork) error {
		signer, err := w.home.keys().Unlock(key, w.passphrase)
		if err != nil {
			return err
		}
		n, err := do(w.home.advisories(w.db, w.Service), signer)
		if err != nil || n < 0 {
			return err
		}
		return w.home.settle(ctx, w.db, n, w.passphrase)
	})
}

// readDocument reads a CSAF document, with a cap.
func readDocument(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.Invalid.New("opening the advisory: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, int64(advisory.Caps.Document)+1))
	if err != nil {
		return nil, fault.Unavailable.New("reading the advisory: %w", err)
	}
	return b, nil
}

// findings prints what is wrong with a document, one a line, as compilers do.
func findings(t *terminal, file string, err error) error {
	found, ok := errors.AsType[advisory.Findings](err)
	if !ok {
		return err
	}
	for _, f := range found {
		t.printf("%s:%s: %s (%s)\n", line(file), line(f.Where), line(f.What), f.Test)
	}
	return fault.Invalid.New("%s has %d mistakes", file, len(found))
}

type advisoryCheckCmd struct {
	File string `arg:"" type:"existingfile" help:"A CSAF 2.0 document."`
	JSON bool   `help:"Print the mistakes as JSON."`
}

// Run checks a document; without a vendor's folder as far as that goes.
func (c *advisoryCheckCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	raw, err := readDocument(c.File)
	if err != nil {
		return err
	}
	d, err := advisory.Parse(raw)
	against := "what was released"
	if err == nil {
		err = advising(ctx, cli, t, func(s *advisory.Service, _ *store.DB) error {
			_, err := s.Check(ctx, raw)
			return err
		})
		if _, home := openHome(cli.Dir); home != nil {
			t.note("clerestory: %v; its versions are not checked", home)
			err, against = nil, "the standard only"
		}
	}
	if c.JSON {
		found, _ := errors.AsType[advisory.Findings](err)
		if found != nil || err == nil {
			if err := t.json(append(advisory.Findings{}, found...)); err != nil {
				return err
			}
		}
		return err
	}
	if err != nil {
		return findings(t, c.File, err)
	}
	h := d.Head()
	t.printf("%s version %s is valid, held against %s; sha256 %s\n", line(h.ID), line(h.Version), against, d.SHA256)
	return nil
}

type advisoryPublishCmd struct {
	File string `arg:"" type:"existingfile" help:"A CSAF 2.0 document."`
	Key  string `default:"security" help:"The name of a key with the role security."`
}

// Run says the advisory and waits until it is witnessed.
func (c *advisoryPublishCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	raw, err := readDocument(c.File)
	if err != nil {
		return err
	}
	return speaking(ctx, cli, t, c.Key, func(s *advisory.Service, signer statement.Signer) (int64, error) {
		a, err := s.Publish(ctx, raw, signer)
		if err != nil {
			return -1, findings(t, c.File, err)
		}
		t.printf("%s version %s is published at entry %d, its OpenVEX document at entry %d\n%s%s\n", line(a.ID), a.Version, a.Entry, a.VEXEntry(), s.URL, a.Path())
		return a.VEXEntry(), nil
	})
}

type advisoryListCmd struct {
	JSON bool `help:"Print JSON."`
}

// Run lists the newest version of each.
func (c *advisoryListCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	return advising(ctx, cli, t, func(s *advisory.Service, _ *store.DB) error {
		all, err := s.List(ctx)
		if err != nil {
			return err
		}
		if c.JSON {
			out := []map[string]any{}
			for _, a := range all {
				out = append(out, map[string]any{"id": a.ID, "version": a.Version, "title": a.Title, "sha256": a.SHA256, "entry": a.Entry, "released": a.ReleasedAt, "documentHere": a.Raw != nil})
			}
			return t.json(out)
		}
		t.printf("%-24s %-10s %-8s %-12s %s\n", "id", "version", "entry", "released", "title")
		for _, a := range all {
			t.printf("%-24s %-10s %-8d %-12s %s\n", line(a.ID), line(a.Version), a.Entry, a.ReleasedAt.Format(time.DateOnly), line(a.Title))
		}
		return nil
	})
}

type advisoryVEXCmd struct {
	ID string `arg:"" help:"The advisory's id, as it stands in its address (small letters)."`
}

// Run prints the predicate of the VEX statement, as it stands in the log.
func (c *advisoryVEXCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	return advising(ctx, cli, t, func(s *advisory.Service, db *store.DB) error {
		all, err := s.Show(ctx, c.ID)
		if err != nil {
			return err
		}
		said, err := db.SaidAt(ctx, all[0].VEXEntry())
		if err != nil {
			return err
		}
		e, err := verify.ParseEntry(said.N, said.Envelope)
		if err != nil {
			return err
		}
		if _, err := statement.As(e.Statement, &statement.VEX{}); err != nil {
			return fault.NotFound.New("the log holds no VEX document for %s: %w", c.ID, err)
		}
		t.printf("%s\n", e.Statement.Predicate)
		return nil
	})
}

type advisoryAccountCmd struct {
	To  time.Time `format:"2006-01-02" help:"Day that ends the period, as 2026-12-01 (default: now)."`
	Key string    `default:"security" help:"The name of a key with the role security."`
}

// Run states the counts.
func (c *advisoryAccountCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	return speaking(ctx, cli, t, c.Key, func(s *advisory.Service, signer statement.Signer) (int64, error) {
		to := c.To
		if to.IsZero() {
			to = time.Now()
		}
		d, n, err := s.Account(ctx, to, signer)
		if err != nil {
			return -1, err
		}
		missed := d.Missed.Acknowledge + d.Missed.Triage + d.Missed.Fix + d.Missed.Publish
		t.printf("accounted at entry %d for %s to %s: %d received, %d fixed, %d published, %d rejected, %d open; %d promises missed\n",
			n, d.From, d.To, d.Received, d.Fixed, d.Published, d.Rejected, d.Open, missed)
		return n, nil
	})
}

// fmtDue is a deadline for a list.
func fmtDue(step advisory.Step, now time.Time) string {
	switch {
	case step.Due.IsZero():
		return "-"
	case step.Missed(now):
		return fmt.Sprintf("%s late", step.Name)
	case !step.Done.IsZero():
		return step.Name + " done"
	}
	return step.Name + " by " + step.Due.Format(time.DateOnly)
}
