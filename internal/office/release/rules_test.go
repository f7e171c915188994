package release_test

import (
	"strings"
	"testing/fstest"

	"clerestory.dev/clerestory/internal/base/programme"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify/verifytest"
)

// programmeText is a programme whose product has the given rules.
func programmeText(rules string) string {
	return `vendor:
  id: lantern-works
  name: Lantern Works
  url: https://lantern.example
  contact: mailto:programme@lantern.example
log:
  origin: log.lantern.example
  url: https://log.lantern.example
approvals: 2
products:
  - id: lantern
    name: Lantern
    description: Shines.
    repository: https://lantern.example/src
    channels: [stable, beta]
` + strings.TrimPrefix(rules, "\n") + `people:
  - id: dana
    roles: [release-engineer]
  - id: eng2
    roles: [release-engineer]
  - id: ada
    roles: [approver]
  - id: boris
    roles: [approver]
  - id: chidi
    roles: [approver, auditor]
  - id: fay
    roles: [duty-officer]
  - id: eve
    roles: [admin, auditor]
security:
  contact: [mailto:security@lantern.example]
  expires: 2027-06-30T00:00:00Z
  languages: [en]
`
}

// apply puts a programme in force.
func (r *room) apply(rules string) {
	r.t.Helper()
	p, err := programme.Read(fstest.MapFS{"programme.yaml": {Data: []byte(r.people.Replace(programmeText(rules)))}, "about.md": {Data: []byte("# About\n")}})
	if err != nil {
		r.t.Fatal(err)
	}
	_, err = programme.Apply(r.t.Context(), r.DB, p, programme.Saying{At: r.vendor.Now, Sign: func(payload []byte) (*statement.Envelope, error) {
		return statement.Sign(payload, verifytest.NewKey("programme"))
	}})
	if err != nil {
		r.t.Fatal(err)
	}
}

// vendorSays lets the vendor say something to its log, and the database adopt it.
func (r *room) vendorSays(say func(v *verifytest.Vendor)) {
	r.t.Helper()
	ctx := r.t.Context()
	if _, err := r.Ledger.Checkpoint(ctx); err != nil { // what the database said is in the log
		r.t.Fatal(err)
	}
	from := r.vendor.Log.Size()
	say(r.vendor)
	err := r.DB.Write(ctx, func(tx *store.Tx) error {
		for n := from; n < r.vendor.Log.Size(); n++ {
			if err := tx.Adopt(ctx, n, r.vendor.Log.Entries[n], r.vendor.Now); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// grant gives holders keys of their names for a role.
func (r *room) grant(role string, holders ...string) {
	r.t.Helper()
	r.vendorSays(func(v *verifytest.Vendor) {
		for _, h := range holders {
			v.Keys[h] = verifytest.NewKey(h)
			v.Grant(v.Keys[h], role, h, verifytest.Product)
		}
	})
}

// revokeKey ends a key from now on.
func (r *room) revokeKey(role, holder string) {
	r.t.Helper()
	r.vendorSays(func(v *verifytest.Vendor) {
		v.Key(statement.Key{Action: statement.KeyRevoke, Role: role, Holder: holder, Products: []string{"*"}, Since: v.Log.Size(), Reason: "lost"}, v.Keys[holder], v.RootKeys...)
	})
}

// tested says that a gate came out so on some digests.
func (r *room) tested(gate, result string, sums ...string) {
	r.t.Helper()
	r.vendorSays(func(v *verifytest.Vendor) {
		var subject []statement.Subject
		for _, sum := range sums {
			subject = append(subject, statement.Subject{Name: "file", Digest: map[string]string{"sha256": sum}})
		}
		v.Say(subject, &statement.TestResult{Result: result, Configuration: []statement.Resource{{Name: gate}}, Clerestory: statement.TestFacts{Product: verifytest.Product, Numbers: map[string]int64{"run": v.Log.Size()}}}, v.Keys["tst"])
	})
}
