package verify_test

import (
	"slices"
	"strings"
	"testing"

	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
	"clerestory.dev/clerestory/verify/verifytest"
)

// security gives a key the role security for a product.
func security(v *verifytest.Vendor, holder, product string) *verifytest.Key {
	k := verifytest.NewKey(holder)
	v.Grant(k, "security", holder, product)
	return k
}

// withAdvisory is a good release after which do says something about it.
func withAdvisory(do func(v *verifytest.Vendor, sec *verifytest.Key)) func(v *verifytest.Vendor) input {
	return func(v *verifytest.Vendor) input {
		sec := security(v, "sec", verifytest.Product)
		v.Release(verifytest.Plan{})
		do(v, sec)
		return in(v, v.Bundle())
	}
}

// harmless makes an advisory say that the version is not affected.
func harmless(a *statement.Advisory) {
	a.Version = "2"
	a.Vulnerabilities[0].Products[0] = statement.Impact{Product: a.Vulnerabilities[0].Products[0].Product, NotAffected: []string{"1.2.0"}}
}

// reworded says entry n again with another text in it.
func reworded(v *verifytest.Vendor, n int64, old, new string, by *verifytest.Key) {
	e, err := statement.ParseEnvelope(v.Log.Entries[n])
	if err != nil {
		panic(err)
	}
	text := strings.Replace(string(e.Payload), old, new, 1)
	if text == string(e.Payload) {
		panic(old + " is not in the statement")
	}
	v.Log.Add(v.Envelope([]byte(text), by))
}

var advisoryCases = []attack{
	{"good-advisory", "A released file that an advisory says is affected: it is what was released, and the report tells of the advisory.", verify.Verified, "", withAdvisory(func(v *verifytest.Vendor, sec *verifytest.Key) {
		v.SayAdvisory(nil, sec)
		v.SayVEX(verifytest.Files(), nil, sec)
		v.SayDisclosure(nil, sec)
	})},
	{"good-advisory-of-a-stranger", "Somebody without the role security warns of a release: it means nothing.", verify.Verified, "", withAdvisory(func(v *verifytest.Vendor, _ *verifytest.Key) {
		v.SayAdvisory(nil, v.Keys["rel"])
		v.SayAdvisory(nil, security(v, "eve", "torch"))
	})},
	{"good-advisory-replaced-by-a-stranger", "Somebody without the role for this product says a newer, harmless version of an advisory, and the release role takes it back: it stands.", verify.Verified, "", withAdvisory(func(v *verifytest.Vendor, sec *verifytest.Key) {
		n := v.SayAdvisory(nil, sec)
		v.SayAdvisory(harmless, security(v, "eve", "torch"))
		v.SayAdvisory(harmless, v.Keys["rel"])
		v.Revoke(n, "advisory", verifytest.Product, v.Keys["rel"])
	})},
	{"advisory-with-a-version-in-two-lists", "An advisory that says of one version that it is affected and fixed.", verify.Refused, verify.CodeStatement, func(v *verifytest.Vendor) input {
		sec := security(v, "sec", verifytest.Product)
		n := v.SayAdvisory(nil, sec)
		reworded(v, n, `"fixed":["1.2.1"]`, `"fixed":["1.2.0"]`, sec)
		return released(v)
	}},
	{"vex-without-an-action", "A VEX document that says affected, and not what to do.", verify.Refused, verify.CodeStatement, func(v *verifytest.Vendor) input {
		sec := security(v, "sec", verifytest.Product)
		n := v.SayVEX(verifytest.Files(), nil, sec)
		reworded(v, n, `,"action_statement":"Update to 1.2.1."`, ``, sec)
		return released(v)
	}},
	{"disclosure-that-does-not-count-its-receipts", "An account of reports that counts fewer than it has receipts for.", verify.Refused, verify.CodeStatement, func(v *verifytest.Vendor) input {
		sec := security(v, "sec", verifytest.Product)
		n := v.SayDisclosure(nil, sec)
		reworded(v, n, `"received":1`, `"received":0`, sec)
		return released(v)
	}},
}

