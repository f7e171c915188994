package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/ledger/keyring"
	"clerestory.dev/clerestory/internal/ledger/logread"
	"clerestory.dev/clerestory/internal/ledger/tile"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

type logCmd struct {
	List   logListCmd   `cmd:"" help:"List statements, newest first."`
	Show   logShowCmd   `cmd:"" help:"Show one statement: what it says, of what, signed by whom."`
	Prove  logProveCmd  `cmd:"" help:"Print the proof (C2SP tlog-proof) that an entry is in the log."`
	Check  logCheckCmd  `cmd:"" help:"Read and recompute a whole log; compare it with what this machine saw before."`
	Mirror logMirrorCmd `cmd:"" help:"Make, or bring up to date, a verified copy of a log."`
	Adopt  logAdoptCmd  `cmd:"" help:"Take over what the log holds into an older database, after a restore."`
}

// trustFlag says whom a reader believes.
type trustFlag struct {
	Trust string `type:"path" help:"The vendor's trusted_root.json (default: the vendor's folder's, when that is read, else ${trust})."`
}

// logReading is a log that is about to be read.
type logReading struct {
	src   tile.Source
	trust *verify.Trust
	home  *home // when it is the log of a vendor's folder; else nil
}

// open finds the log: a URL, a folder with a log, or a vendor's folder.
func (f trustFlag) open(ctx context.Context, cli *cli, source string) (*logReading, error) {
	r := &logReading{}
	var err error
	if source == "" || exists(filepath.Join(source, configFile)) {
		if r.home, err = openHome(cmp.Or(source, cli.Dir)); err != nil {
			return nil, err
		}
		source = r.home.logDir()
	}
	if r.src, err = tile.Open(source, nil); err != nil {
		return nil, err
	}
	h := r.home
	if h == nil && cli.Dir != "" { // a mirror of our own log
		if h, err = openHome(cli.Dir); err != nil {
			return nil, err
		}
	}
	if f.Trust == "" && h != nil {
		r.trust, err = h.trust()
		return r, err
	}
	trust, err := openTrust(f.Trust)
	if err != nil {
		return nil, err
	}
	r.trust, err = followRoots(ctx, source, trust)
	return r, err
}

type logListCmd struct {
	trustFlag
	Source  string `arg:"" optional:"" help:"The log's URL or folder (default: the vendor's folder)."`
	Kind    string `help:"Only this kind, such as release, key or a predicate type's URI."`
	Subject string `help:"Only about this subject: its name, or a digest in hex."`
	Signer  string `help:"Only signed by this key: its id, or its name in the vendor's folder."`
	Limit   int    `default:"50" help:"At most so many (1 to 500)."`
	JSON    bool   `help:"Print JSON."`
}

// listed is a statement in a list.
type listed struct {
	Entry   int64               `json:"entry"`
	Kind    string              `json:"kind"`
	Subject []statement.Subject `json:"subject"`
	Signers []string            `json:"signers"` // key ids
	SHA256  string              `json:"sha256"`
	SaidAt  *time.Time          `json:"saidAt,omitempty"` // by the vendor's own clock
}

// Run lists from the database, which has an index; another's log is read whole.
func (c *logListCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	if c.Limit < 1 || c.Limit > 500 {
		return fault.Invalid.New("--limit must be 1 to 500")
	}
	if err := checkKind(c.Kind); err != nil {
		return err
	}
	r, err := c.open(ctx, cli, c.Source)
	if err != nil {
		return err
	}
	list := c.fromLog
	if r.home != nil {
		list = c.fromStore
	}
	all, err := list(ctx, t, r)
	if err != nil {
		return err
	}
	if c.JSON {
		return t.json(all)
	}
	t.printf("%7s  %-10s  %-50s  %s\n", "entry", "kind", "subject", "signed by key")
	for _, s := range all {
		t.printf("%7d  %-10s  %-50s  %s\n", s.Entry, line(statement.KindOf(s.Kind)), subjectText(s.Subject), shortKeys(s.Signers))
	}
	return nil
}

