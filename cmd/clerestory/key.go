package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/ledger/keyring"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

type keyCmd struct {
	New    keyNewCmd    `cmd:"" help:"Make a key file alone, for a person who signs elsewhere; it has no role until create --public gives it one."`
	Create keyCreateCmd `cmd:"" help:"Make a key, and state that it has a role from now on."`
	Say    keySayCmd    `cmd:"" help:"Put together what root keys have signed elsewhere, and say it: after create, revoke or root with --ask."`
	List   keyListCmd   `cmd:"" help:"List the key files here, and what the log says of each key."`
	Rotate keyRotateCmd `cmd:"" help:"Replace a key by a new one; rotate root makes new root keys."`
	Revoke keyRevokeCmd `cmd:"" help:"State that a key is not believed any more."`
	Root   keyRootCmd   `cmd:"" help:"Renew the root of trust with the same root keys: its expiry and witnesses."`
}

// rootFlags say where the root keys are; they are needed only by key commands.
type rootFlags struct {
	RootKeys           string `type:"path" help:"Folder with the root keys (default: root-keys in the vendor's folder)."`
	RootPassphraseFile string `type:"path" help:"File with the passphrase of the root keys, where it is another than the other keys'."`
}

// speaker unlocks as many root keys as must sign.
func (f rootFlags) speaker(h *home, passphrase []byte) (*keyring.Speaker, error) {
	trust, err := h.trust()
	if err != nil {
		return nil, err
	}
	keys, err := f.unlock(h, trust, passphrase)
	if err != nil {
		return nil, err
	}
	return &keyring.Speaker{Trust: trust, Roots: keys, Now: time.Now}, nil
}

func (f rootFlags) ring(h *home) *keyring.Ring {
	if f.RootKeys == "" {
		return h.rootKeys()
	}
	return &keyring.Ring{Dir: f.RootKeys}
}

// secret is the root keys' passphrase: their own, or that of the other keys.
func (f rootFlags) secret(passphrase []byte) ([]byte, error) {
	if f.RootPassphraseFile == "" {
		return passphrase, nil
	}
	return readPassphrase(f.RootPassphraseFile)
}

func (f rootFlags) unlock(h *home, trust *verify.Trust, passphrase []byte) ([]*keyring.Key, error) {
	passphrase, err := f.secret(passphrase)
	if err != nil {
		return nil, err
	}
	ring := f.ring(h)
	found, err := ring.List()
	if err != nil {
		return nil, err
	}
	role := trust.Root.Roles["root"]
	var keys []*keyring.Key
	for _, p := range found {
		if _, ok := trust.Root.Keys[p.KeyID]; ok && p.Role == "root" && len(keys) < role.Threshold {
			k, err := ring.Unlock(p.Name, passphrase)
			if err != nil {
				return nil, err
			}
			keys = append(keys, k)
		}
	}
	if len(keys) < role.Threshold {
		return nil, fault.NotFound.New("%d root keys must sign, but %s holds %d of them: name their folder with --root-keys", role.Threshold, ring.Dir, len(keys))
	}
	return keys, nil
}

type keyCreateCmd struct {
	rootFlags
	Name     string   `arg:"" help:"The key's name: its file is keys/NAME.key."`
	Role     string   `required:"" enum:"approver,builder,programme,rebuilder,release,reviewer,security,source,tester" help:"What it may sign: ${enum}."`
	Holder   string   `help:"Programme id of the person or machine that holds it (default: the name)."`
	Products []string `default:"*" help:"The products that it may sign for; * is every one."`
	keySource
	askFlag
}

