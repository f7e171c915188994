package verify_test

import (
	"strings"

	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
	"clerestory.dev/clerestory/verify/verifytest"
)

// approvedBy is a good release but for who signed it.
func approvedBy(holders string) func(v *verifytest.Vendor) input {
	return func(v *verifytest.Vendor) input {
		v.Release(verifytest.Plan{Approved: holders})
		return in(v, v.Bundle())
	}
}

// ending is a release after (or before) a key statement that ends the release key.
func ending(k statement.Key, before bool) func(v *verifytest.Vendor) input {
	return func(v *verifytest.Vendor) input {
		k.Holder, k.Products, k.Reason = "rel", []string{"*"}, "stolen"
		if before {
			v.Key(k, v.Keys["rel"], v.RootKeys[:2]...)
			return released(v)
		}
		r := v.Release(verifytest.Plan{})
		if k.Since > 0 {
			k.Since = r.Release
		}
		v.Key(k, v.Keys["rel"], v.RootKeys[:2]...)
		return in(v, v.Bundle())
	}
}

var keyCases = []attack{
	{"test-passed-with-a-failure", "A test statement that says PASSED and names a failed test.", verify.Refused, verify.CodeStatement, func(v *verifytest.Vendor) input {
		r := &statement.TestResult{Result: statement.TestFailed, Configuration: []statement.Resource{{Name: "replay-clean"}}, FailedTests: []string{"calc.exe"}}
		sub := []statement.Subject{{Name: "lantern", Digest: map[string]string{"sha256": verifytest.SHA256("the program")}}}
		v.Log.Add(v.Envelope(edited(v, sub, r, `"FAILED"`, `"PASSED"`), verifytest.NewKey("tst")))
		return released(v)
	}},
	{"key-signed-by-one-root-key", "A key statement with one root signature where two are needed.", verify.Refused, verify.CodeSignature, func(v *verifytest.Vendor) input {
		v.Key(statement.Key{Action: "grant", Role: "approver", Holder: "eve", Products: []string{"*"}}, verifytest.NewKey("eve"), v.RootKeys[0])
		return released(v)
	}},
	{"key-signed-by-a-role-key", "A release key tries to grant a role.", verify.Refused, verify.CodeSignature, func(v *verifytest.Vendor) input {
		v.Key(statement.Key{Action: "grant", Role: "approver", Holder: "eve", Products: []string{"*"}}, verifytest.NewKey("eve"), v.Keys["rel"], v.RootKeys[0])
		return released(v)
	}},
	{"key-id-of-another-key", "A key statement whose id is not that of its key.", verify.Refused, verify.CodeStatement, func(v *verifytest.Vendor) input {
		k := v.Keys["ada"]
		s := &statement.Key{Action: "grant", KeyID: k.KeyID(), Public: k.Public(), Role: "approver", Holder: "eve", Products: []string{"*"}, At: verifytest.At}
		payload := edited(v, []statement.Subject{statement.KeySubject(k.Public())}, s, `"keyid":"`+k.KeyID()[:4], `"keyid":"0000`)
		v.Log.Add(v.Envelope(payload, v.RootKeys[:2]...))
		return released(v)
	}},
	{"key-used-before-its-grant", "The release was signed with a key before the key had its role.", verify.Refused, verify.CodeSignature, func(v *verifytest.Vendor) input {
		v.Keys["rel"] = verifytest.NewKey("later")
		r := v.Release(verifytest.Plan{})
		v.Grant(v.Keys["rel"], "release", "rel", "*")
		return in(v, v.Bundle(0, 1, 2, 3, 4, 5, r.Source, r.Build, r.Release, r.Release+1))
	}},
	{"key-used-after-retirement", "The release was signed with a key that had been retired.", verify.Refused, verify.CodeSignature, ending(statement.Key{Action: "retire", Role: "release"}, true)},
	{"key-used-after-revocation", "The release was signed with a key that had been revoked.", verify.Refused, verify.CodeSignature, ending(statement.Key{Action: "revoke", Role: "release", Since: 6}, true)},
	{"key-revoked-since-before", "A later statement revokes the key since an entry before the release.", verify.Refused, verify.CodeSignature, ending(statement.Key{Action: "revoke", Role: "release", Since: 1}, false)},
	{"key-revoked-from-the-start", "A later statement revokes the key for all time.", verify.Refused, verify.CodeSignature, ending(statement.Key{Action: "revoke", Role: "release"}, false)},
	{"key-revoked-in-another-role", "A stolen key is revoked by a statement that names another role.", verify.Refused, verify.CodeSignature, ending(statement.Key{Action: "revoke", Role: "approver"}, false)},
	{"key-of-another-product", "The release key is granted for another product.", verify.Refused, verify.CodeSignature, func(v *verifytest.Vendor) input {
		v.Keys["rel"] = verifytest.NewKey("torch")
		v.Grant(v.Keys["rel"], "release", "torch", "torch")
		return released(v)
	}},
	{"key-of-another-role", "An approver's key signs as the release key.", verify.Refused, verify.CodeSignature, approvedBy("ada boris")},
	{"builder-of-another-product", "The builder's key is granted for another product.", verify.Refused, verify.CodeSignature, func(v *verifytest.Vendor) input {
		v.Keys["bld"] = verifytest.NewKey("torch")
		v.Grant(v.Keys["bld"], "builder", "torch", "torch")
		return released(v)
	}},
	{"builder-is-only-a-rebuilder", "The release relies on a build by somebody who may only repeat builds.", verify.Refused, verify.CodeSignature, func(v *verifytest.Vendor) input {
		v.Release(verifytest.Plan{Builder: "reb", Rebuilder: "bld"})
		return in(v, v.Bundle())
	}},
	{"source-signed-by-a-stranger", "The source statement is signed by a key without a role.", verify.Refused, verify.CodeSignature, func(v *verifytest.Vendor) input {
		v.Keys["src"] = verifytest.NewKey("stranger")
		return released(v)
	}},
	{"key-statement-left-out", "The bundle leaves out the grant of an approver.", verify.Refused, verify.CodeApprovals, func(v *verifytest.Vendor) input {
		v.Release(verifytest.Plan{})
		return in(v, v.Bundle(0, 1, 2, 3, 4, 6, 7, 8, 9))
	}},
	{"release-signature-wrong", "A signature under the release is over another text.", verify.Refused, verify.CodeApprovals, func(v *verifytest.Vendor) input {
		r := v.Release(verifytest.Plan{Approved: "rel ada"})
		raw := string(v.Log.Entries[r.Release])
		e, err := statement.ParseEnvelope([]byte(raw))
		if err != nil {
			panic(err)
		}
		e.Payload = append(e.Payload, ' ')
		if err := e.AddSignature(v.Keys["boris"]); err != nil {
			panic(err)
		}
		e.Payload = e.Payload[:len(e.Payload)-1]
		forged, err := e.Format()
		if err != nil {
			panic(err)
		}
		v.Log.Add(forged)
		return in(v, v.Bundle())
	}},
	{"approvals-too-few", "One approver where two are needed.", verify.Refused, verify.CodeApprovals, approvedBy("rel ada")},
	{"approvals-by-one-person-with-two-keys", "Two keys of one person approve.", verify.Refused, verify.CodeApprovals, func(v *verifytest.Vendor) input {
		v.Keys["ada2"] = verifytest.NewKey("ada's second")
		v.Grant(v.Keys["ada2"], "approver", "ada", "*")
		return approvedBy("rel ada ada2")(v)
	}},
	{"approvals-by-one-key-of-two-people", "One key, granted to two people, approves once.", verify.Refused, verify.CodeApprovals, func(v *verifytest.Vendor) input {
		v.Grant(v.Keys["ada"], "approver", "carla", "*")
		return approvedBy("rel ada")(v)
	}},
	{"approvals-by-a-key-without-the-role", "A builder's key is no approver's.", verify.Refused, verify.CodeApprovals, approvedBy("rel ada bld")},
}

