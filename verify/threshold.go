package verify

import (
	"fmt"
	"slices"

	"clerestory.dev/clerestory/statement"
)

// ReleaseRule says how many different holders of the role release must have
// signed a release of a product. It stands in the trusted root, and not in the
// log, because a bundle could leave out the entry that says so.
type ReleaseRule struct {
	Product string `json:"product"` // "*" is every product that has no rule of its own
	Holders int    `json:"holders"`
	// From is the first log entry that the rule is about: what was released before
	// stays what it was.
	From int64 `json:"from"`
}

func checkReleaseKeys(rules []ReleaseRule) error {
	const where = "x-clerestory.releaseKeys"
	if len(rules) > 256 {
		return fmt.Errorf("%s: more than 256 rules", where)
	}
	last := map[string]int64{}
	for _, r := range rules {
		if r.Product != "*" {
			if err := statement.CheckID(where+": product", r.Product); err != nil {
				return err
			}
		}
		before, known := last[r.Product]
		switch {
		case r.Holders < 1 || r.Holders > 16:
			return fmt.Errorf("%s: holders must be 1 to 16", where)
		case r.From < 0 || known && r.From <= before:
			return fmt.Errorf("%s: the rules of a product must stand in the order of from, each once", where)
		}
		last[r.Product] = r.From
	}
	return nil
}

// ReleaseHolders is how many different holders must sign a release of product
// that stands at a log entry: by the product's own last rule from there or
// before, else by that of "*", else one.
func (t *Trust) ReleaseHolders(product string, entry int64) int {
	for _, p := range []string{product, "*"} {
		need := 0
		for _, r := range t.Root.Clerestory.ReleaseKeys {
			if r.Product == p && r.From <= entry {
				need = r.Holders
			}
		}
		if need > 0 {
			return need
		}
	}
	return 1
}

// KeysFor lists the keys that have role for product at a log entry, each with
// its holder, in the order of their grants; product "" asks for any.
func (a *Authority) KeysFor(role, product string, entry int64) []statement.Key {
	var found []grant
	for _, grants := range a.grants {
		i := slices.IndexFunc(grants, func(g grant) bool { return g.may(role, product, entry) })
		if i >= 0 {
			found = append(found, grants[i])
		}
	}
	slices.SortFunc(found, func(a, b grant) int { return int(a.from - b.from) })
	keys := make([]statement.Key, len(found))
	for i, g := range found {
		keys[i] = g.key
	}
	return keys
}
