package verify_test

import (
	"slices"
	"strings"
	"testing"

	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
	"clerestory.dev/clerestory/verify/verifytest"
)

// wholeLog is the evidence of somebody who has read every entry.
func wholeLog(t *testing.T, v *verifytest.Vendor) *verify.Evidence {
	t.Helper()
	cp, err := v.Trust().Policy.Open(v.Checkpoint())
	if err != nil {
		t.Fatal(err)
	}
	ev := &verify.Evidence{Checkpoint: cp, Complete: true}
	for i, raw := range v.Log.Entries {
		e, err := verify.ParseEntry(int64(i), raw)
		if err != nil {
			t.Fatal(err)
		}
		ev.Entries = append(ev.Entries, e)
	}
	return ev
}

func names(r *verify.Report) (claims, notChecked []string) {
	for _, c := range r.Claims {
		claims = append(claims, c.Name)
	}
	for _, n := range r.NotChecked {
		notChecked = append(notChecked, n.Name)
	}
	return claims, notChecked
}

func TestOnlyTheWholeLogShowsThatNothingIsRevoked(t *testing.T) {
	v := verifytest.New(t)
	r := v.Release(verifytest.Plan{})
	a := verifytest.Artifact("lantern", "the program")
	got := v.Trust().Judge(wholeLog(t, v), a, v.Now)
	claims, not := names(got)
	if got.Verdict != verify.Verified || !slices.Contains(claims, "not-revoked") || len(not) != 0 {
		t.Errorf("%s %v %v", got.Verdict, claims, not)
	}
	i := in(v, v.Bundle())
	got = verify.JudgeBundle(i.trust, i.bundle, a, v.Now)
	if claims, not = names(got); slices.Contains(claims, "not-revoked") || !slices.Contains(not, "not-revoked") {
		t.Errorf("a bundle shows too much: %v %v", claims, not)
	}
	// What the bundle can not see, the log shows.
	v.Revoke(r.Release, "release", verifytest.Product, v.Keys["rel"])
	if got := verify.JudgeBundle(i.trust, i.bundle, a, v.Now); got.Verdict != verify.Verified {
		t.Errorf("the older bundle: %s", got.Reason)
	}
	if got := v.Trust().Judge(wholeLog(t, v), a, v.Now); got.Code != verify.CodeRevoked {
		t.Errorf("the log: %s %s", got.Verdict, got.Reason)
	}
}

func TestReportTellsTheAgeOfTheCheckpoint(t *testing.T) {
	v := verifytest.New(t)
	v.Seen = v.Seen.AddDate(0, -2, 0)
	got := func() *verify.Report { i := released(v); return verify.JudgeBundle(i.trust, i.bundle, i.file, i.now) }()
	if want := int64(v.Now.Sub(v.Seen).Seconds()); got.Checkpoint.AgeSeconds != want || !got.Checkpoint.Time.Equal(v.Seen) {
		t.Errorf("age %d, expected %d", got.Checkpoint.AgeSeconds, want)
	}
	if strings.Join(got.Checkpoint.Witnesses, " ") != "witness1.example witness2.example" {
		t.Errorf("witnesses %v", got.Checkpoint.Witnesses)
	}
}

func TestNameInAFolderIsTheSameName(t *testing.T) {
	v := verifytest.New(t)
	i := released(v)
	for name, same := range map[string]bool{"lantern": true, "/tmp/lantern": true, `C:\x\lantern`: true, "linux/lantern": true, "lantern.exe": false, "": false} {
		i.file.Name = name
		r := verify.JudgeBundle(i.trust, i.bundle, i.file, i.now)
		if _, not := names(r); r.Verdict != verify.Verified || slices.Contains(not, "name") == same {
			t.Errorf("%q: %s, not checked %v", name, r.Verdict, not)
		}
	}
}

func TestFileWithoutDigestIsNotJudged(t *testing.T) {
	v := verifytest.New(t)
	i := released(v)
	for _, sum := range []string{"", "00", strings.ToUpper(i.file.SHA256), i.file.SHA256 + "00"} {
		i.file.SHA256 = sum
		if r := verify.JudgeBundle(i.trust, i.bundle, i.file, i.now); r.Verdict != verify.Unchecked {
			t.Errorf("%q: %s", sum, r.Verdict)
		}
	}
}