// Run makes the key file first: a key that was stated but lost would be worse.
func (c *keyCreateCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	if c.Holder == "" {
		c.Holder = c.Name
	}
	return withHome(ctx, cli, t, func(h *home, db *store.DB, passphrase []byte) error {
		var speaker *keyring.Speaker
		var err error
		if c.Ask == "" {
			if speaker, err = c.speaker(h, passphrase); err != nil {
				return err
			}
		}
		h.keyCost = cli.keyCost(t)
		key, err := c.make(h.keys(), c.Name, c.Role, c.Holder, passphrase)
		if err != nil {
			return err
		}
		if c.Ask != "" {
			return c.statement(t, h, keyring.Granting(key, c.Products), fmt.Sprintf("Give the key %s the role %s", c.Name, c.Role))
		}
		n, err := state(ctx, db, func(tx *store.Tx) (int64, error) {
			return speaker.Grant(ctx, tx, key, c.Products)
		})
		if err != nil {
			return err
		}
		t.printf("key %s (%s) may sign as %s from entry %d on\n", c.Name, key.KeyID, c.Role, n)
		return h.settle(ctx, db, n, passphrase)
	})
}

// withHome opens the vendor's folder, its database and asks for the passphrase. A
// database that is older than its log is refused before anything is said.
func withHome(ctx context.Context, cli *cli, t *terminal, do func(*home, *store.DB, []byte) error) error {
	h, err := openHome(cli.Dir)
	if err != nil {
		return err
	}
	h.wait = cli.Wait
	passphrase, err := h.passphrase(cli, t)
	if err != nil {
		return err
	}
	db, err := h.openDB(ctx)
	if err != nil {
		return err
	}
	if err := h.notBehind(ctx, db); err != nil {
		return errors.Join(err, db.Close())
	}
	return errors.Join(do(h, db, passphrase), db.Close())
}

// state writes one statement and returns its number.
func state(ctx context.Context, db *store.DB, say func(tx *store.Tx) (int64, error)) (n int64, err error) {
	err = db.Write(ctx, func(tx *store.Tx) error {
		n, err = say(tx)
		return err
	})
	return n, err
}

type keyListCmd struct {
	JSON bool `help:"Print JSON."`
}

