package verifytest

import (
	"encoding/json"

	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// Released says where the statements of a release stand in the log.
type Released struct {
	Source, Build, Rebuild, Release int64
	Manifest                        *verify.Manifest
}

// Plan says how a release is made; its zero value is a good one. The functions
// change what is said before it is signed.
type Plan struct {
	Files     map[string]string
	Source    func(*statement.Source)
	Build     func(*statement.Build)
	Release   func(*statement.Release)
	Builder   string // holder that signs the build; "bld"
	Rebuilder string // "reb"; "none" for no rebuild
	Approved  string // holders that sign the release; "rel ada boris"
}

// Release says source, build, rebuild and release.
func (v *Vendor) Release(p Plan) *Released {
	v.T.Helper()
	if p.Files == nil {
		p.Files = Files()
	}
	out := &Released{Manifest: v.Manifest(p.Files), Rebuild: -1}
	out.Source = v.SaySource(p.Source)
	out.Build = v.SayBuild(p.Files, p.Build, or(p.Builder, "bld"))
	if by := or(p.Rebuilder, "reb"); by != "none" {
		out.Rebuild = v.SayBuild(p.Files, nil, by)
	}
	out.Release = v.SayRelease(out, p.Release, or(p.Approved, "rel ada boris"))
	return out
}

// SaySource publishes the source.
func (v *Vendor) SaySource(change func(*statement.Source)) int64 {
	v.T.Helper()
	s := &statement.Source{Product: Product, Repository: "https://git.lantern.example/lantern", Commit: Commit, Tree: Tree, Files: 321, At: At}
	if change != nil {
		change(s)
	}
	sub := statement.Subject{Name: s.Repository, Digest: map[string]string{"gitCommit": s.Commit, "gitTree": s.Tree}}
	return v.Say([]statement.Subject{sub}, s, v.Keys["src"])
}

// SayBuild says that files were built, signed by a holder.
func (v *Vendor) SayBuild(files map[string]string, change func(*statement.Build), by string) int64 {
	v.T.Helper()
	b := &statement.Build{
		BuildDefinition: statement.BuildDefinition{
			BuildType: statement.BuildRecipe, ExternalParameters: json.RawMessage(`{"package":"./cmd/lantern","goos":"linux"}`),
			ResolvedDependencies: []statement.Resource{{URI: "git+https://git.lantern.example/lantern", Digest: map[string]string{"gitCommit": Commit}}},
		},
		RunDetails: statement.RunDetails{Builder: statement.Builder{ID: "https://" + by + ".example/builder"}, Metadata: statement.BuildMetadata{StartedOn: At}},
	}
	if change != nil {
		change(b)
	}
	var subject []statement.Subject
	for _, f := range v.Manifest(files).Files[:min(len(files), 200)] {
		subject = append(subject, statement.Subject{Name: f.Name, Digest: map[string]string{"sha256": f.SHA256}})
	}
	return v.Say(subject, b, v.holders(by)...)
}

// SayRelease says the release, signed by holders.
func (v *Vendor) SayRelease(r *Released, change func(*statement.Release), by string) int64 {
	v.T.Helper()
	s := &statement.Release{
		Product: Product, Version: "1.2.0", Channel: "stable", Manifest: r.Manifest.Tree(), Commit: Commit, Tree: Tree,
		Source: statement.HashOf(v.Log.Entries[r.Source]), Build: statement.HashOf(v.Log.Entries[r.Build]),
		SBOM: statement.Digest{Name: "lantern-1.2.0.cdx.json", SHA256: SHA256("sbom"), Size: 4}, At: At,
	}
	if change != nil {
		change(s)
	}
	return v.Say(r.Manifest.Subjects(s.Product, s.Version), s, v.holders(by)...)
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