// said is a release that says something else.
func said(p verifytest.Plan) func(v *verifytest.Vendor) input {
	return func(v *verifytest.Vendor) input {
		v.Release(p)
		return in(v, v.Bundle())
	}
}

var otherCommit = strings.Repeat("0d", 20)

var releaseCases = []attack{
	{"release-revoked", "The release was taken back.", verify.Refused, verify.CodeRevoked, func(v *verifytest.Vendor) input {
		r := v.Release(verifytest.Plan{})
		v.Revoke(r.Release, "release", verifytest.Product, v.Keys["rel"])
		return in(v, v.Bundle())
	}},
	{"release-build-revoked", "The build that the release relies on was taken back.", verify.Refused, verify.CodeRevoked, func(v *verifytest.Vendor) input {
		r := v.Release(verifytest.Plan{})
		v.Revoke(r.Build, "build", verifytest.Product, v.Keys["rel"])
		return in(v, v.Bundle())
	}},
	{"release-source-revoked", "The source that the release relies on was taken back.", verify.Refused, verify.CodeRevoked, func(v *verifytest.Vendor) input {
		r := v.Release(verifytest.Plan{})
		v.Revoke(r.Source, "source", verifytest.Product, v.Keys["rel"])
		return in(v, v.Bundle())
	}},
	{"good-revocation-of-another-entry", "A revocation that names this entry's number with another entry's hash.", verify.Verified, "", func(v *verifytest.Vendor) input {
		r := v.Release(verifytest.Plan{})
		sub := statement.Subject{Name: "entry:9", Digest: map[string]string{"sha256": statement.HashOf(v.Log.Entries[r.Source])}}
		v.Say([]statement.Subject{sub}, &statement.Revocation{Entry: 9, Kind: "release", Product: verifytest.Product, Reason: "no", At: verifytest.At}, v.Keys["rel"])
		return in(v, v.Bundle())
	}},
	{"good-rebuild-revoked", "The rebuild was taken back: the release stands, without that claim.", verify.Verified, "", func(v *verifytest.Vendor) input {
		r := v.Release(verifytest.Plan{})
		v.Revoke(r.Rebuild, "build", verifytest.Product, v.Keys["rel"])
		return in(v, v.Bundle())
	}},
	{"source-left-out", "The bundle leaves out the source statement.", verify.Refused, verify.CodeProvenance, func(v *verifytest.Vendor) input {
		r := v.Release(verifytest.Plan{})
		return in(v, v.Bundle(0, 1, 2, 3, 4, 5, r.Build, r.Release))
	}},
	{"build-left-out", "The bundle leaves out the build statement.", verify.Refused, verify.CodeProvenance, func(v *verifytest.Vendor) input {
		r := v.Release(verifytest.Plan{})
		return in(v, v.Bundle(0, 1, 2, 3, 4, 5, r.Source, r.Release))
	}},
	{"source-of-another-commit", "The release names a commit that its source statement does not.", verify.Refused, verify.CodeProvenance, said(verifytest.Plan{Source: func(s *statement.Source) { s.Commit = otherCommit }})},
	{"source-of-another-tree", "The release names a tree that its source statement does not.", verify.Refused, verify.CodeProvenance, said(verifytest.Plan{Source: func(s *statement.Source) { s.Tree = otherCommit }})},
	{"source-of-another-product", "The source statement is of another product.", verify.Refused, verify.CodeProvenance, func(v *verifytest.Vendor) input {
		v.Grant(v.Keys["src"], "source", "src", "torch")
		return said(verifytest.Plan{Source: func(s *statement.Source) { s.Product = "torch" }})(v)
	}},
	{"build-of-another-commit", "The build was made from another commit.", verify.Refused, verify.CodeProvenance, said(verifytest.Plan{Build: func(b *statement.Build) {
		b.BuildDefinition.ResolvedDependencies[0].Digest["gitCommit"] = otherCommit
	}})},
	{"build-named-as-source", "The release names its build as its source.", verify.Refused, verify.CodeProvenance, func(v *verifytest.Vendor) input {
		r := &verifytest.Released{Source: v.SaySource(nil), Manifest: v.Manifest(verifytest.Files())}
		r.Build = v.SayBuild(verifytest.Files(), nil, "bld")
		r.Source = r.Build
		v.SayRelease(r, nil, "rel ada boris")
		return in(v, v.Bundle())
	}},
	{"source-after-the-release", "The source was published after the release that relies on it.", verify.Refused, verify.CodeProvenance, func(v *verifytest.Vendor) input {
		r := &verifytest.Released{Source: v.SaySource(nil), Manifest: v.Manifest(verifytest.Files())}
		r.Build = v.SayBuild(verifytest.Files(), nil, "bld")
		v.SayRelease(r, nil, "rel ada boris")
		// The same entries in another order, in a log of its own.
		old := v.Log
		v.Log = verifytest.NewLog(v.T, old.Origin)
		for _, n := range []int64{0, 1, 2, 3, 4, 5, r.Build, r.Build + 1, 6} {
			v.Log.Add(old.Entries[n])
		}
		return in(v, v.Bundle())
	}},
	{"manifest-does-not-fit", "The release's manifest is not that of its files.", verify.Refused, verify.CodeStatement, said(verifytest.Plan{Release: func(r *statement.Release) {
		r.Manifest.Root = verifytest.SHA256("else")
	}})},
	{"manifest-without-member", "A release of 200 files, and no proof that this file is one.", verify.Refused, verify.CodeOtherFile, said(verifytest.Plan{Files: manyFiles()})},
	{"manifest-member-of-other-bytes", "The proof is put beside another file.", verify.Refused, verify.CodeProof, forgedMember(func(m *verify.Member) { m.SHA256 = verifytest.SHA256("the trojan") }, "the trojan")},
	{"manifest-member-renamed", "The proof is changed to carry another name.", verify.Refused, verify.CodeProof, forgedMember(func(m *verify.Member) { m.Name = "windows/lantern" }, "the program")},
	{"manifest-member-elsewhere", "The proof names another place.", verify.Refused, verify.CodeProof, forgedMember(func(m *verify.Member) { m.Index-- }, "the program")},
	{"manifest-member-negative", "The proof names a place below zero.", verify.Refused, verify.CodeProof, forgedMember(func(m *verify.Member) { m.Index = -1 }, "the program")},
	{"manifest-member-hash-missing", "A hash of the proof is missing.", verify.Refused, verify.CodeProof, forgedMember(func(m *verify.Member) { m.Hashes = m.Hashes[1:] }, "the program")},
}

func forgedMember(change func(m *verify.Member), content string) func(v *verifytest.Vendor) input {
	return func(v *verifytest.Vendor) input {
		r := v.Release(verifytest.Plan{Files: manyFiles()})
		b := v.Bundle()
		b.Member = member(r)
		change(b.Member)
		i := in(v, b)
		i.file = verifytest.Artifact("lantern", content)
		return i
	}
}
