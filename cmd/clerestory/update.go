package main

import (
	"context"
	"errors"

	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/update"
	"clerestory.dev/clerestory/verify"
)

type updateCmd struct {
	Trust   string `type:"path" help:"The vendor's trusted_root.json (default: ${trust}). Get it once, from somebody you trust, and compare its fingerprint."`
	Repo    string `required:"" placeholder:"URL" help:"The vendor's repository: a URL or a folder. Any mirror will do."`
	Product string `required:"" help:"The product's id."`
	Channel string `default:"stable" help:"The channel to follow."`
	Log     string `help:"The log's URL or folder (default: log/ in the repository, else the one in the trusted root)."`

	Check bool          `xor:"mode" help:"Say what would be installed, and install nothing."`
	Watch bool          `xor:"mode" help:"Go on, and look again and again."`
	Every time.Duration `default:"15m" help:"Time between two looks with --watch, plus or minus a tenth."`

	Builders             int    `help:"How many different builders must have got the same bytes of every file."`
	UnsafeUnreproducible bool   `name:"unsafe-unreproducible" help:"Accept a version that nobody rebuilt, after one that others had rebuilt."`
	Health               string `placeholder:"COMMAND" help:"The product's own check, run by the shell in the new version's folder; if it fails, the version before comes back."`
	JSON                 bool   `help:"Print the result as JSON; with --watch one object per look."`
}

func (c *updateCmd) Help() string {
	return "It installs to the folder --dir: versions/, the link \"current\" and what was seen; nobody else may write there. Whatever is wrong, the version in place stays. Exit codes: 0 updated or up to date; 1 refused; 2 wrong usage; 3 could not be checked. HTTPS_PROXY, HTTP_PROXY and NO_PROXY are honoured."
}

// updateReport is what --json prints.
type updateReport struct {
	*update.Result
	Code   update.Code `json:"code,omitempty"`
	Reason string      `json:"reason,omitempty"`
}

// Run updates once, or until it is stopped.
func (c *updateCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	client, err := c.client(cli, t)
	if err != nil {
		return err
	}
	if c.Watch {
		if c.Every < time.Second {
			return fault.Invalid.New("--every must be at least 1s: mirrors are shared")
		}
		err := client.Watch(ctx, c.Every, func(r *update.Result, err error) { _ = c.tell(t, r, err) })
		if errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	}
	act := client.Update
	if c.Check {
		act = client.Check
	}
	r, err := act(ctx)
	return c.tell(t, r, err)
}

func (c *updateCmd) client(cli *cli, t *terminal) (*update.Client, error) {
	if cli.Dir == "" {
		return nil, fault.Invalid.New("name the folder to install to with --dir")
	}
	trust, err := readTrust(c.Trust)
	if err != nil {
		return nil, err
	}
	cfg := update.Config{Trust: trust, Repo: c.Repo, Log: c.Log, Dir: cli.Dir, Product: c.Product, Channel: c.Channel,
		Policy: update.Policy{Builders: c.Builders, UnsafeUnreproducible: c.UnsafeUnreproducible}}
	if c.UnsafeUnreproducible {
		t.note("clerestory: versions that nobody rebuilt are accepted: --unsafe-unreproducible")
	}
	if c.Health != "" {
		cfg.Health = update.HealthCommand(c.Health)
	}
	client, err := update.New(cfg)
	if err != nil && verify.CodeOf(err) == "" {
		err = fault.Invalid.New("%w", err)
	}
	return client, err
}

// tell prints what a look came to, and gives the exit code.
func (c *updateCmd) tell(t *terminal, r *update.Result, err error) error {
	if c.JSON {
		report := updateReport{Result: r, Code: update.CodeOf(err)}
		if err != nil {
			report.Reason = err.Error()
		}
		if err := t.json(report); err != nil {
			return err
		}
	} else {
		c.print(t, r, err)
	}
	switch {
	case err == nil:
		return nil
	case update.Definite(err):
		return exitCode(fault.Tampered.Exit)
	}
	return exitCode(fault.Unavailable.Exit)
}

func (c *updateCmd) print(t *terminal, r *update.Result, err error) {
	for _, n := range r.Notes {
		t.note("clerestory: %s", line(n))
	}
	inPlace, stays := r.Version, line(r.Product)+" "+line(r.Version)+" stays in place."
	if inPlace == "" {
		inPlace, stays = "no version", "Nothing is installed."
	}
	switch {
	case err != nil && update.Definite(err):
		t.printf("%s: %s\n%s\n", t.style(bold+";"+red, "REFUSED "+string(update.CodeOf(err))), line(err.Error()), stays)
	case err != nil:
		t.printf("%s: %s\n%s\n", t.style(bold+";"+amber, "NOT CHECKED"), line(err.Error()), stays)
	case r.Updated:
		t.printf("%s: %s %s, got by %s, in a log of %d entries; %d bytes in %d requests.\n", t.style(bold+";"+green, "UPDATED"), line(r.Product), line(r.Version), many(r.Builders, "builder"), r.LogSize, r.Traffic.Bytes, r.Traffic.Requests)
	case r.Available != "":
		t.printf("%s: %s %s is verified and would replace %s.\n", t.style(bold, "AVAILABLE"), line(r.Product), line(r.Available), line(inPlace))
	case r.Version == "":
		t.printf("%s: no version of %s is offered to this client now.\n", t.style(bold, "NOTHING TO INSTALL"), line(r.Product))
	default:
		t.printf("%s: %s %s, after %d bytes.\n", t.style(bold+";"+green, "UP TO DATE"), line(r.Product), line(inPlace), r.Traffic.Bytes)
	}
}
