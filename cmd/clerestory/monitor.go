package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sethvargo/go-retry"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/ledger/logread"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

type monitorCmd struct {
	trustFlag
	Source    string        `arg:"" optional:"" help:"The log's URL or folder (default: the vendor's folder)."`
	Kind      string        `help:"Only this kind, such as release, key or a predicate type's URI."`
	Subject   string        `help:"Only about this subject: its name, or a digest in hex."`
	Signer    string        `help:"Only signed by this key (its id)."`
	Role      string        `enum:",approver,builder,programme,rebuilder,release,root,source,tester" default:"" help:"Only signed by a key that had this role at that entry: approver, builder, programme, rebuilder, release, root, source or tester."`
	Post      string        `placeholder:"URL" help:"Send each statement to this URL as JSON (POST) instead of printing it."`
	Every     time.Duration `default:"10s" help:"Time between two looks."`
	Once      bool          `help:"End after one look."`
	FromStart bool          `help:"The first time, begin with entry 0 instead of with what is new from now on."`
	State     string        `type:"path" help:"Folder that remembers how far it came (default: one per log, filter and receiver)."`
	JSON      bool          `help:"Print one JSON object per line."`
}

func (c *monitorCmd) Help() string {
	return "It goes on where it stopped: each statement is told of at least once. When the log shows two histories it says so, keeps both checkpoints in a file, and ends with exit code 1."
}

// How a receiver is asked.
const (
	postTimeout  = 10 * time.Second
	postAttempts = 4
	postAnswer   = 64 << 10 // bytes of the answer that are read, and thrown away
)

// Run follows the log until it is stopped, or the log contradicts itself.
func (c *monitorCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	if err := c.check(); err != nil {
		return err
	}
	r, err := c.open(ctx, cli, c.Source)
	if err != nil {
		return err
	}
	m := &monitoring{cmd: c, term: t, trust: r.trust, origin: r.trust.Policy.Log.Origin()}
	if err := m.learnKeys(ctx, r); err != nil {
		return m.shout(err)
	}
	return m.shout(logread.Follow(ctx, r.src, r.trust.Policy, logread.Following{
		Memory: c.memory(), Every: c.Every, FromNow: !c.FromStart, Once: c.Once,
		Trouble: func(err error) { t.note("clerestory: trying again in %s: %s", c.Every, line(err.Error())) },
	}, func(e logread.Entry) error { return m.tell(ctx, e) }))
}

func (c *monitorCmd) check() error {
	if c.Every < time.Second {
		return fault.Invalid.New("--every must be a second or more")
	}
	if c.Post != "" {
		u, err := url.Parse(c.Post)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return fault.Invalid.New("--post must be an http or https URL")
		}
	}
	return checkKind(c.Kind)
}

// memory is a place of its own for each filter and receiver: they all come to
// different ends of the log.
func (c *monitorCmd) memory() logread.Memory {
	if c.State != "" {
		return logread.Memory(c.State)
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{c.Kind, c.Subject, c.Signer, c.Role, c.Post}, "\n")))
	return logread.Memory(filepath.Join(string(seenLogs()), fmt.Sprintf("monitor-%x", sum[:6])))
}

// monitoring is one run of the command.
type monitoring struct {
	cmd    *monitorCmd
	term   *terminal
	trust  *verify.Trust
	origin string
	keys   []verify.Entry // key statements so far, when roles are asked for
	who    *verify.Authority
}

// learnKeys reads who holds which role: that can stand anywhere in the log.
func (m *monitoring) learnKeys(ctx context.Context, r *logReading) error {
	if m.cmd.Role == "" {
		return nil
	}
	report := func(e logread.Entry) {
		if e.Statement.PredicateType == statement.KeyType {
			m.keys = append(m.keys, verify.Entry{Index: e.N, Raw: e.Raw, Envelope: e.Envelope, Statement: e.Statement})
		}
	}
	if _, err := logread.Check(ctx, r.src, r.trust.Policy, logread.Options{Each: report, Progress: progress(m.term, "reading who may say what")}); err != nil {
		return err
	}
	slices.SortFunc(m.keys, func(a, b verify.Entry) int { return cmp.Compare(a.Index, b.Index) })
	return m.authority()
}

