package verify_test

import (
	"slices"
	"testing"

	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
	"clerestory.dev/clerestory/verify/verifytest"
)

// What a repository's delegation is made from: the keys of a role, as the log has
// it at some entry, without those that were ended.
func TestTheKeysOfARoleAtAnEntry(t *testing.T) {
	v := verifytest.New(t)
	card := verifytest.NewCard("rel2")
	v.Grant(card, "release", "rel2", "*")
	v.Grant(card, "release", "rel2", verifytest.Product) // once more: it is listed once
	v.Key(statement.Key{Action: "revoke", Role: "release", Holder: "rel", Products: []string{"*"}, Reason: "stolen", Since: 7}, v.Keys["rel"], v.RootKeys[:2]...)
	v.Key(statement.Key{Action: "retire", Role: "release", Holder: "rel2", Products: []string{"*"}, Reason: "left"}, card, v.RootKeys[:2]...)
	v.Grant(card, "release", "rel2", "torch")
	var entries []verify.Entry
	for i, raw := range v.Log.Entries {
		e, err := verify.ParseEntry(int64(i), raw)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
	a, err := v.Trust().NewAuthority(entries)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		product string
		entry   int64
		want    []string
	}{
		{verifytest.Product, 3, nil}, {verifytest.Product, 5, []string{"rel"}}, {verifytest.Product, 7, []string{"rel2"}},
		{verifytest.Product, 6, []string{"rel"}}, {verifytest.Product, 8, []string{"rel2"}}, {verifytest.Product, 9, nil},
		{verifytest.Product, 20, nil}, {"torch", 20, []string{"rel2"}}, {"", 20, []string{"rel2"}}, {"torch", 6, nil}, {"", 5, []string{"rel"}},
	} {
		var got []string
		for _, k := range a.KeysFor("release", c.product, c.entry) {
			got = append(got, k.Holder)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s at entry %d: %v, want %v", c.product, c.entry, got, c.want)
		}
	}
}