// TestAReportTellsOfTheAdvisoriesThatNameTheFile goes through who may say what,
// and which of several versions counts.
func TestAReportTellsOfTheAdvisoriesThatNameTheFile(t *testing.T) {
	for name, c := range map[string]struct {
		say      func(v *verifytest.Vendor, sec *verifytest.Key)
		affected bool
		ids      int // advisories in the report
	}{
		"none":     {func(*verifytest.Vendor, *verifytest.Key) {}, false, 0},
		"affected": {func(v *verifytest.Vendor, sec *verifytest.Key) { v.SayAdvisory(nil, sec) }, true, 1},
		"of another version": {func(v *verifytest.Vendor, sec *verifytest.Key) {
			v.SayAdvisory(func(a *statement.Advisory) { a.Vulnerabilities[0].Products[0].Affected = []string{"1.1.9"} }, sec)
		}, false, 0},
		"of another product": {func(v *verifytest.Vendor, sec *verifytest.Key) {
			v.SayAdvisory(func(a *statement.Advisory) { a.Vulnerabilities[0].Products[0].Product = "torch" }, sec)
		}, false, 0},
		"corrected": {func(v *verifytest.Vendor, sec *verifytest.Key) {
			v.SayAdvisory(nil, sec)
			v.SayAdvisory(harmless, sec)
		}, false, 1},
		"no longer names it": {func(v *verifytest.Vendor, sec *verifytest.Key) {
			v.SayAdvisory(nil, sec)
			v.SayAdvisory(func(a *statement.Advisory) { a.Vulnerabilities[0].Products[0].Affected = nil }, sec)
		}, false, 0},
		"two": {func(v *verifytest.Vendor, sec *verifytest.Key) {
			v.SayAdvisory(harmless, sec)
			v.SayAdvisory(func(a *statement.Advisory) { a.ID = "LANTERN-2026-002" }, sec)
		}, true, 2},
		"replaced with a key of another product": {func(v *verifytest.Vendor, sec *verifytest.Key) {
			v.SayAdvisory(nil, sec)
			v.SayAdvisory(harmless, security(v, "eve", "torch"))
		}, true, 1},
		"revoked by the release role": {func(v *verifytest.Vendor, sec *verifytest.Key) {
			v.Revoke(v.SayAdvisory(nil, sec), "advisory", verifytest.Product, v.Keys["rel"])
		}, true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			v := verifytest.New(t)
			i := withAdvisory(c.say)(v)
			r := verify.JudgeBundle(i.trust, i.bundle, i.file, i.now)
			affected := slices.ContainsFunc(r.Advisories, func(a verify.AdvisoryBrief) bool { return a.Affected })
			if r.Verdict != verify.Verified || affected != c.affected || len(r.Advisories) != c.ids {
				t.Fatalf("%s: %+v", r.Reason, r.Advisories)
			}
			if _, notChecked := names(r); !slices.Contains(notChecked, "advisory") {
				t.Error("the report does not say that a bundle can not show all advisories")
			}
		})
	}
}

// TestTheWholeLogShowsThatNoAdvisoryNamesTheFile: only then the report says so.
func TestTheWholeLogShowsThatNoAdvisoryNamesTheFile(t *testing.T) {
	v := verifytest.New(t)
	v.Release(verifytest.Plan{})
	trust, ev, err := v.Trust().Prove(v.Bundle())
	if err != nil {
		t.Fatal(err)
	}
	ev.Complete = true
	claims, notChecked := names(trust.Judge(ev, verifytest.Artifact("lantern", "the program"), v.Now))
	if !slices.Contains(claims, "no-advisory") || slices.Contains(notChecked, "advisory") {
		t.Fatalf("claims %v, not checked %v", claims, notChecked)
	}
}

// TestWhoMaySpeakOfSecurity: advisory, VEX and disclosure statements need the role.
func TestWhoMaySpeakOfSecurity(t *testing.T) {
	v := verifytest.New(t)
	sec, other := security(v, "sec", verifytest.Product), security(v, "eve", "torch")
	say := map[int64]bool{
		v.SayAdvisory(nil, sec): true, v.SayAdvisory(nil, other): false, v.SayAdvisory(nil, v.Keys["rel"], v.Keys["ada"]): false,
		v.SayVEX(verifytest.Files(), nil, sec): true, v.SayVEX(verifytest.Files(), nil, other): false,
		v.SayDisclosure(nil, sec): true, v.SayDisclosure(nil, v.Keys["rel"]): false,
	}
	trust, ev, err := v.Trust().Prove(v.Bundle())
	if err != nil {
		t.Fatal(err)
	}
	a, err := trust.NewAuthority(ev.Entries)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range ev.Entries {
		if want, ours := say[e.Index]; ours {
			if _, err := a.Believe(e); (err == nil) != want {
				t.Errorf("entry %d (%s): %v", e.Index, e.Statement.Kind(), err)
			}
		}
	}
}
