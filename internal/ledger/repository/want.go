package repository

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strings"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/ledger/signing"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/update"
	"clerestory.dev/clerestory/verify"
)

type targetsFile = metadata.Metadata[metadata.TargetsType]

// role is metadata as it should be, before it has a number and signatures.
type role struct {
	name, delegator string
	product         string // "" for the list of products
	keys            Keys
	life            time.Duration
	want            *targetsFile
	what            string // one sentence for who signs it
}

// wanted computes all metadata that people sign from what was decided, delegators
// before what they delegate.
func (s *Service) wanted(ctx context.Context, trust *verify.Trust, heads []*update.Head, before map[string]*published) ([]role, error) {
	p := s.Policy.filled()
	top := role{name: metadata.TARGETS, delegator: metadata.ROOT, life: p.Targets, want: metadata.Targets()}
	var err error
	if top.keys, err = rootKeys(trust, metadata.TARGETS); err != nil {
		return nil, err
	}
	online, err := rootKeys(trust, metadata.TIMESTAMP)
	if err != nil {
		return nil, err
	}
	d := &metadata.Delegations{Keys: map[string]*metadata.Key{}}
	delegate(d, stopRole, online, []string{"*/*/" + stopName})
	all := []role{top}
	var names []string
	for product, channels := range byProduct(heads) {
		keys, err := s.Release(ctx, product)
		if err != nil {
			return nil, fmt.Errorf("finding who releases %s: %w", product, err)
		}
		if keys.Threshold < 1 || keys.Threshold > len(keys.Parties) {
			return nil, fault.Conflict.New("%d of %d keys must sign for %s: give the role release to more keys, or lower the threshold", keys.Threshold, len(keys.Parties), product)
		}
		delegate(d, product, keys, patterns(product))
		roles, err := s.product(ctx, product, channels, keys, before)
		if err != nil {
			return nil, err
		}
		all, names = append(all, roles...), append(names, product)
	}
	top.want.Signed.Delegations = d
	all[0].what = fmt.Sprintf("The update repository serves these products, each signed by its own release keys: %s.", strings.Join(names, ", "))
	return all, nil
}

// byProduct goes through products by name, with their channels.
func byProduct(heads []*update.Head) func(yield func(string, []*update.Head) bool) {
	return func(yield func(string, []*update.Head) bool) {
		for len(heads) > 0 {
			n := 1
			for n < len(heads) && heads[n].Product == heads[0].Product {
				n++
			}
			if !yield(heads[0].Product, heads[:n]) {
				return
			}
			heads = heads[n:]
		}
	}
}

// product is a product's role: its heads, and its files or the bins they are in.
func (s *Service) product(ctx context.Context, product string, channels []*update.Head, keys Keys, before map[string]*published) ([]role, error) {
	p := s.Policy.filled()
	r := role{name: product, delegator: metadata.TARGETS, product: product, keys: keys, life: p.Product, want: metadata.Targets()}
	for _, h := range channels {
		content, err := h.Format()
		if err != nil {
			return nil, fault.Tampered.New("%w", err)
		}
		r.want.Signed.Targets[update.HeadTarget(product, h.Channel)] = describe(statement.HashOf(content), int64(len(content)))
		r.what += " " + sentence(h)
	}
	r.what = fmt.Sprintf("What clients of %s may install.%s", product, r.what)
	files, err := s.targets(ctx, product)
	if err != nil {
		return nil, err
	}
	width := binBits(len(files), p.Flat, before[product])
	if width == 0 {
		for _, t := range files {
			r.want.Signed.Targets[t.path] = describe(t.sha256, t.size)
		}
		return []role{r}, nil
	}
	bins := &metadata.SuccinctRoles{KeyIDs: keys.ids(), Threshold: keys.Threshold, BitLength: width, NamePrefix: binPrefix(product)}
	d := &metadata.Delegations{Keys: map[string]*metadata.Key{}, SuccinctRoles: bins}
	addKeys(d, keys)
	r.want.Signed.Delegations = d
	inBin := map[string]*targetsFile{}
	for _, name := range bins.GetRoles() {
		inBin[name] = metadata.Targets()
	}
	for _, t := range files {
		bin := bins.GetRolesForTarget(t.path)[0].Name
		inBin[bin].Signed.Targets[t.path] = describe(t.sha256, t.size)
	}
	all := []role{r}
	for _, name := range bins.GetRoles() {
		all = append(all, role{name: name, delegator: product, product: product, keys: keys, life: p.Product, want: inBin[name],
			what: fmt.Sprintf("Files of %s whose names fall into bin %s: %d of them.", product, name, len(inBin[name].Signed.Targets))})
	}
	return all, nil
}

