package main

import (
	"path/filepath"
	"strings"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/ledger/keyring"
)

// keySource says where a new key's private part is: in a new file, unless told.
type keySource struct {
	Agent  string `xor:"source" help:"Use a key that the SSH agent holds: its fingerprint SHA256:…, or its key id."`
	Public string `xor:"source" type:"existingfile" help:"Use a key that is elsewhere: a file with its public part, as ssh-add -L or clerestory key new prints it."`
}

// make makes or adopts a key, and writes its file.
func (s keySource) make(ring *keyring.Ring, name, role, holder string, passphrase []byte) (keyring.Public, error) {
	switch {
	case s.Agent != "":
		k, err := ring.Adopt(name, role, holder, s.Agent)
		if err != nil {
			return keyring.Public{}, err
		}
		return k.Public, nil
	case s.Public != "":
		text, err := readBounded(s.Public, 16<<10)
		if err != nil {
			return keyring.Public{}, err
		}
		public, fingerprint, err := keyring.ParseAuthorizedKey(text)
		if err != nil {
			return keyring.Public{}, err
		}
		return ring.AdoptPublic(name, role, holder, public, fingerprint)
	}
	k, err := ring.Create(name, role, holder, passphrase)
	if err != nil {
		return keyring.Public{}, err
	}
	return k.Public, nil
}

// keyNewCmd makes a key where its holder is; only the public part travels.
type keyNewCmd struct {
	File   string `arg:"" type:"path" help:"The file to make: NAME.key."`
	Role   string `default:"release" enum:"approver,release" help:"What it is meant for: ${enum}."`
	Holder string `help:"Programme id of the person that holds it (default: the name)."`
}

// Run makes the file, and prints the public key for whoever gives it a role.
func (c *keyNewCmd) Run(cli *cli, t *terminal) error {
	name, ok := strings.CutSuffix(filepath.Base(c.File), ".key")
	if !ok {
		return fault.Invalid.New("%s: a key file is called NAME.key", line(c.File))
	}
	if c.Holder == "" {
		c.Holder = name
	}
	passphrase, err := t.passphrase(cli.PassphraseFile, "the new key (at least 8 characters)")
	if err != nil {
		return err
	}
	ring := &keyring.Ring{Dir: filepath.Dir(c.File), WorkFactor: cli.keyCost(t)}
	k, err := ring.Create(name, c.Role, c.Holder, passphrase)
	if err != nil {
		return err
	}
	text, err := keyring.AuthorizedKey(k.Public.Public, name)
	if err != nil {
		return err
	}
	t.note("key id %s; send the line below to who gives it a role (clerestory key create --public FILE)", k.KeyID())
	t.printf("%s", text)
	return nil
}
