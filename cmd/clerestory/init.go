package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/programme"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/gate/policy"
	"clerestory.dev/clerestory/internal/ledger/keyring"
	"clerestory.dev/clerestory/verify"
)

type initCmd struct {
	Folder    string   `arg:"" type:"path" help:"The folder to make; it must be empty or missing."`
	Vendor    string   `help:"The vendor's id, such as acme; it can never change."`
	Name      string   `help:"The vendor's name as people read it."`
	URL       string   `help:"How visitors will reach the portal, such as https://trust.acme.example."`
	Origin    string   `help:"The log's name, such as acme.example/log; it can never change (default: the portal's host, /log)."`
	Contact   string   `help:"Where questions go: mailto:… or https://… (default: the portal's about page)."`
	Security  string   `help:"Where weaknesses are reported: mailto:… or https://… (default: the contact)."`
	Product   string   `help:"The first product's id."`
	Listen    string   `default:"127.0.0.1:8700" help:"The address that the portal listens on."`
	Database  string   `default:"clerestory.db" help:"A file in the folder, or a postgres:// URL."`
	Witness   []string `sep:"none" help:"A witness of the log as name=vkey=url; repeat it. Its operator gives you the vkey."`
	Quorum    int      `help:"How many of the witnesses must cosign (default: more than half)."`
	NoWitness bool     `name:"unsafe-no-witnesses" help:"Start without witnesses: the log could then show different histories to different people."`
	Approvals int      `default:"2" help:"How many different people must approve a release, 2 or more; it can never change."`
	RootPass  string   `name:"root-passphrase-file" type:"path" help:"File with another passphrase for the root keys (default: the same as the other keys')."`
	RootKeys  int      `default:"3" help:"How many root keys to make."`
	RootNeed  int      `default:"2" help:"How many of the root keys must sign."`
}

func (c *initCmd) Help() string {
	return "What is not given by a flag is asked for. The folder holds the programme (review it like code), the keys, the log and the database.\n" +
		"Move the folder root-keys to offline media afterwards: it is needed only to give, rotate or revoke keys (--root-keys names it then)."
}

// Run makes the folder, then the programme, keys, root and first statements.
func (c *initCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	if entries, err := os.ReadDir(c.Folder); err == nil && len(entries) > 0 {
		return fault.Conflict.New("%s is not empty: choose a new folder", c.Folder)
	}
	if err := c.complete(t); err != nil {
		return err
	}
	passphrase, err := t.passphrase(cli.PassphraseFile, "the new keys (at least 8 characters)")
	if err != nil {
		return err
	}
	rootPassphrase := passphrase
	if c.RootPass != "" {
		if rootPassphrase, err = readPassphrase(c.RootPass); err != nil {
			return err
		}
	}
	plan := founding{
		rootPassphrase: rootPassphrase,
		dir:            c.Folder, passphrase: passphrase, workFactor: cli.keyCost(t), origin: c.Origin, rootKeys: c.RootKeys, rootNeed: c.RootNeed,
		config: config{Listen: c.Listen, URL: c.URL, Database: c.Database, UnsafeNoWitnesses: c.NoWitness},
		policy: func(logVKey string) (string, error) { return c.policy(logVKey) },
		folder: func(dir string) error {
			return programme.Init(dir, programme.Answers{
				Vendor:          programme.Vendor{ID: c.Vendor, Name: c.Name, URL: c.URL, Contact: c.Contact},
				Log:             programme.Log{Origin: c.Origin, URL: strings.TrimSuffix(c.URL, "/") + "/log/"},
				Product:         programme.Product{ID: c.Product},
				Approvals:       c.Approvals,
				SecurityContact: c.Security, Policies: policy.Default(), Now: time.Now(),
			})
		},
	}
	h, err := found(ctx, plan)
	if err != nil {
		return err
	}
	trust, err := h.trust()
	if err != nil {
		return err
	}
	t.printf("%s is ready.\n\nThe root of trust, for everybody who will check you: %s\nIts fingerprint: %s\n\n", line(c.Folder), h.path("trusted_root.json"), trust.Fingerprint())
	t.printf("Next:\n  1. edit %s and its neighbours, then: clerestory apply %s\n  2. clerestory serve --dir %s\n  3. move %s to offline media\n",
		h.path("programme", "programme.yaml"), c.Folder, c.Folder, h.path("root-keys"))
	return nil
}

