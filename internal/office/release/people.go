package release

import (
	"context"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/ledger/keyring"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// accounts tells which holders are one person: the same key was ever given to
// both, perhaps by way of others. A second account does not make a second person.
type accounts struct{ same map[string]string }

// readAccounts goes through every key statement, those of retired keys too: who
// once held a key may hold it still.
func readAccounts(ctx context.Context, db *store.DB) (*accounts, error) {
	a := &accounts{map[string]string{}}
	err := keyring.Each(ctx, db, "key", func(e verify.Entry) error {
		k, err := statement.As(e.Statement, &statement.Key{})
		if err != nil {
			return fault.Tampered.New("reading key statement %d: %w", e.Index, err)
		}
		a.join("holder "+k.Holder, "key "+k.KeyID)
		return nil
	})
	return a, err
}

func (a *accounts) root(x string) string {
	for a.same[x] != "" {
		x = a.same[x]
	}
	return x
}

func (a *accounts) join(x, y string) {
	if x, y = a.root(x), a.root(y); x != y {
		a.same[x] = y
	}
}

// one tells whether two holders are one person.
func (a *accounts) one(x, y string) bool {
	return x == y || a.root("holder "+x) == a.root("holder "+y)
}