func TestOversizedInputIsRefused(t *testing.T) {
	v := verifytest.New(t)
	i := released(v)
	pad := func(b []byte, n int) []byte { return append(b, strings.Repeat(" ", n-len(b)+1)...) }
	if r := verify.JudgeBundle(pad(i.trust, verify.Limits.Trust), i.bundle, i.file, i.now); r.Code != verify.CodeTrust {
		t.Errorf("trusted root: %s %s", r.Verdict, r.Reason)
	}
	if r := verify.JudgeBundle(i.trust, pad(i.bundle, verify.Limits.Bundle), i.file, i.now); r.Code != verify.CodeBundle {
		t.Errorf("bundle: %s %s", r.Verdict, r.Reason)
	}
	b := v.Bundle()
	for len(b.Entries) <= verify.Limits.Entries {
		b.Entries = append(b.Entries, b.Entries[0])
	}
	if r := verify.JudgeBundle(i.trust, format(b), i.file, i.now); r.Code != verify.CodeBundle {
		t.Errorf("257 entries: %s %s", r.Verdict, r.Reason)
	}
}

func TestLogThatShrinksOrForksIsSeen(t *testing.T) {
	v := verifytest.New(t)
	open := func(l *verifytest.Log, size int64) *verify.Checkpoint {
		c, err := v.Trust().Policy.Open(l.Sign(l.Text(size), v.Seen, v.Witnesses...))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	fork := verifytest.NewLog(t, v.Log.Origin)
	for range 6 {
		fork.Add([]byte("another history"))
	}
	old, now, other := open(v.Log, 3), open(v.Log, 6), open(fork, 6)
	if err := verify.CheckGrowth(old, now, v.Log.Growth(3, 6)); err != nil {
		t.Errorf("growth: %v", err)
	}
	for name, err := range map[string]error{
		"shrunk":                 verify.CheckGrowth(now, old, nil),
		"same size, other state": verify.CheckGrowth(now, other, nil),
		"a fork":                 verify.CheckGrowth(old, other, fork.Growth(3, 6)),
		"no proof":               verify.CheckGrowth(old, now, nil),
	} {
		if verify.CodeOf(err) != verify.CodeFork {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEveryGoodSignatureIsShownWithItsRole(t *testing.T) {
	v := verifytest.New(t)
	v.Key(statement.Key{Action: "grant", Role: "source", Holder: "x", Products: []string{"*"}}, verifytest.NewKey("x"),
		v.RootKeys[0], v.RootKeys[2], verifytest.NewKey("stranger"))
	r := v.Release(verifytest.Plan{Approved: "rel boris ada src"})
	ev := wholeLog(t, v)
	a, err := v.Trust().NewAuthority(ev.Entries)
	if err != nil {
		t.Fatal(err)
	}
	show := func(n int64) string {
		var out []string
		for _, s := range a.Signers(ev.Entries[n]) {
			out = append(out, s.Role+":"+s.Holder)
		}
		slices.Sort(out)
		return strings.Join(out, " ")
	}
	if got := show(6); got != "root:root root:root" {
		t.Errorf("key statement: %s", got)
	}
	if got := show(r.Release); got != "approver:ada approver:boris release:rel source:src" {
		t.Errorf("release: %s", got)
	}
	for _, e := range ev.Entries {
		if _, err := a.Believe(e); err != nil {
			t.Errorf("entry %d: %v", e.Index, err)
		}
	}
}

func TestRootIsFollowedOneVersionAtATime(t *testing.T) {
	v := verifytest.New(t)
	one := v.Trust()
	fresh := verifytest.NewKey("fresh")
	v2 := v.NewRoot(2, v.RootKeys[0], v.RootKeys[1], fresh)
	file := v.SignRoot(v2, v.RootKeys[0], v.RootKeys[1])
	two, err := one.Rotate(file)
	if err != nil {
		t.Fatal(err)
	}
	if two.Fingerprint() == one.Fingerprint() || string(two.File()) != string(file) {
		t.Error("version 2 is not what was followed")
	}
	for name, next := range map[string][]byte{"the same version": file, "a rollback": v.TrustFile(), "nothing": nil} {
		if _, err := two.Rotate(next); verify.CodeOf(err) != verify.CodeTrust {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStatementPredicateMatchesItsKindOnly(t *testing.T) {
	v := verifytest.New(t)
	r := v.Release(verifytest.Plan{})
	ev := wholeLog(t, v)
	rel := ev.Entries[r.Release].Statement
	if _, err := statement.As(rel, &statement.Build{}); err == nil {
		t.Error("a release passed for a build")
	}
	if rel.Kind() != "release" {
		t.Errorf("kind %q", rel.Kind())
	}
}
