package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"clerestory.dev/clerestory/internal/base/atomicfile"
	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/ledger/keyring"
	"clerestory.dev/clerestory/internal/ledger/signing"
	"clerestory.dev/clerestory/statement"
)

// signCmd answers a signing request. It needs no network, no vendor's folder and
// no trusted root: a request file, a key, and a person who reads.
type signCmd struct {
	Request string `arg:"" type:"path" help:"The request file that you were given."`
	Key     string `xor:"key" type:"path" help:"Your key file."`
	Agent   string `xor:"key" help:"Your key in the SSH agent (SSH_AUTH_SOCK): its fingerprint SHA256:… or its key id."`
	Out     string `type:"path" help:"Where the response goes (default: beside the request, with the key's id in its name)."`
	All     bool   `help:"Show every line of a long request."`
	Yes     bool   `help:"Do not ask: you have read what is signed."`
}

func (c *signCmd) Help() string {
	return "It prints what the bytes of the request say, decoded here, asks, and writes one file to send back. The words of whoever\n" +
		"made the request are shown apart. Keys on cards work through an SSH agent: ssh-add -s MODULE, then --agent SHA256:…"
}

// shownLines is how many lines of a request are shown without --all.
const shownLines = 200

// Run shows, asks, signs.
func (c *signCmd) Run(cli *cli, t *terminal) error {
	if c.Key == "" && c.Agent == "" {
		return fault.Invalid.New("name your key with --key FILE or --agent FINGERPRINT")
	}
	file, err := readBounded(c.Request, int64(signing.Limits.Request))
	if err != nil {
		return err
	}
	req, err := signing.ParseRequest(file)
	if err != nil {
		return err
	}
	if req.Expired(time.Now()) {
		return fault.Stale.New("the request expired at %s; ask for a new one", req.Expires)
	}
	if err := c.show(t, req); err != nil {
		return err
	}
	if !c.Yes {
		if err := t.confirm("Sign exactly this?", "--yes when you have read it"); err != nil {
			return err
		}
	}
	signer, err := c.signer(cli, t)
	if err != nil {
		return err
	}
	answer, err := signing.Answer(req, signer, time.Now())
	if err != nil {
		return err
	}
	return c.write(t, answer)
}

// show prints what the payload says, and apart from it what the asker says.
func (c *signCmd) show(t *terminal, req *signing.Request) error {
	s, err := signing.Describe(req)
	if err != nil {
		return fault.Invalid.New("reading what is to be signed: %w", err)
	}
	t.printf("%s\n", t.style(bold, s.Title))
	for i, l := range s.Lines {
		if i == shownLines && !c.All {
			t.printf("  … and %d lines more, which --all shows\n", len(s.Lines)-i)
			break
		}
		t.printf("  %-24s %s\n", l.Name, l.Text)
	}
	t.printf("The asker's own words    %s\n", signing.Printable(req.What, 1000))
	t.printf("Signatures needed        %d of %d keys, until %s\n", req.Threshold, len(req.Keys), req.Expires)
	t.printf("SHA-256 of the payload   %s\n", s.SHA256)
	return nil
}

// signer is the key that was named: in a file, where a passphrase unlocks it, or
// with the agent.
func (c *signCmd) signer(cli *cli, t *terminal) (statement.Signer, error) {
	if c.Agent != "" {
		return sshAgent().Find(c.Agent)
	}
	name, ok := strings.CutSuffix(filepath.Base(c.Key), ".key")
	if !ok {
		return nil, fault.Invalid.New("%s: a key file is called NAME.key", c.Key)
	}
	ring := &keyring.Ring{Dir: filepath.Dir(c.Key), Agent: sshAgent()}
	public, err := ring.Find(name)
	if err != nil {
		return nil, err
	}
	var passphrase []byte
	if public.Agent == "" {
		if passphrase, err = t.passphrase(cli.PassphraseFile, "key "+name); err != nil {
			return nil, err
		}
	}
	return ring.Unlock(name, passphrase)
}

func (c *signCmd) write(t *terminal, answer *signing.Response) error {
	b, err := answer.Format()
	if err != nil {
		return err
	}
	if c.Out == "" {
		c.Out = fmt.Sprintf("%s.%s.response.json", strings.TrimSuffix(c.Request, ".json"), answer.KeyID[:8])
	}
	if err := atomicfile.Write(c.Out, b, 0o644); err != nil {
		return fault.Unavailable.New("writing the response: %w", err)
	}
	t.printf("signed with key %s; send back %s\n", answer.KeyID, line(c.Out))
	return nil
}

// sshAgent is the agent of who runs the command.
func sshAgent() keyring.Agent { return keyring.Agent{Socket: os.Getenv("SSH_AUTH_SOCK")} }

// readBounded reads a file of at most limit bytes.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.NotFound.New("there is no file %s", line(path))
	}
	if err != nil {
		return nil, fault.Unavailable.New("opening %s: %w", line(path), err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fault.Unavailable.New("reading %s: %w", line(path), err)
	}
	if int64(len(b)) > limit {
		return nil, fault.Invalid.New("%s has more than %d bytes", line(path), limit)
	}
	return b, nil
}