// Run lists the files, then keys that only the log knows.
func (c *keyListCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	h, err := openHome(cli.Dir)
	if err != nil {
		return err
	}
	db, err := h.openDB(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	states, err := keyring.States(ctx, db)
	if err != nil {
		return err
	}
	files, err := h.keys().List()
	if err != nil {
		return err
	}
	type row struct {
		Name     string   `json:"name,omitempty"` // of the key file, when it is here
		Role     string   `json:"role"`
		Holder   string   `json:"holder"`
		KeyID    string   `json:"keyid"`
		Products []string `json:"products,omitempty"`
		State    string   `json:"state"`
		Entry    int64    `json:"entry"`
	}
	names := map[string]string{}
	for _, f := range files {
		names[f.KeyID] = f.Name
	}
	rows := []row{}
	for _, s := range states {
		did := map[string]string{statement.KeyGrant: "active", statement.KeyRetire: "retired", statement.KeyRevoke: "revoked"}[s.Key.Action]
		rows = append(rows, row{names[s.Key.KeyID], s.Key.Role, s.Key.Holder, s.Key.KeyID, s.Key.Products, did, s.Entry})
	}
	if c.JSON {
		return t.json(rows)
	}
	t.printf("%-16s %-10s %-12s %-8s %-18s %s\n", "key", "role", "holder", "state", "since entry", "key id")
	for _, r := range rows {
		name := r.Name
		if name == "" {
			name = "(not here)"
		}
		t.printf("%-16s %-10s %-12s %-8s %-18d %s\n", name, r.Role, r.Holder, r.State, r.Entry, r.KeyID)
	}
	return nil
}

type keyRotateCmd struct {
	rootFlags
	policyFlag
	keySource
	Name   string `arg:"" help:"The key to replace, or root."`
	Reason string `default:"regular rotation" help:"Why, for the statement."`
}

// Run grants the new key and retires the old one in one transaction, then puts
// the new file in the old one's place.
func (c *keyRotateCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	return withHome(ctx, cli, t, func(h *home, db *store.DB, passphrase []byte) error {
		h.keyCost = cli.keyCost(t)
		if c.Name == "root" {
			return c.rotateRoot(ctx, h, db, t, passphrase)
		}
		speaker, err := c.speaker(h, passphrase)
		if err != nil {
			return err
		}
		ring := h.keys()
		old, err := ring.Find(c.Name)
		if err != nil {
			return err
		}
		products, err := productsOf(ctx, db, old)
		if err != nil {
			return err
		}
		if old.Agent != "" && c.Agent == "" && c.Public == "" {
			return fault.Invalid.New("an SSH agent holds key %s: name the one that takes its place with --agent or --public", c.Name)
		}
		fresh, err := c.make(ring, c.Name+"-next", old.Role, old.Holder, passphrase)
		if err != nil {
			return err
		}
		n, err := state(ctx, db, func(tx *store.Tx) (int64, error) {
			if _, err := speaker.Grant(ctx, tx, fresh, products); err != nil {
				return 0, err
			}
			return speaker.Retire(ctx, tx, old, products, c.Reason)
		})
		if err != nil {
			return err
		}
		if err := errors.Join(ring.SetAside(c.Name, n), ring.Rename(c.Name+"-next", c.Name)); err != nil {
			return fmt.Errorf("the rotation is stated at entry %d, but the files were not renamed: %w", n, err)
		}
		t.printf("key %s is now %s; the old one (%s) ends at entry %d\n", c.Name, fresh.KeyID, old.KeyID, n)
		return h.settle(ctx, db, n, passphrase)
	})
}

type keyRevokeCmd struct {
	rootFlags
	askFlag
	Name   string `arg:"" help:"The key's name, or its id when the file is not here."`
	Since  int64  `default:"-1" help:"First log entry at which it is not believed (default: from now on). Name an earlier one when the key was stolen."`
	Reason string `required:"" help:"Why, for the statement."`
	Yes    bool   `help:"Do not ask."`
}

// Run states the revocation; the file stays, for the record.
func (c *keyRevokeCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	return withHome(ctx, cli, t, func(h *home, db *store.DB, passphrase []byte) error {
		key, err := findKey(ctx, h, db, c.Name)
		if err != nil {
			return err
		}
		products, err := productsOf(ctx, db, key)
		if err != nil {
			return err
		}
		since := c.Since
		if since < 0 {
			if since, err = db.Next(ctx); err != nil {
				return err
			}
		}
		if c.Ask != "" {
			return c.statement(t, h, keyring.Revoking(key, products, since, c.Reason), fmt.Sprintf("Revoke the key %s from entry %d on", key.Name, since))
		}
		speaker, err := c.speaker(h, passphrase)
		if err != nil {
			return err
		}
		if !c.Yes {
			if err := t.confirm(fmt.Sprintf("Nothing that key %s signed at entry %d or later will be believed. Revoke it?", key.Name, since), "--yes."); err != nil {
				return err
			}
		}
		n, err := state(ctx, db, func(tx *store.Tx) (int64, error) {
			return speaker.Revoke(ctx, tx, key, products, since, c.Reason)
		})
		if err != nil {
			return err
		}
		t.printf("key %s is revoked at entry %d, for everything from entry %d on\n", key.KeyID, n, since)
		return h.settle(ctx, db, n, passphrase)
	})
}

func findKey(ctx context.Context, h *home, db *store.DB, name string) (keyring.Public, error) {
	states, err := keyring.States(ctx, db)
	if err != nil {
		return keyring.Public{}, err
	}
	for _, s := range states {
		if s.Key.KeyID == name {
			return keyring.Public{Name: name, Role: s.Key.Role, Holder: s.Key.Holder, KeyID: name, Public: s.Key.Public}, nil
		}
	}
	return h.keys().Find(name)
}

func productsOf(ctx context.Context, db *store.DB, key keyring.Public) ([]string, error) {
	states, err := keyring.States(ctx, db)
	if err != nil {
		return nil, err
	}
	for _, s := range states {
		if s.Key.KeyID == key.KeyID && s.Key.Role == key.Role && s.Active {
			return s.Key.Products, nil
		}
	}
	return nil, fault.Conflict.New("key %s has no role in force (clerestory key list shows the keys)", key.Name)
}