func (m *monitoring) authority() (err error) {
	if m.who, err = m.trust.NewAuthority(m.keys); err != nil {
		return fault.Tampered.New("reading who may say what: %w", err)
	}
	return nil
}

// told is what is printed with --json, and posted.
type told struct {
	Log string `json:"log"` // its origin
	listed
	Statement json.RawMessage `json:"statement"` // the signed bytes
	Envelope  string          `json:"envelope"`  // the log entry, exactly
}

func (m *monitoring) tell(ctx context.Context, e logread.Entry) error {
	if ok, err := m.matches(e); !ok {
		return err
	}
	one := told{m.origin, describeEntry(e), e.Envelope.Payload, string(e.Raw)}
	switch {
	case m.cmd.Post != "":
		return m.post(ctx, one)
	case m.cmd.JSON:
		enc := json.NewEncoder(m.term.out)
		enc.SetEscapeHTML(false)
		return enc.Encode(one)
	}
	m.term.printf("%7d  %-10s  %s  %s\n", e.N, line(statement.KindOf(one.Kind)), subjectText(one.Subject), shortKeys(one.Signers))
	return nil
}

func (m *monitoring) matches(e logread.Entry) (bool, error) {
	c := m.cmd
	if c.Role != "" && e.Statement.PredicateType == statement.KeyType && (len(m.keys) == 0 || e.N > m.keys[len(m.keys)-1].Index) {
		m.keys = append(m.keys, verify.Entry{Index: e.N, Raw: e.Raw, Envelope: e.Envelope, Statement: e.Statement})
		if err := m.authority(); err != nil {
			return false, err
		}
	}
	if !(logread.Filter{Kind: c.Kind, Subject: c.Subject, Signer: c.Signer}).Match(e) {
		return false, nil
	}
	if c.Role == "" {
		return true, nil
	}
	signers := m.who.Signers(verify.Entry{Index: e.N, Raw: e.Raw, Envelope: e.Envelope, Statement: e.Statement})
	return slices.ContainsFunc(signers, func(s verify.Signer) bool { return s.Role == c.Role }), nil
}

// post sends one statement. A receiver that is away is asked again; then the
// whole look is repeated, so that nothing is left out.
func (m *monitoring) post(ctx context.Context, one told) error {
	body, err := json.Marshal(one)
	if err != nil {
		return fmt.Errorf("encoding statement %d: %w", one.Entry, err)
	}
	client := &http.Client{Timeout: postTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	waits := retry.WithMaxRetries(postAttempts-1, retry.NewExponential(500*time.Millisecond))
	err = retry.Do(ctx, waits, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.cmd.Post, bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		res, err := client.Do(req)
		if err != nil {
			if u, ok := errors.AsType[*url.Error](err); ok {
				err = u.Err // without the address, which may hold a secret
			}
			return retry.RetryableError(err)
		}
		defer res.Body.Close()
		io.Copy(io.Discard, io.LimitReader(res.Body, postAnswer))
		if res.StatusCode >= 300 {
			return retry.RetryableError(fmt.Errorf("it answered %s", res.Status))
		}
		return nil
	})
	if err != nil {
		return fault.Unavailable.New("sending statement %d to %s: %w", one.Entry, receiver(m.cmd.Post), err)
	}
	return nil
}

// receiver is an address without what may be secret in it.
func receiver(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "the receiver"
	}
	return u.Scheme + "://" + u.Host
}

// shout makes sure that a fork is not overlooked among other lines.
func (m *monitoring) shout(err error) error {
	if _, ok := errors.AsType[*logread.Fork](err); ok {
		m.term.note("clerestory: FORK: %s", "the log "+line(m.origin)+" shows different histories. Keep the evidence, and tell the vendor and the witnesses.")
	} else if errors.Is(err, fault.Tampered) {
		m.term.note("clerestory: TAMPERED: the log %s is not what its checkpoint says.", line(m.origin))
	}
	return err
}
