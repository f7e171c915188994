package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"clerestory.dev/clerestory/internal/base/atomicfile"
	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/ledger/keyring"
	"clerestory.dev/clerestory/internal/ledger/signing"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// askFlag lets root keys stay where they are: what they would sign is written to
// a file, and key say puts their answers together.
type askFlag struct {
	Ask string `type:"path" placeholder:"FILE" help:"Use no root key here: write a signing request for the root keys to FILE. They answer with clerestory sign; key say does the rest."`
}

// rootAnswers is how long root keys have to answer: they may lie in a bank.
const rootAnswers = 14 * 24 * time.Hour

func (f askFlag) write(t *terminal, trust *verify.Trust, purpose, what string, payload []byte) error {
	role := trust.Root.Roles["root"]
	req := &signing.Request{
		Purpose: purpose, What: what, PayloadType: statement.PayloadType, Payload: payload,
		Keys: role.KeyIDs, Threshold: role.Threshold, Expires: time.Now().Add(rootAnswers).UTC().Format(time.RFC3339),
	}
	if purpose == signing.TUF {
		req.PayloadType = signing.TUFPayload
	}
	file, err := req.Format()
	if err != nil {
		return err
	}
	if err := atomicfile.Write(f.Ask, file, 0o644); err != nil {
		return fault.Unavailable.New("writing the request: %w", err)
	}
	t.printf("%d of %d root keys must answer by %s: clerestory sign %s\n", role.Threshold, len(role.KeyIDs), req.Expires, line(f.Ask))
	t.printf("then: clerestory key say %s RESPONSE…\n", line(f.Ask))
	return nil
}

// statement asks for signatures over a key statement.
func (f askFlag) statement(t *terminal, h *home, k statement.Key, what string) error {
	trust, err := h.trust()
	if err != nil {
		return err
	}
	payload, err := keyring.Payload(k, time.Now())
	if err != nil {
		return err
	}
	return f.write(t, trust, signing.DSSE, what, payload)
}

// root asks for signatures over the next root, with the same root keys.
func (f askFlag) root(ctx context.Context, t *terminal, h *home, db *store.DB, policy policyFlag) error {
	trust, err := h.trust()
	if err != nil {
		return err
	}
	var keys []keyring.Public
	for _, id := range trust.Root.Roles["root"].KeyIDs {
		raw, err := trust.Root.Keys[id].Raw()
		if err != nil {
			return err
		}
		keys = append(keys, keyring.Public{KeyID: id, Public: raw})
	}
	plan, until, err := nextPlan(ctx, h, db, trust, policy)
	if err != nil {
		return err
	}
	root, err := keyring.PlanRoot(trust, plan, keys, until)
	if err != nil {
		return err
	}
	text, err := keyring.RootText(root)
	if err != nil {
		return err
	}
	return f.write(t, trust, signing.TUF, fmt.Sprintf("Version %d of the root of trust of %s", root.Version, plan.Vendor), text)
}

type keySayCmd struct {
	Request   string   `arg:"" type:"path" help:"The request file that --ask wrote."`
	Responses []string `arg:"" type:"path" help:"The response files of the root keys."`
}

// Run checks the answers, and says the statement or puts the next root in force.
func (c *keySayCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	req, answers, err := readAnswers(c.Request, c.Responses)
	if err != nil {
		return err
	}
	return withHome(ctx, cli, t, func(h *home, db *store.DB, passphrase []byte) error {
		trust, err := h.trust()
		if err != nil {
			return err
		}
		var parties []signing.Party
		for _, id := range trust.Root.Roles["root"].KeyIDs {
			raw, err := trust.Root.Keys[id].Raw()
			if err != nil {
				return err
			}
			parties = append(parties, signing.Party{Public: raw})
		}
		if req.Purpose == signing.TUF {
			sigs, err := signing.Check(req, answers, parties, time.Now())
			if err != nil {
				return err
			}
			return sayRoot(ctx, h, db, t, trust, req, sigs)
		}
		e, err := signing.Assemble(req, answers, parties, time.Now())
		if err != nil {
			return err
		}
		if err := notSaidYet(ctx, db, req.Payload); err != nil {
			return err
		}
		speaker := &keyring.Speaker{Trust: trust, Now: time.Now}
		n, err := state(ctx, db, func(tx *store.Tx) (int64, error) { return speaker.Say(ctx, tx, e) })
		if err != nil {
			return err
		}
		t.printf("said at entry %d\n", n)
		return h.settle(ctx, db, n, passphrase)
	})
}

// readAnswers reads a request and the answers to it.
func readAnswers(request string, responses []string) (*signing.Request, []*signing.Response, error) {
	file, err := readBounded(request, int64(signing.Limits.Request))
	if err != nil {
		return nil, nil, err
	}
	req, err := signing.ParseRequest(file)
	if err != nil {
		return nil, nil, err
	}
	var answers []*signing.Response
	for _, path := range responses {
		file, err := readBounded(path, int64(signing.Limits.Response))
		if err != nil {
			return nil, nil, err
		}
		a, err := signing.ParseResponse(file)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", line(path), err)
		}
		answers = append(answers, a)
	}
	return req, answers, nil
}

// notSaidYet refuses a statement that was said: an old grant, said once more,
// would bring back a key that was revoked since.
func notSaidYet(ctx context.Context, db *store.DB, payload []byte) error {
	st, err := statement.Parse(payload)
	if err != nil {
		return fault.Invalid.New("reading the statement: %w", err)
	}
	said, err := db.Find(ctx, store.Filter{Kind: "key", Subject: st.Subject[0].Name, Limit: 500})
	if err != nil {
		return err
	}
	for _, s := range said {
		if e, err := statement.ParseEnvelope(s.Envelope); err == nil && string(e.Payload) == string(payload) {
			return fault.Conflict.New("this was said already, at entry %d", s.N)
		}
	}
	return nil
}

// sayRoot puts a root in force that was signed elsewhere.
func sayRoot(ctx context.Context, h *home, db *store.DB, t *terminal, trust *verify.Trust, req *signing.Request, sigs []statement.Signature) error {
	signed := signing.Readable(req.Payload)
	var next verify.Root
	if err := json.Unmarshal(signed, &next); err != nil || next.Type != "root" || next.Clerestory == nil {
		return fault.Invalid.New("the request is for TUF metadata that is no root: clerestory repository takes its answers")
	}
	file, err := keyring.FinishRoot(trust, signed, sigs)
	if err != nil {
		return err
	}
	// A rule that is about releases from here on must not meet one that was said
	// while the root keys were asked: it would not be believed any more.
	for _, r := range next.Clerestory.ReleaseKeys {
		if slices.Contains(trust.Root.Clerestory.ReleaseKeys, r) {
			continue
		}
		before := r.From - 1
		filter := store.Filter{Kind: "release", Limit: 1}
		if before >= 0 {
			filter.After = &before
		}
		said, err := db.Find(ctx, filter)
		if err != nil {
			return err
		}
		if len(said) > 0 {
			return fault.Stale.New("a release was said at entry %d after the root keys were asked about releases from entry %d on: ask them again", said[0].N, r.From)
		}
	}
	if err := h.addRoot(next.Version, file); err != nil {
		return err
	}
	now, err := h.trust()
	if err != nil {
		return err
	}
	t.printf("the root of trust is now version %d\n", next.Version)
	printTrust(t, now)
	return nil
}
