package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/ledger/keyring"
	"clerestory.dev/clerestory/internal/office/advisory"
)

type advisoryReportCmd struct {
	Key  reportKeyCmd  `cmd:"" help:"Make the key pair that reports are encrypted to; keep the file on no server."`
	List reportListCmd `cmd:"" help:"List reports with their deadlines."`
	Open reportOpenCmd `cmd:"" help:"Decrypt a report that was downloaded."`
}

type reportKeyCmd struct {
	File string `arg:"" type:"path" help:"File to write, encrypted with a passphrase; age reads it too."`
}

// Run writes the private key and prints the public one.
func (c *reportKeyCmd) Run(cli *cli, t *terminal) error {
	passphrase, err := t.passphrase(cli.PassphraseFile, "the new key "+c.File)
	if err != nil {
		return err
	}
	if len(passphrase) < 8 {
		return fault.Invalid.New("the passphrase must have at least 8 characters")
	}
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return err
	}
	to, err := age.NewScryptRecipient(string(passphrase))
	if err != nil {
		return err
	}
	if cost := cli.keyCost(t); cost > 0 {
		to.SetWorkFactor(cost)
	} else {
		to.SetWorkFactor(keyring.WorkFactor)
	}
	var b bytes.Buffer
	text := armor.NewWriter(&b)
	w, err := age.Encrypt(text, to)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "# public key: %s\n%s\n", id.Recipient(), id)
	if err := errors.Join(err, w.Close(), text.Close()); err != nil {
		return err
	}
	// Never over another key: with it went every report that it opens.
	f, err := os.OpenFile(c.File, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fault.Conflict.New("%s exists already", c.File)
	}
	if err != nil {
		return fault.Unavailable.New("writing the key: %w", err)
	}
	_, err = f.Write(b.Bytes())
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fault.Unavailable.New("writing the key: %w", err)
	}
	t.printf("recipient: %s\n", id.Recipient())
	t.note("write the line above into programme.yaml, under security, and keep %s where no server is", line(c.File))
	return nil
}

type reportListCmd struct{}

// Run lists what waits first.
func (c *reportListCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	return advising(ctx, cli, t, func(s *advisory.Service, _ *store.DB) error {
		cases, err := s.Cases(ctx, 500)
		if err != nil {
			return err
		}
		now := time.Now()
		for _, x := range cases {
			var steps []string
			for _, step := range x.Steps {
				steps = append(steps, fmtDue(step, now))
			}
			t.printf("%s  %-13s received %s  %s\n", x.ID, x.State, x.Received.Format(time.DateOnly), strings.Join(steps, ", "))
		}
		return nil
	})
}

type reportOpenCmd struct {
	File string `arg:"" type:"existingfile" help:"The encrypted report, as downloaded."`
	Key  string `required:"" type:"existingfile" help:"File with the private age key, encrypted with a passphrase or not."`
	JSON bool   `help:"Print JSON."`
}

// Run prints a report: other people's text, made safe for a terminal.
func (c *reportOpenCmd) Run(cli *cli, t *terminal) error {
	ids, err := c.identities(cli, t)
	if err != nil {
		return err
	}
	f, err := os.Open(c.File)
	if err != nil {
		return fault.Invalid.New("opening the report: %w", err)
	}
	defer f.Close()
	r, err := advisory.Open(f, ids...)
	if err != nil {
		return err
	}
	if c.JSON {
		return t.json(r)
	}
	for _, x := range []struct{ name, text string }{{"title", r.Title}, {"product", r.Product}, {"received", r.Received}, {"reference", r.Reference}, {"contact", r.Contact}, {"credit", r.Credit}} {
		if x.text != "" {
			t.printf("%-10s %s\n", x.name, line(x.text))
		}
	}
	t.printf("\n%s\n", plain(r.Details))
	return nil
}

// maxIdentities bounds a file of private keys, in bytes.
const maxIdentities = 64 << 10

func (c *reportOpenCmd) identities(cli *cli, t *terminal) ([]age.Identity, error) {
	f, err := os.Open(c.Key)
	if err != nil {
		return nil, fault.Invalid.New("opening the key: %w", err)
	}
	defer f.Close()
	in := bufio.NewReader(io.LimitReader(f, maxIdentities))
	var text io.Reader = in
	if head, _ := in.Peek(len(armor.Header)); string(head) == armor.Header {
		passphrase, err := t.passphrase(cli.PassphraseFile, c.Key)
		if err != nil {
			return nil, err
		}
		id, err := age.NewScryptIdentity(string(passphrase))
		if err != nil {
			return nil, fault.Denied.New("unlocking %s: %w", c.Key, err)
		}
		if text, err = age.Decrypt(armor.NewReader(in), id); err != nil {
			return nil, fault.Denied.New("unlocking %s: wrong passphrase, or the file is damaged", c.Key)
		}
	}
	ids, err := age.ParseIdentities(text)
	if err != nil {
		return nil, fault.Invalid.New("%s holds no private key of age", c.Key)
	}
	return ids, nil
}
