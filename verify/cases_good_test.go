package verify_test

import (
	"fmt"
	"strings"

	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
	"clerestory.dev/clerestory/verify/verifytest"
)

// released is a good release, and a bundle of all that the log holds.
func released(v *verifytest.Vendor) input {
	v.Release(verifytest.Plan{})
	return in(v, v.Bundle())
}

// manyFiles are more than a release names one by one.
func manyFiles() map[string]string {
	files := map[string]string{"linux/lantern": "the program"}
	for i := range 199 {
		files[fmt.Sprintf("base/%03d.txt", i)] = fmt.Sprint("base ", i)
	}
	return files
}

// member proves the file linux/lantern in a release of many files.
func member(r *verifytest.Released) *verify.Member {
	for i, f := range r.Manifest.Files {
		if f.Name == "linux/lantern" {
			m, err := r.Manifest.Member(i)
			if err != nil {
				panic(err)
			}
			return m
		}
	}
	return nil
}

// without signs a payload that New would refuse, or that it would not make.
func edited(v *verifytest.Vendor, subject []statement.Subject, p statement.Predicate, old, new string) []byte {
	payload, err := statement.New(subject, p)
	if err != nil {
		panic(err)
	}
	out := strings.Replace(string(payload), old, new, 1)
	if out == string(payload) {
		panic(old + " is not in the statement")
	}
	return []byte(out)
}

// sayTest says that the gate replay-clean passed on files.
func sayTest(v *verifytest.Vendor, files map[string]string, change func(*statement.TestResult), by *verifytest.Key) int64 {
	r := &statement.TestResult{
		Result:        statement.TestPassed,
		Configuration: []statement.Resource{{Name: "replay-clean"}, {Name: "toolchain", Digest: map[string]string{"sha256": verifytest.SHA256("corpus")}}},
		PassedTests:   []string{"no new match in toolchain"},
		Clerestory: statement.TestFacts{Product: verifytest.Product, Numbers: map[string]int64{"files": 20000, "newMatches": 0},
			Report: statement.Resource{Name: "replay.json", Digest: map[string]string{"sha256": verifytest.SHA256("report")}}, At: verifytest.At},
	}
	if change != nil {
		change(r)
	}
	var subject []statement.Subject
	for _, f := range v.Manifest(files).Files {
		subject = append(subject, statement.Subject{Name: f.Name, Digest: map[string]string{"sha256": f.SHA256}})
	}
	return v.Say(subject, r, by)
}

