package log

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/transparency-dev/tessera"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/verify"
)

// witnessPolicy is the policy twice: as every verifier reads it, which decides
// what counts as published, and as the library reads it, to ask the witnesses.
type witnessPolicy struct {
	*verify.Policy
	bare  *verify.Policy // this log, no witness needed: for the folder's own state
	group tessera.WitnessGroup
}

func parsePolicy(cfg Config) (witnessPolicy, error) {
	var none witnessPolicy
	text := cfg.Policy
	if strings.TrimSpace(text) == "" {
		text = "quorum none\n"
	}
	bare, err := verify.ParsePolicy([]byte("log " + cfg.VKey + "\nquorum none\n"))
	if err != nil {
		return none, fault.Invalid.New("reading the log's verifier key: %w", err)
	}
	p, err := verify.ParsePolicy([]byte(text))
	if err == nil && p.Log == nil {
		p, err = verify.ParsePolicy([]byte("log " + cfg.VKey + "\n" + text))
	}
	if err != nil {
		return none, fault.Invalid.New("reading the witness policy: %w", err)
	}
	if p.Log.VKey != cfg.VKey {
		return none, fault.Invalid.New("the witness policy is for log %s, but this log's key is %s", p.Log.VKey, cfg.VKey)
	}
	if !p.Needed() {
		if !cfg.UnsafeNoWitnesses {
			return none, fault.Invalid.New("the witness policy asks for no witness: name witnesses and a quorum, or set UnsafeNoWitnesses")
		}
		return witnessPolicy{Policy: p, bare: bare}, nil
	}
	urls := map[string]string{}
	for _, w := range p.Witnesses {
		if other, ok := urls[w.URL]; ok || w.URL == "" {
			// The library keeps one witness per URL, and would never ask the other.
			return none, fault.Invalid.New("the witness policy must give witness %q a URL of its own (%q has the same, or none)", w.Name, other)
		}
		urls[w.URL] = w.Name
	}
	group, err := tessera.NewWitnessGroupFromPolicy([]byte(text))
	if err != nil {
		return none, fault.Invalid.New("reading the witness policy: %w", err)
	}
	return witnessPolicy{p, bare, group}, nil
}

func witnessNames(c *verify.Checkpoint) []string {
	names := make([]string, 0, len(c.Cosigned))
	for _, s := range c.Cosigned {
		names = append(names, s.Witness)
	}
	return names
}

// WitnessStatus is how a witness answered when it was last asked.
type WitnessStatus struct {
	Name string
	URL  string
	At   time.Time // zero: not asked since the start
	Err  error     // nil: it cosigned
}

// asked is the HTTP transport to the witnesses; it remembers their answers,
// which the library only prints.
type asked struct {
	next  http.RoundTripper
	clock func() time.Time

	mu   sync.Mutex
	last []WitnessStatus
}

func newAsked(c *http.Client, p witnessPolicy, clock func() time.Time) *asked {
	a := &asked{next: &http.Transport{MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute}, clock: clock}
	if c != nil && c.Transport != nil {
		a.next = c.Transport
	}
	for _, w := range p.Witnesses {
		a.last = append(a.last, WitnessStatus{Name: w.Name, URL: w.URL})
	}
	return a
}

func (a *asked) client() *http.Client {
	return &http.Client{Transport: a, Timeout: witnessTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// RoundTrip implements http.RoundTripper.
func (a *asked) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := a.next.RoundTrip(r)
	seen := err
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, 64<<10) // the library reads all of it
		// 409 is part of the talk: the witness says which size it knows, and is
		// asked again at once.
		if resp.StatusCode != http.StatusOK {
			seen = fmt.Errorf("it answered %s", resp.Status)
		}
	}
	if err != nil && errors.Is(r.Context().Err(), context.Canceled) {
		return resp, err // the others were enough, and it was not waited for
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.last {
		if u, perr := url.Parse(a.last[i].URL); perr == nil && u.JoinPath("/add-checkpoint").String() == r.URL.String() {
			a.last[i].At, a.last[i].Err = a.clock(), seen
		}
	}
	return resp, err
}

func (a *asked) status() []WitnessStatus {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.last)
}

// failing is why a checkpoint is not published, as far as the witnesses go.
func (a *asked) failing() error {
	var all []error
	for _, w := range a.status() {
		if w.Err != nil {
			all = append(all, fault.Unavailable.New("witness %s: %w", w.Name, w.Err))
		}
	}
	return errors.Join(all...)
}
