package verify_test

import (
	"testing"

	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify/verifytest"
)

// TestAGateIsGreenOnlyForWhatATesterPassed goes through the ways to open a gate
// with a test of something else.
func TestAGateIsGreenOnlyForWhatATesterPassed(t *testing.T) {
	files := verifytest.Files()
	var sums []string
	for _, content := range files {
		sums = append(sums, verifytest.SHA256(content))
	}
	one := map[string]string{"lantern-1.2.0.deb": files["lantern-1.2.0.deb"]}
	tester := verifytest.NewKey("tst")
	for name, c := range map[string]struct {
		say  func(v *verifytest.Vendor)
		want bool
	}{
		"passed":           {func(v *verifytest.Vendor) { sayTest(v, files, nil, tester) }, true},
		"nothing was said": {func(*verifytest.Vendor) {}, false},
		"failed": {func(v *verifytest.Vendor) {
			sayTest(v, files, func(r *statement.TestResult) { r.Result = statement.TestFailed }, tester)
		}, false},
		"failed after it passed": {func(v *verifytest.Vendor) {
			sayTest(v, files, nil, tester)
			sayTest(v, files, func(r *statement.TestResult) { r.Result = statement.TestWarned }, tester)
		}, false},
		"one of three files": {func(v *verifytest.Vendor) { sayTest(v, one, nil, tester) }, false},
		"another gate": {func(v *verifytest.Vendor) {
			sayTest(v, files, func(r *statement.TestResult) { r.Configuration[0].Name = "replay-known" }, tester)
		}, false},
		"another product": {func(v *verifytest.Vendor) {
			sayTest(v, files, func(r *statement.TestResult) { r.Clerestory.Product = "torch" }, tester)
		}, false},
		"no product": {func(v *verifytest.Vendor) {
			sayTest(v, files, func(r *statement.TestResult) { r.Clerestory.Product = "" }, tester)
		}, false},
		"signed by an approver": {func(v *verifytest.Vendor) { sayTest(v, files, nil, v.Keys["ada"]) }, false},
		"before the grant ended": {func(v *verifytest.Vendor) {
			sayTest(v, files, nil, tester)
			v.Key(statement.Key{Action: "retire", Role: "tester", Holder: "tst", Products: []string{"*"}, Reason: "left"}, tester, v.RootKeys[:2]...)
		}, true},
		"by a stolen key": {func(v *verifytest.Vendor) {
			sayTest(v, files, nil, tester)
			v.Key(statement.Key{Action: "revoke", Role: "tester", Holder: "tst", Products: []string{"*"}, Reason: "stolen"}, tester, v.RootKeys[:2]...)
		}, false},
		"taken back": {func(v *verifytest.Vendor) {
			n := sayTest(v, files, nil, tester)
			v.Revoke(n, "test", verifytest.Product, v.Keys["rel"])
		}, false},
		"a stranger's failure shuts nothing": {func(v *verifytest.Vendor) {
			sayTest(v, files, nil, tester)
			sayTest(v, files, func(r *statement.TestResult) { r.Result = statement.TestFailed }, verifytest.NewKey("eve"))
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			v := verifytest.New(t)
			v.Grant(tester, "tester", "tst", verifytest.Product)
			c.say(v)
			ev := wholeLog(t, v)
			a, err := v.Trust().NewAuthority(ev.Entries)
			if err != nil {
				t.Fatal(err)
			}
			e, by := a.Tested(ev.Entries, "replay-clean", verifytest.Product, sums)
			if got := len(by) > 0; got != c.want || got && by[0].Holder != "tst" {
				t.Errorf("entry %d, %v", e.Index, by)
			}
			if _, by := a.Tested(ev.Entries, "replay-clean", verifytest.Product, nil); len(by) > 0 {
				t.Error("the gate is green for no file at all")
			}
		})
	}
}