var goodCases = []attack{
	{"good", "A file as it was released, and rebuilt by somebody else.", verify.Verified, "", released},
	{"good-renamed", "The same bytes under another name.", verify.Verified, "", func(v *verifytest.Vendor) input {
		i := released(v)
		i.file.Name = `C:\Downloads\setup.exe`
		return i
	}},
	{"good-empty-file", "An empty file that is part of the release.", verify.Verified, "", func(v *verifytest.Vendor) input {
		i := released(v)
		i.file = verifytest.Artifact("empty.txt", "")
		return i
	}},
	{"good-many-files", "One of 200 files, proven by its place in the manifest.", verify.Verified, "", func(v *verifytest.Vendor) input {
		r := v.Release(verifytest.Plan{Files: manyFiles()})
		b := v.Bundle()
		b.Member = member(r)
		return in(v, b)
	}},
	{"good-two-releases-of-many-files", "The membership proof belongs to the older of two releases.", verify.Verified, "", func(v *verifytest.Vendor) input {
		r := v.Release(verifytest.Plan{Files: manyFiles()})
		files := manyFiles()
		files["base/000.txt"] = "changed"
		v.Release(verifytest.Plan{Files: files})
		b := v.Bundle()
		b.Member = member(r)
		return in(v, b)
	}},
	{"good-unknown-kind", "The bundle holds a statement of a kind that nobody knows yet.", verify.Verified, "", func(v *verifytest.Vendor) input {
		payload := `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"x","digest":{"sha256":"` + verifytest.SHA256("x") + `"}}],"predicateType":"https://example.org/weather/v1","predicate":{"Sky":"blue","sky":1e300,"none":null}}`
		v.Log.Add(v.Envelope([]byte(payload), verifytest.NewKey("stranger")))
		return released(v)
	}},
	{"good-tested", "A tester's statement about the release's files stands in the bundle.", verify.Verified, "", func(v *verifytest.Vendor) input {
		v.Grant(verifytest.NewKey("tst"), "tester", "tst", verifytest.Product)
		sayTest(v, verifytest.Files(), nil, verifytest.NewKey("tst"))
		return released(v)
	}},
	{"good-unknown-members", "A source statement with members of a later version.", verify.Verified, "", func(v *verifytest.Vendor) input {
		src := &statement.Source{Product: verifytest.Product, Repository: "r", Commit: verifytest.Commit, Tree: verifytest.Tree, At: verifytest.At}
		sub := []statement.Subject{{Name: "r", Digest: map[string]string{"gitCommit": src.Commit, "gitTree": src.Tree}}}
		n := v.Log.Add(v.Envelope(edited(v, sub, src, `"at":`, `"licence":{"spdx":"EUPL-1.2","Spdx":null},"at":`), v.Keys["src"]))
		r := &verifytest.Released{Source: n, Manifest: v.Manifest(verifytest.Files())}
		r.Build = v.SayBuild(verifytest.Files(), nil, "bld")
		v.SayRelease(r, nil, "rel ada boris")
		return in(v, v.Bundle())
	}},
	{"good-only-what-is-needed", "A bundle with the keys and statements of the release, and no more.", verify.Verified, "", func(v *verifytest.Vendor) input {
		r := v.Release(verifytest.Plan{})
		v.Release(verifytest.Plan{Files: map[string]string{"other": "other"}})
		return in(v, v.Bundle(0, 1, 3, 4, 5, r.Source, r.Build, r.Release))
	}},
	{"good-no-rebuild", "Nobody else has built it: verified, and said so.", verify.Verified, "", func(v *verifytest.Vendor) input {
		v.Release(verifytest.Plan{Rebuilder: "none"})
		return in(v, v.Bundle())
	}},
	{"good-builder-confirms-itself", "A second build statement by the builder itself is no rebuild.", verify.Verified, "", func(v *verifytest.Vendor) input {
		v.Grant(v.Keys["bld"], "rebuilder", "bld", "*")
		v.Release(verifytest.Plan{Rebuilder: "bld"})
		return in(v, v.Bundle())
	}},
	{"good-not-built-here", "A file of the release that its build does not list.", verify.Verified, "", func(v *verifytest.Vendor) input {
		r := &verifytest.Released{Source: v.SaySource(nil), Manifest: v.Manifest(verifytest.Files())}
		r.Build = v.SayBuild(map[string]string{"other": "other"}, nil, "bld")
		v.SayRelease(r, nil, "rel ada boris")
		return in(v, v.Bundle())
	}},
	{"good-old-checkpoint", "A checkpoint of last year: believed for what it shows, and its age is told.", verify.Verified, "", func(v *verifytest.Vendor) input {
		v.Seen = v.Seen.AddDate(-1, 0, 0)
		return released(v)
	}},
	{"good-stranger-revokes", "A revocation by a key without a role stops nothing.", verify.Verified, "", func(v *verifytest.Vendor) input {
		r := v.Release(verifytest.Plan{})
		v.Revoke(r.Release, "release", verifytest.Product, verifytest.NewKey("stranger"))
		return in(v, v.Bundle())
	}},
	{"good-other-product-revokes", "Another product's release key can not stop this one.", verify.Verified, "", func(v *verifytest.Vendor) input {
		r := v.Release(verifytest.Plan{})
		torch := verifytest.NewKey("torch")
		v.Grant(torch, "release", "torch-rel", "torch")
		v.Revoke(r.Release, "release", "torch", torch)
		return in(v, v.Bundle())
	}},
	{"good-key-retired-later", "What a key signed before it was retired stands.", verify.Verified, "", func(v *verifytest.Vendor) input {
		v.Release(verifytest.Plan{})
		v.Key(statement.Key{Action: "retire", Role: "release", Holder: "rel", Products: []string{"*"}, Reason: "a new token"}, v.Keys["rel"], v.RootKeys[1:]...)
		return in(v, v.Bundle())
	}},
	{"good-key-revoked-since-later", "A key that is not believed from a later entry on.", verify.Verified, "", func(v *verifytest.Vendor) input {
		r := v.Release(verifytest.Plan{})
		v.Key(statement.Key{Action: "revoke", Role: "release", Holder: "rel", Products: []string{"*"}, Since: r.Release + 1, Reason: "lost"}, v.Keys["rel"], v.RootKeys[1:]...)
		return in(v, v.Bundle())
	}},
	{"good-key-granted-again", "A key that was retired and then granted again.", verify.Verified, "", func(v *verifytest.Vendor) input {
		v.Key(statement.Key{Action: "retire", Role: "release", Holder: "rel", Products: []string{"*"}, Reason: "leave"}, v.Keys["rel"], v.RootKeys[1:]...)
		v.Grant(v.Keys["rel"], "release", "rel", "*")
		return released(v)
	}},
}
