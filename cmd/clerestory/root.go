package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/ledger/keyring"
	"clerestory.dev/clerestory/verify"
)

type keyRootCmd struct {
	rootFlags
	policyFlag
	askFlag
}

// policyFlag gives the next root another witness policy.
type policyFlag struct {
	Policy string `type:"existingfile" help:"A C2SP tlog-policy file with the same log and other witnesses (default: the policy in force)."`
	// ReleaseHolders raise or lower, from now on, what a single stolen key can do.
	ReleaseHolders map[string]int `placeholder:"PRODUCT=N" help:"How many different holders of the role release must sign a release of PRODUCT from now on; * is every product without a number of its own (default: as before)."`
}

// releaseKeys are the rules in force and the new ones, which begin at entry from.
func (f policyFlag) releaseKeys(trust *verify.Trust, from int64) []verify.ReleaseRule {
	rules := slices.Clone(trust.Root.Clerestory.ReleaseKeys)
	for _, product := range slices.Sorted(maps.Keys(f.ReleaseHolders)) {
		// A rule that no entry has met yet is replaced.
		rules = slices.DeleteFunc(rules, func(r verify.ReleaseRule) bool { return r.Product == product && r.From >= from })
		rules = append(rules, verify.ReleaseRule{Product: product, Holders: f.ReleaseHolders[product], From: from})
	}
	return rules
}

// text is the policy of the next root. The log's key can not change: it is what
// everybody's copies and witnesses know the log by.
func (f policyFlag) text(h *home, trust *verify.Trust) (string, error) {
	if f.Policy == "" {
		return trust.Policy.Text(), nil
	}
	b, err := os.ReadFile(f.Policy)
	if err != nil {
		return "", fault.Invalid.New("reading the policy: %w", err)
	}
	p, err := verify.ParsePolicy(b)
	if err != nil {
		return "", fault.Invalid.New("%s: %w", f.Policy, err)
	}
	if p.Log == nil || p.Log.VKey != trust.Policy.Log.VKey {
		return "", fault.Invalid.New("%s: its log line must name the key of this log: log %s %s", f.Policy, trust.Policy.Log.VKey, trust.Policy.Log.URL)
	}
	if !p.Needed() && !h.config.UnsafeNoWitnesses {
		return "", fault.Invalid.New("%s: no witness is needed by it; that takes unsafe_no_witnesses in %s", f.Policy, configFile)
	}
	return string(b), nil
}

// Run renews: the same keys, one version on.
func (c *keyRootCmd) Run(ctx context.Context, cli *cli, t *terminal) error {
	return withHome(ctx, cli, t, func(h *home, db *store.DB, passphrase []byte) error {
		if c.Ask != "" {
			return c.root(ctx, t, h, db, c.policyFlag)
		}
		trust, err := h.trust()
		if err != nil {
			return err
		}
		signers, err := c.unlock(h, trust, passphrase)
		if err != nil {
			return err
		}
		var keys []keyring.Public
		found, err := c.ring(h).List()
		if err != nil {
			return err
		}
		for _, k := range found {
			if _, ok := trust.Root.Keys[k.KeyID]; ok && k.Role == "root" {
				keys = append(keys, k)
			}
		}
		if len(keys) != len(trust.Root.Roles["root"].KeyIDs) {
			return fault.NotFound.New("renewing needs the public parts of all %d root keys, but %s has %d: put the key files together (only the threshold is unlocked)", len(trust.Root.Roles["root"].KeyIDs), c.ring(h).Dir, len(keys))
		}
		return nextRoot(ctx, h, db, t, trust, c.policyFlag, keys, signers)
	})
}

// rotateRoot makes as many new root keys as there were, and the next root.
func (c *keyRotateCmd) rotateRoot(ctx context.Context, h *home, db *store.DB, t *terminal, passphrase []byte) error {
	trust, err := h.trust()
	if err != nil {
		return err
	}
	signers, err := c.unlock(h, trust, passphrase)
	if err != nil {
		return err
	}
	secret, err := c.secret(passphrase)
	if err != nil {
		return err
	}
	ring := &keyring.Ring{Dir: c.ring(h).Dir, WorkFactor: h.keyCost}
	var fresh []*keyring.Key
	for i := range trust.Root.Roles["root"].KeyIDs {
		name := fmt.Sprintf("root-%d-v%d", i+1, trust.Root.Version+1)
		k, err := ring.Create(name, "root", name, secret)
		if err != nil {
			return err
		}
		fresh = append(fresh, k)
	}
	return nextRoot(ctx, h, db, t, trust, c.policyFlag, keyring.PublicOf(fresh), append(signers, fresh...))
}

// nextPlan is what the next root says, from the log entry that comes next.
func nextPlan(ctx context.Context, h *home, db *store.DB, trust *verify.Trust, policy policyFlag) (plan keyring.RootPlan, until int64, err error) {
	text, err := policy.text(h, trust)
	if err != nil {
		return plan, 0, err
	}
	if until, err = db.Next(ctx); err != nil {
		return plan, 0, err
	}
	online, err := h.keys().Find("online")
	if err != nil {
		return plan, 0, err
	}
	ext := trust.Root.Clerestory
	return keyring.RootPlan{
		Vendor: ext.Vendor, Policy: text, Approvals: ext.Approvals, ReleaseKeys: policy.releaseKeys(trust, until), Threshold: trust.Root.Roles["root"].Threshold,
		Expires: time.Now().AddDate(1, 0, 0), Online: []keyring.Public{online},
	}, until, nil
}

// nextRoot makes the next version of the root and puts it in force. The number
// of approvals stays: a verifier would ask it of earlier releases too.
func nextRoot(ctx context.Context, h *home, db *store.DB, t *terminal, trust *verify.Trust, policy policyFlag, keys []keyring.Public, signers []*keyring.Key) error {
	plan, until, err := nextPlan(ctx, h, db, trust, policy)
	if err != nil {
		return err
	}
	file, err := keyring.RotateRoot(trust, plan, keys, signers, until)
	if err != nil {
		return err
	}
	version := trust.Root.Version + 1
	if err := h.addRoot(version, file); err != nil {
		return err
	}
	now, err := h.trust()
	if err != nil {
		return err
	}
	t.printf("the root of trust is now version %d\n", version)
	printTrust(t, now)
	t.printf("\nWho holds version %d follows by itself. A running server asks new witnesses after a restart.\n", version-1)
	return nil
}