func checkKind(kind string) error {
	if kind == "" || strings.Contains(kind, ":") || slices.ContainsFunc(statement.Kinds, func(k statement.Kind) bool { return k.Name == kind }) {
		return nil
	}
	var names []string
	for _, k := range statement.Kinds {
		names = append(names, k.Name)
	}
	return fault.Invalid.New("there is no kind %q; the kinds are %s, or the URI of another", kind, strings.Join(names, ", "))
}

func (c *logListCmd) fromStore(ctx context.Context, _ *terminal, r *logReading) ([]listed, error) {
	db, err := r.home.openDB(ctx)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	signer := c.Signer
	if key, err := r.home.keys().Find(signer); signer != "" && err == nil {
		signer = key.KeyID
	}
	said, err := db.Find(ctx, store.Filter{Kind: c.Kind, Subject: c.Subject, Signer: signer, Limit: c.Limit})
	if err != nil {
		return nil, err
	}
	all := []listed{}
	for _, s := range said {
		e, err := verify.ParseEntry(s.N, s.Envelope)
		if err != nil {
			return nil, fault.Tampered.New("statement %d in the database: %w", s.N, err)
		}
		one := describeEntry(logread.Entry{N: s.N, Raw: s.Envelope, Envelope: e.Envelope, Statement: e.Statement})
		one.SaidAt = &s.At
		all = append(all, one)
	}
	return all, nil
}

func (c *logListCmd) fromLog(ctx context.Context, t *terminal, r *logReading) ([]listed, error) {
	filter := logread.Filter{Kind: c.Kind, Subject: c.Subject, Signer: c.Signer}
	all := []listed{}
	newest := func() {
		slices.SortFunc(all, func(a, b listed) int { return cmp.Compare(b.Entry, a.Entry) })
		all = all[:min(len(all), c.Limit)]
	}
	_, err := logread.Check(ctx, r.src, r.trust.Policy, logread.Options{
		Memory: seenLogs(), Progress: progress(t, "reading the log"),
		Each: func(e logread.Entry) {
			if filter.Match(e) {
				all = append(all, describeEntry(e))
			}
			if len(all) >= 4*c.Limit { // a long log must not fill the memory
				newest()
			}
		},
	})
	newest()
	return all, err
}

func describeEntry(e logread.Entry) listed {
	one := listed{Entry: e.N, Kind: e.Statement.Kind(), Subject: e.Statement.Subject, SHA256: statement.HashOf(e.Raw)}
	for _, s := range e.Envelope.Signatures {
		one.Signers = append(one.Signers, s.KeyID)
	}
	return one
}

func subjectText(all []statement.Subject) string {
	name := line(all[0].Name)
	if r := []rune(name); len(r) > 40 {
		name = string(r[:39]) + "…"
	}
	if len(all) > 1 {
		name += fmt.Sprintf(" (+%d)", len(all)-1)
	}
	return name
}

func shortKeys(ids []string) string {
	var short []string
	for _, id := range ids {
		short = append(short, line(id[:min(len(id), 12)]))
	}
	return strings.Join(short, " ")
}

type logShowCmd struct {
	trustFlag
	Entry  int64  `arg:"" help:"The entry's number."`
	Source string `arg:"" optional:"" help:"The log's URL or folder (default: the vendor's folder)."`
	JSON   bool   `help:"Print JSON."`
	Raw    bool   `help:"Print the exact bytes of the entry (a DSSE envelope), and nothing else."`
}

// Run shows a statement. Another's log must prove that it holds it.
func (c *logShowCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	r, err := c.open(ctx, cli, c.Source)
	if err != nil {
		return err
	}
	raw, published, err := r.entry(ctx, c.Entry)
	if err != nil {
		return err
	}
	if c.Raw {
		_, err := t.out.Write(raw)
		return err
	}
	e, err := verify.ParseEntry(c.Entry, raw)
	if err != nil {
		return fault.Tampered.New("%w", err)
	}
	signers, err := r.signers(ctx, e)
	if err != nil {
		return err
	}
	if c.JSON {
		return t.json(map[string]any{
			"entry": c.Entry, "kind": e.Statement.Kind(), "sha256": statement.HashOf(raw), "published": published,
			"statement": json.RawMessage(e.Envelope.Payload), "signers": signers,
		})
	}
	return printEntry(t, e, signers, published)
}