// binBits is how many bits of a name's hash choose its bin; 0 is no bins. It
// never shrinks: a snapshot may not lose a role (TUF 1.0, section 5.5.5).
func binBits(targets, flat int, before *published) int {
	have := 0
	if before != nil && before.file.Signed.Delegations != nil && before.file.Signed.Delegations.SuccinctRoles != nil {
		have = before.file.Signed.Delegations.SuccinctRoles.BitLength
	}
	if targets <= flat {
		return have
	}
	return max(have, min(bits.Len(uint(targets/128)), 10), 2)
}

// sentence says in a line what a channel offers.
func sentence(h *update.Head) string {
	var offers []string
	for _, o := range h.Releases {
		state := fmt.Sprintf("%d %%", o.Percent)
		if o.Halted {
			state = "halted"
		}
		offers = append(offers, fmt.Sprintf("%s (%s)", o.Version, state))
	}
	if len(offers) == 0 {
		offers = []string{"nothing"}
	}
	text := fmt.Sprintf("%s: %s", h.Channel, strings.Join(offers, ", "))
	for _, w := range h.Revoked[max(0, len(h.Revoked)-3):] {
		text += fmt.Sprintf("; %s is withdrawn", w.Version)
	}
	return text + "."
}

func describe(sha string, size int64) *metadata.TargetFiles {
	raw, _ := hex.DecodeString(sha) // ours: checked when it came in
	return &metadata.TargetFiles{Length: size, Hashes: metadata.Hashes{"sha256": raw}}
}

func delegate(d *metadata.Delegations, name string, keys Keys, paths []string) {
	addKeys(d, keys)
	d.Roles = append(d.Roles, metadata.DelegatedRole{Name: name, KeyIDs: keys.ids(), Threshold: keys.Threshold, Terminating: true, Paths: paths})
}

func addKeys(d *metadata.Delegations, keys Keys) {
	for _, p := range keys.Parties {
		d.Keys[p.Public.ID()] = tufKey(p.Public)
	}
}

// tufKey is a key as TUF writes it: its id is then the one that statements use.
func tufKey(k statement.PublicKey) *metadata.Key {
	kind := "ed25519"
	if k.Algorithm() != kind {
		kind = "ecdsa"
	}
	return &metadata.Key{Type: kind, Scheme: k.Algorithm(), Value: metadata.KeyVal{PublicKey: k.Text()}}
}

// rootKeys are the keys that the root gives one of its roles.
func rootKeys(trust *verify.Trust, name string) (Keys, error) {
	r, ok := trust.Root.Roles[name]
	if !ok {
		return Keys{}, fault.Tampered.New("the trusted root has no role %s", name)
	}
	keys := Keys{Threshold: r.Threshold}
	for _, id := range slices.Sorted(slices.Values(r.KeyIDs)) {
		if public, err := trust.Root.Keys[id].Raw(); err == nil && public.ID() == id {
			keys.Parties = append(keys.Parties, signing.Party{Public: public})
		}
	}
	if len(keys.Parties) < keys.Threshold {
		return Keys{}, fault.Tampered.New("the trusted root gives the role %s too few keys", name)
	}
	return keys, nil
}

// same tells whether signed metadata says what it should, whatever its number
// and date.
func same(a, b *targetsFile) bool {
	x, err := bare(a)
	y, err2 := bare(b)
	return err == nil && err2 == nil && string(x) == string(y)
}

func bare(f *targetsFile) ([]byte, error) {
	signed := f.Signed
	signed.Version, signed.Expires = 0, time.Time{}
	signed.Targets = maps.Clone(signed.Targets)
	return cjson.EncodeCanonical(signed)
}
