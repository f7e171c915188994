package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/verify"
)

type trustCmd struct {
	Show trustShowCmd `cmd:"" help:"Show whom and what a trusted root trusts, and its fingerprint."`
	Add  trustAddCmd  `cmd:"" help:"Make a trusted root the default of verify and log check, after comparing its fingerprint."`
}

type trustShowCmd struct {
	File string `arg:"" type:"existingfile" help:"A trusted_root.json."`
	JSON bool   `help:"Print JSON."`
}

// Run shows a root that is signed by its own keys; others are refused.
func (c *trustShowCmd) Run(t *terminal) error {
	trust, err := openTrust(c.File)
	if err != nil {
		return err
	}
	if c.JSON {
		return t.json(map[string]any{"fingerprint": trust.Fingerprint(), "root": trust.Root})
	}
	printTrust(t, trust)
	return nil
}

// openTrust reads and parses a trusted root.
func openTrust(path string) (*verify.Trust, error) {
	b, err := readTrust(path)
	if err != nil {
		return nil, err
	}
	trust, err := verify.ParseTrust(b)
	if err != nil {
		return nil, fault.Tampered.New("%s: %w", path, err)
	}
	return trust, nil
}

func printTrust(t *terminal, trust *verify.Trust) {
	r := trust.Root
	t.printf("fingerprint  %s\n", t.style(bold, trust.Fingerprint()))
	t.printf("vendor       %s\nroot         version %d, %d of %d keys, until %s\n", r.Clerestory.Vendor, r.Version,
		r.Roles["root"].Threshold, len(r.Roles["root"].KeyIDs), r.Expires.Format(time.DateOnly))
	t.printf("releases     need %d different approvers\nlog          %s  %s\n", r.Clerestory.Approvals, line(trust.Policy.Log.Origin()), line(trust.Policy.Log.URL))
	for _, r := range r.Clerestory.ReleaseKeys {
		t.printf("releases     of %s: %d different holders of the role release from entry %d on\n", r.Product, r.Holders, r.From)
	}
	for _, w := range trust.Policy.Witnesses {
		t.printf("witness      %s  %s\n", line(w.Name), line(w.URL))
	}
	if !trust.Policy.Needed() {
		t.printf("witness      %s\n", t.style(red, "none is needed: the log could show different histories to different people"))
	}
}

type trustAddCmd struct {
	File        string `arg:"" type:"existingfile" help:"A trusted_root.json."`
	Fingerprint string `help:"The fingerprint that you got another way; answers the question, and refuses another root."`
}

// Run compares, then writes the file to where verify looks by itself.
func (c *trustAddCmd) Run(t *terminal) error {
	trust, err := openTrust(c.File)
	if err != nil {
		return err
	}
	printTrust(t, trust)
	switch {
	case c.Fingerprint == "":
		if err := t.confirm("Is this the fingerprint that you got another way?", "--fingerprint HEX."); err != nil {
			return err
		}
	case !strings.EqualFold(strings.ReplaceAll(c.Fingerprint, " ", ""), trust.Fingerprint()):
		return fault.Tampered.New("this is another root: its fingerprint is %s", trust.Fingerprint())
	}
	to := defaultTrust()
	if old, err := openTrust(to); err == nil && old.Root.Clerestory.Vendor != trust.Root.Clerestory.Vendor {
		return fault.Conflict.New("%s is of vendor %s already; name this one with --trust instead", to, old.Root.Clerestory.Vendor)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return fmt.Errorf("keeping the trusted root: %w", err)
	}
	if err := os.WriteFile(to, trust.File(), 0o644); err != nil {
		return fmt.Errorf("keeping the trusted root: %w", err)
	}
	t.printf("kept as %s\n", to)
	return nil
}