// entry reads entry n. Of a vendor's folder it may be one that is not published.
func (r *logReading) entry(ctx context.Context, n int64) (raw []byte, published bool, err error) {
	proven, raw, err := r.prove(ctx, n)
	if r.home == nil || err == nil || errors.Is(err, fault.Tampered) {
		return raw, proven != nil, err
	}
	db, err := r.home.openDB(ctx)
	if err != nil {
		return nil, false, err
	}
	defer db.Close()
	said, err := db.SaidAt(ctx, n)
	return said.Envelope, false, err
}

// prove reads entry n and proves it.
func (r *logReading) prove(ctx context.Context, n int64) (*verify.Proof, []byte, error) {
	head, err := r.src.Checkpoint(ctx)
	if err != nil {
		return nil, nil, err
	}
	c, err := r.trust.Policy.Open(head)
	if err != nil {
		return nil, nil, fault.Tampered.New("the checkpoint of %s: %w", r.src, err)
	}
	if n < 0 || n >= c.Size {
		return nil, nil, fault.NotFound.New("the published log has the entries 0 to %d, and no entry %d", c.Size-1, n)
	}
	ref := tile.BundleOf(n, c.Size)
	entries, err := tile.ReadEntries(ctx, r.src, ref)
	if err != nil {
		return nil, nil, err
	}
	raw := entries[n%tile.Width]
	p, err := tile.Prove(ctx, r.src, c, n, raw)
	return p, raw, err
}

// signers names the holders of the signing keys where this folder knows them.
func (r *logReading) signers(ctx context.Context, e verify.Entry) ([]verify.Signer, error) {
	var known []verify.Signer
	if r.home != nil {
		db, err := r.home.openDB(ctx)
		if err != nil {
			return nil, err
		}
		defer db.Close()
		a, err := keyring.Authority(ctx, db, r.trust)
		if err != nil {
			return nil, err
		}
		known = a.Signers(e)
	}
	for _, s := range e.Envelope.Signatures {
		if !slices.ContainsFunc(known, func(k verify.Signer) bool { return k.KeyID == s.KeyID }) {
			known = append(known, verify.Signer{KeyID: s.KeyID})
		}
	}
	return known, nil
}

func printEntry(t *terminal, e verify.Entry, signers []verify.Signer, published bool) error {
	t.printf("%s  %s\n", t.style(bold, fmt.Sprintf("entry %d", e.Index)), line(e.Statement.Kind()))
	t.printf("  sha256     %s\n", statement.HashOf(e.Raw))
	if !published {
		t.printf("  %s  in the database, in no published checkpoint yet\n", t.style(amber, "waiting"))
	}
	for _, s := range e.Statement.Subject {
		t.printf("  about      %s\n", line(s.Name))
		for _, alg := range slices.Sorted(maps.Keys(s.Digest)) {
			t.printf("             %s %s\n", line(alg), line(s.Digest[alg]))
		}
	}
	for _, s := range signers {
		who := "a key that this command knows nothing of"
		if s.Holder != "" {
			who = line(s.Holder) + " as " + line(s.Role)
		}
		t.printf("  signed by  %s  %s\n", line(s.KeyID), who)
	}
	var text bytes.Buffer
	if err := json.Indent(&text, e.Statement.Predicate, "", "  "); err != nil {
		return fmt.Errorf("printing the statement: %w", err)
	}
	t.printf("%s\n%s\n", line(e.Statement.PredicateType), plain(text.String()))
	return nil
}

type logProveCmd struct {
	trustFlag
	Entry  int64  `arg:"" help:"The entry's number."`
	Source string `arg:"" optional:"" help:"The log's URL or folder (default: the vendor's folder)."`
}

// Run prints a proof after it was read back and checked as a stranger would.
func (c *logProveCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	r, err := c.open(ctx, cli, c.Source)
	if err != nil {
		return err
	}
	p, raw, err := r.prove(ctx, c.Entry)
	if err != nil {
		return err
	}
	text := p.Format()
	again, err := verify.ParseProof(text)
	if err != nil {
		return err
	}
	head, err := r.trust.Policy.Open(again.Checkpoint)
	if err != nil {
		return err
	}
	if err := again.Check(head, raw); err != nil {
		return err
	}
	_, err = t.out.Write(text)
	return err
}