// complete asks for what the flags have not said.
func (c *initCmd) complete(t *terminal) error {
	questions := []struct {
		field    *string
		flag     string
		question string
		standard func() string
	}{
		{&c.Vendor, "vendor", "The vendor's id (a-z, 0-9, -)", func() string { return "acme" }},
		{&c.Name, "name", "The vendor's name", func() string { return c.Vendor }},
		{&c.URL, "url", "The portal's address", func() string { return "https://trust." + c.Vendor + ".example" }},
		{&c.Product, "product", "The first product's id", func() string { return "agent" }},
	}
	for _, q := range questions {
		if *q.field != "" {
			continue
		}
		if !t.interactive() {
			return fault.Invalid.New("--%s is missing, and there is nobody to ask", q.flag)
		}
		var err error
		if *q.field, err = t.ask(q.question, q.standard()); err != nil {
			return err
		}
	}
	host := strings.TrimPrefix(strings.TrimPrefix(c.URL, "https://"), "http://")
	host, _, _ = strings.Cut(host, "/")
	if c.Origin == "" {
		c.Origin = host + "/log"
	}
	if c.Contact == "" {
		c.Contact = strings.TrimSuffix(c.URL, "/") + "/about"
	}
	if c.Security == "" {
		c.Security = c.Contact
	}
	if len(c.Witness) == 0 && !c.NoWitness {
		return fault.Invalid.New("name the log's witnesses with --witness name=vkey=url (clerestory witness runs one), or --unsafe-no-witnesses to add them later")
	}
	return nil
}

// policy writes the C2SP tlog-policy of the new log.
func (c *initCmd) policy(logVKey string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "log %s %s/log/\n", logVKey, strings.TrimSuffix(c.URL, "/"))
	var names []string
	for _, w := range c.Witness {
		name, rest, ok := strings.Cut(w, "=")
		cut := strings.LastIndex(rest, "=http")
		if !ok || cut < 0 {
			return "", fault.Invalid.New("--witness %s: expected name=vkey=url", line(w))
		}
		fmt.Fprintf(&b, "witness %s %s %s\n", name, rest[:cut], rest[cut+1:])
		names = append(names, name)
	}
	if len(names) == 0 {
		return b.String() + "quorum none\n", nil
	}
	need := c.Quorum
	if need == 0 {
		need = len(names)/2 + 1
	}
	fmt.Fprintf(&b, "group witnesses %d %s\nquorum witnesses\n", need, strings.Join(names, " "))
	return b.String(), nil
}

// founding is all that is needed to make a vendor's folder.
type founding struct {
	dir                string
	passphrase         []byte
	rootPassphrase     []byte
	workFactor         int // of the key files; 0 is keyring's own
	origin             string
	rootKeys, rootNeed int
	machines           []string // further keys, each named like its role
	config             config
	policy             func(logVKey string) (string, error)
	folder             func(dir string) error // writes the programme folder
}

// found makes the folder beside its place and moves it there when it is whole:
// a failure half way leaves nothing that looks like a vendor's folder.
func found(ctx context.Context, f founding) (*home, error) {
	parent := filepath.Dir(f.dir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return nil, fault.Unavailable.New("making the folder: %w", err)
	}
	building, err := os.MkdirTemp(parent, ".clerestory-init-")
	if err != nil {
		return nil, fault.Unavailable.New("making the folder: %w", err)
	}
	defer os.RemoveAll(building)
	h := &home{dir: building, config: f.config}
	if err := f.make(ctx, h); err != nil {
		return nil, err
	}
	os.Remove(f.dir) // an empty one may be in the way
	if err := os.Rename(building, f.dir); err != nil {
		return nil, fault.Unavailable.New("putting the folder in its place: %w", err)
	}
	return &home{dir: f.dir, config: f.config}, nil
}

func (f founding) make(ctx context.Context, h *home) error {
	text, err := yaml.Marshal(f.config)
	if err != nil {
		return fmt.Errorf("writing %s: %w", configFile, err)
	}
	if err := os.WriteFile(h.path(configFile), append([]byte("# How this vendor's folder is run; clerestory serve --help says more.\n"), text...), 0o600); err != nil {
		return fmt.Errorf("writing %s: %w", configFile, err)
	}
	if err := f.folder(h.path("programme")); err != nil {
		return err
	}
	p, err := programme.Open(h.path("programme"))
	if err != nil {
		return err
	}
	roots, err := f.makeRoot(h, p)
	if err != nil {
		return err
	}
	db, err := h.openDB(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	if next, err := db.Next(ctx); err != nil || next != 0 {
		return errors.Join(err, fault.Conflict.New("the database %s is in use already", f.config.Database))
	}
	trust, err := h.trust()
	if err != nil {
		return err
	}
	speaker := &keyring.Speaker{Trust: trust, Roots: roots[:f.rootNeed], Now: time.Now}
	return f.grant(ctx, h, db, p, speaker)
}

// makeRoot makes the root, log and online keys, and the first root of trust.
func (f founding) makeRoot(h *home, p *programme.Programme) ([]*keyring.Key, error) {
	rootRing, ring := h.rootKeys(), h.keys()
	rootRing.WorkFactor, ring.WorkFactor = f.workFactor, f.workFactor
	var roots []*keyring.Key
	for i := range f.rootKeys {
		name := fmt.Sprintf("root-%d", i+1)
		k, err := rootRing.Create(name, "root", name, f.rootPassphrase)
		if err != nil {
			return nil, err
		}
		roots = append(roots, k)
	}
	if f.rootNeed < 1 || f.rootNeed > len(roots) {
		return nil, fault.Invalid.New("%d of %d root keys can not be asked for", f.rootNeed, len(roots))
	}
	logKey, err := ring.Create("log", "log", "log", f.passphrase)
	if err != nil {
		return nil, err
	}
	online, err := ring.Create("online", "online", "online", f.passphrase)
	if err != nil {
		return nil, err
	}
	_, vkey, err := logKey.Note(f.origin)
	if err != nil {
		return nil, err
	}
	text, err := f.policy(vkey)
	if err != nil {
		return nil, err
	}
	file, err := keyring.NewRoot(keyring.RootPlan{
		Vendor: p.Vendor.ID, Policy: text, Approvals: p.Approvals, Threshold: f.rootNeed,
		Expires: time.Now().AddDate(1, 0, 0), Online: []keyring.Public{online.Public},
	}, roots)
	if err != nil {
		return nil, err
	}
	if _, err := verify.ParseTrust(file); err != nil {
		return nil, err
	}
	return roots, h.addRoot(1, file)
}

// grant makes the first keys of each role, one per approver, and states them.
func (f founding) grant(ctx context.Context, h *home, db *store.DB, p *programme.Programme, speaker *keyring.Speaker) error {
	ring := h.keys()
	ring.WorkFactor = f.workFactor
	type first struct{ name, role, holder string }
	firsts := []first{{"release", "release", "release"}, {"source", "source", "source"}, {"builder", "builder", "builder"}, {"programme", "programme", "programme"}}
	for _, m := range f.machines {
		firsts = append(firsts, first{m, m, m})
	}
	for _, person := range p.People {
		for _, role := range person.Roles {
			if role == programme.Approver {
				firsts = append(firsts, first{person.ID, "approver", person.ID})
			}
		}
	}
	var made []keyring.Public
	for _, k := range firsts {
		key, err := ring.Create(k.name, k.role, k.holder, f.passphrase)
		if err != nil {
			return err
		}
		made = append(made, key.Public)
	}
	return db.Write(ctx, func(tx *store.Tx) error {
		for _, k := range made {
			if _, err := speaker.Grant(ctx, tx, k, []string{"*"}); err != nil {
				return err
			}
		}
		return nil
	})
}
