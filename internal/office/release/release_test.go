package release_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"clerestory.dev/clerestory/internal/base/blob"
	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/base/store/storetest"
	"clerestory.dev/clerestory/internal/office/release"
	"clerestory.dev/clerestory/verify"
	"clerestory.dev/clerestory/verify/verifytest"
)

// room is the release room of a vendor in memory.
type room struct {
	*release.Service
	vendor *verifytest.Vendor
	t      *testing.T
	people *strings.Replacer // what changed about the programme's people
}

// log is the vendor's log in memory as the room sees it: what was said in the
// database is in it at once.
type log struct {
	mu     sync.Mutex
	vendor *verifytest.Vendor
	db     *store.DB
}

func (l *log) Checkpoint(ctx context.Context) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	said, err := l.db.SaidFrom(ctx, l.vendor.Log.Size(), 1000)
	if err != nil {
		return nil, err
	}
	for _, s := range said {
		l.vendor.Log.Add(s.Envelope)
	}
	return l.vendor.Log.Sign(l.vendor.Log.Text(l.vendor.Log.Size()), l.vendor.Seen, l.vendor.Witnesses...), nil
}

func (l *log) Prove(_ context.Context, n int64, checkpoint []byte) (*verify.Proof, error) {
	return verify.ParseProof(l.vendor.Log.Prove(n, l.vendor.Log.Size(), checkpoint))
}

func open(t *testing.T, dsn string) *room {
	t.Helper()
	v, db := verifytest.New(t), storetest.Open(t, dsn)
	err := db.Write(t.Context(), func(tx *store.Tx) error {
		for n, raw := range v.Log.Entries {
			if err := tx.Adopt(t.Context(), int64(n), raw, v.Now); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return service(t, v, db)
}

// reopen is the room of another process on the same database.
func reopen(t *testing.T, dsn string) *room {
	t.Helper()
	v, db := verifytest.New(t), storetest.Open(t, dsn)
	v.Log = verifytest.NewLog(t, v.Log.Origin)
	return service(t, v, db)
}

func service(t *testing.T, v *verifytest.Vendor, db *store.DB) *room {
	t.Helper()
	blobs, err := blob.NewDisk(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &room{&release.Service{
		DB: db, Blobs: blobs, Ledger: &log{vendor: v, db: db}, Now: func() time.Time { return v.Now },
		Roots: func() ([][]byte, error) { return [][]byte{v.TrustFile()}, nil },
	}, v, t, strings.NewReplacer()}
}

var source = release.Source{Repository: "https://lantern.example/src", Commit: verifytest.Commit, Tree: verifytest.Tree, Files: 3, Time: time.Date(2026, 2, 28, 9, 0, 0, 0, time.UTC)}

// draft stores files and says their source and build.
func (r *room) draft(version string, names ...string) release.Draft {
	r.t.Helper()
	ctx := r.t.Context()
	var files []release.File
	for _, name := range names {
		f, err := r.Store(ctx, name, strings.NewReader("content of "+name+" "+version))
		if err != nil {
			r.t.Fatal(err)
		}
		files = append(files, f)
	}
	src, err := r.SaySource(ctx, verifytest.Product, source, r.vendor.Keys["src"])
	if err != nil {
		r.t.Fatal(err)
	}
	build, err := r.SayBuild(ctx, release.BuildRun{Source: source, Builder: "https://lantern.example/builder", Started: r.vendor.Now, Finished: r.vendor.Now, Files: files[:1]}, r.vendor.Keys["bld"])
	if err != nil {
		r.t.Fatal(err)
	}
	return release.Draft{Product: verifytest.Product, Version: version, Channel: "stable", Files: files, SBOM: files[len(files)-1], Source: src, Build: build, By: "dana"}
}

func (r *room) propose(d release.Draft) *release.Release {
	r.t.Helper()
	rel, err := r.Propose(r.t.Context(), d)
	if err != nil {
		r.t.Fatal(err)
	}
	return rel
}

func (r *room) approve(rel *release.Release, holder string) error {
	_, err := r.Approve(r.t.Context(), rel.Statement.Product, rel.Statement.Version, rel.PayloadHash, r.vendor.Keys[holder])
	return err
}

func (r *room) publish(version string) (*release.Release, error) {
	return r.Publish(r.t.Context(), verifytest.Product, version, r.vendor.Keys["rel"])
}

// released is a room with one published release.
func (r *room) released(version string, names ...string) *release.Release {
	r.t.Helper()
	rel := r.propose(r.draft(version, names...))
	if err := errors.Join(r.approve(rel, "ada"), r.approve(rel, "boris")); err != nil {
		r.t.Fatal(err)
	}
	rel, err := r.publish(version)
	if err != nil {
		r.t.Fatal(err)
	}
	return rel
}

func TestAPublishedFileVerifiesWithItsBundle(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		r := open(t, dsn)
		rel := r.released("1.0", "lantern", "lantern.cdx.json")
		for _, f := range rel.Files {
			b, err := r.Bundle(t.Context(), f.SHA256)
			if err != nil {
				t.Fatal(err)
			}
			a := verify.Artifact{Name: f.Name, SHA256: f.SHA256, Size: f.Size}
			if rep := verify.JudgeBundle(r.vendor.TrustFile(), b, a, r.vendor.Now); rep.Verdict != verify.Verified {
				t.Fatalf("%s: %s", f.Name, rep.Reason)
			}
			a.SHA256 = strings.Repeat("0", 64)
			if rep := verify.JudgeBundle(r.vendor.TrustFile(), b, a, r.vendor.Now); rep.Code != verify.CodeOtherFile {
				t.Fatalf("another file: %+v", rep)
			}
		}
	})
}

func TestAReleaseOfManyFilesProvesEachByItsManifest(t *testing.T) {
	r := open(t, filepath.Join(t.TempDir(), "db"))
	var names []string
	for i := range 300 {
		names = append(names, fmt.Sprintf("lib/%03d.so", i))
	}
	rel := r.released("2.0", names...)
	for _, i := range []int{0, 137, 299} {
		if _, err := r.Bundle(t.Context(), rel.Files[i].SHA256); err != nil {
			t.Fatal(err)
		}
	}
}

func TestARevokedReleaseIsRefusedByItsOwnBundle(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		r := open(t, dsn)
		rel := r.released("1.0", "lantern", "lantern.cdx.json")
		revoked, err := r.Revoke(t.Context(), verifytest.Product, "1.0", "it catches fire", r.vendor.Keys["rel"])
		if err != nil || revoked.State != release.Revoked || revoked.RevokedBy <= rel.Entry {
			t.Fatalf("%+v, %v", revoked, err)
		}
		f := rel.Files[0]
		b, err := r.Bundle(t.Context(), f.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		rep := verify.JudgeBundle(r.vendor.TrustFile(), b, verify.Artifact{Name: f.Name, SHA256: f.SHA256}, r.vendor.Now)
		if rep.Code != verify.CodeRevoked || !strings.Contains(rep.Reason, "it catches fire") {
			t.Fatalf("%+v", rep)
		}
	})
}

func TestTooFewApprovals(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		r := open(t, dsn)
		rel := r.propose(r.draft("1.0", "lantern", "sbom.json"))
		if err := r.approve(rel, "ada"); err != nil {
			t.Fatal(err)
		}
		before, _ := r.DB.Next(t.Context())
		if _, err := r.publish("1.0"); !errors.Is(err, fault.Denied) {
			t.Fatalf("published with one approval: %v", err)
		}
		if after, _ := r.DB.Next(t.Context()); after != before {
			t.Fatal("the refused release was said")
		}
		if err := r.approve(rel, "ada"); !errors.Is(err, fault.Conflict) {
			t.Fatalf("the same person twice: %v", err)
		}
		if err := r.approve(rel, "rel"); !errors.Is(err, fault.Denied) {
			t.Fatalf("a key without the role: %v", err)
		}
	})
}

func TestNobodyApprovesTheirOwnProposal(t *testing.T) {
	r := open(t, filepath.Join(t.TempDir(), "db"))
	d := r.draft("1.0", "lantern", "sbom.json")
	d.By = "ada"
	if err := r.approve(r.propose(d), "ada"); !errors.Is(err, fault.Denied) {
		t.Fatalf("got %v", err)
	}
}

func TestAChangedProposalLosesItsApprovals(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		r := open(t, dsn)
		d := r.draft("1.0", "lantern", "sbom.json")
		seen := r.propose(d)
		if err := r.approve(seen, "ada"); err != nil {
			t.Fatal(err)
		}
		d.Notes = "one more thing"
		changed := r.propose(d)
		if len(changed.Approvals) != 0 {
			t.Fatal("the approval of another text still stands")
		}
		if err := r.approve(seen, "boris"); !errors.Is(err, fault.Stale) {
			t.Fatalf("approving what was seen before the change: %v", err)
		}
	})
}

func TestAVersionNeverGetsAnotherContent(t *testing.T) {
	r := open(t, filepath.Join(t.TempDir(), "db"))
	r.released("1.0", "lantern", "sbom.json")
	if _, err := r.Propose(t.Context(), r.draft("1.0", "other", "sbom.json")); !errors.Is(err, fault.Conflict) {
		t.Fatalf("got %v", err)
	}
	if _, err := r.publish("1.0"); !errors.Is(err, fault.Conflict) {
		t.Fatalf("publishing again: %v", err)
	}
}

func TestTwoPublishersSayItOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		r := open(t, dsn)
		rel := r.propose(r.draft("1.0", "lantern", "sbom.json"))
		if err := errors.Join(r.approve(rel, "ada"), r.approve(rel, "boris")); err != nil {
			t.Fatal(err)
		}
		before, _ := r.DB.Next(t.Context())
		var wg sync.WaitGroup
		won := make(chan bool, 4)
		for range 4 {
			wg.Go(func() {
				_, err := r.publish("1.0")
				won <- err == nil
			})
		}
		wg.Wait()
		close(won)
		winners := 0
		for w := range won {
			if w {
				winners++
			}
		}
		if after, _ := r.DB.Next(t.Context()); winners != 1 || after != before+1 {
			t.Fatalf("%d winners, %d statements", winners, after-before)
		}
	})
}

func TestHostileFileNames(t *testing.T) {
	r := open(t, filepath.Join(t.TempDir(), "db"))
	for _, name := range []string{"", "../x", "/etc/passwd", "a/../b", "a\\b", "a\x00b", "a\nb", "a\u202eb", "x<script>", strings.Repeat("x", 600)} {
		if _, err := r.Store(t.Context(), name, strings.NewReader("x")); !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: got %v", name, err)
		}
	}
}

func TestABuildOfAnotherCommitIsRefused(t *testing.T) {
	r := open(t, filepath.Join(t.TempDir(), "db"))
	d := r.draft("1.0", "lantern", "sbom.json")
	other := source
	other.Commit = strings.Repeat("ab", 20)
	var err error
	d.Build, err = r.SayBuild(t.Context(), release.BuildRun{Source: other, Builder: "https://lantern.example/builder", Started: r.vendor.Now, Finished: r.vendor.Now, Files: d.Files[:1]}, r.vendor.Keys["bld"])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Propose(t.Context(), d); !errors.Is(err, fault.Invalid) {
		t.Fatalf("got %v", err)
	}
}

func TestReadSource(t *testing.T) {
	dir := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=t", "-c", "user.email=t@example.org"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
	}
	git("init", "-q")
	os.WriteFile(filepath.Join(dir, "a\nb"), []byte("x"), 0o644)
	os.WriteFile(filepath.Join(dir, "c"), []byte("x"), 0o644)
	git("add", ".")
	git("commit", "-qm", "first")
	src, err := release.ReadSource(t.Context(), dir, "repo", "HEAD")
	if err != nil || len(src.Commit) != 40 || len(src.Tree) != 40 || src.Files != 2 {
		t.Fatalf("%+v, %v", src, err)
	}
	for _, revision := range []string{"no-such", "--upload-pack=x", "HEAD:c"} {
		if _, err := release.ReadSource(t.Context(), dir, "repo", revision); !errors.Is(err, fault.NotFound) {
			t.Errorf("%q: got %v", revision, err)
		}
	}
}

func TestTheBillOfMaterialsFitsTheBinary(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	program := filepath.Join(t.TempDir(), "program")
	if out, err := exec.Command("go", "build", "-o", program, "clerestory.dev/clerestory/cmd/clerestory").CombinedOutput(); err != nil {
		t.Fatalf("building: %v: %s", err, out)
	}
	f, err := os.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text, err := release.MakeSBOM(f, "lantern", "1.0", time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	again, _ := release.MakeSBOM(f, "lantern", "1.0", time.Unix(0, 0))
	if !bytes.Equal(text, again) {
		t.Fatal("the same binary gave other bytes")
	}
	components, err := release.ReadSBOM(bytes.NewReader(text))
	if err != nil || len(components) < 3 {
		t.Fatalf("%d components, %v", len(components), err)
	}
	if differ, err := release.CheckSBOM(components, f); err != nil || len(differ) != 0 {
		t.Fatalf("%v, %v", differ, err)
	}
	components[1].Version = "v99.0.0"
	missing := append(components[:2:2], components[3:]...)
	missing = append(missing, release.Component{Name: "evil.example/mod", Version: "v1.0.0", PURL: "pkg:golang/evil.example/mod@v1.0.0"})
	if differ, err := release.CheckSBOM(missing, f); err != nil || len(differ) != 3 {
		t.Fatalf("one changed, one missing, one added: %q, %v", differ, err)
	}
	if _, err := release.MakeSBOM(strings.NewReader("no binary"), "x", "1", time.Unix(0, 0)); !errors.Is(err, fault.Invalid) {
		t.Fatalf("got %v", err)
	}
}

func FuzzReadSBOM(f *testing.F) {
	f.Add([]byte(`{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{"type":"library","name":"a","version":"1","purl":"pkg:golang/a@1"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) { release.ReadSBOM(bytes.NewReader(b)) })
}

func TestAReleaseWhoseRowWasLostIsRecovered(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		r := open(t, dsn)
		kept := r.released("1.0", "lantern", "lantern.cdx.json")
		if _, err := r.Revoke(t.Context(), verifytest.Product, "1.0", "it catches fire", r.vendor.Keys["rel"]); err != nil {
			t.Fatal(err)
		}
		// What a restored backup looks like after its database adopted the log.
		err := r.DB.Write(t.Context(), func(tx *store.Tx) error {
			for _, q := range []string{"DELETE FROM release_approval", "DELETE FROM release_review", "DELETE FROM release_signature", "DELETE FROM release_step", "DELETE FROM release_file", "DELETE FROM release"} {
				if _, err := tx.Exec(q); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if n, err := r.Recover(t.Context()); n != 2 || err != nil {
			t.Fatalf("recovered %d, %v", n, err)
		}
		if n, err := r.Recover(t.Context()); n != 0 || err != nil {
			t.Fatalf("the second time it changed %d, %v", n, err)
		}
		back, err := r.Show(t.Context(), verifytest.Product, "1.0")
		if err != nil || back.State != release.Revoked || back.Entry != kept.Entry || len(back.Approvals) != 2 || len(back.Files) != 2 || back.Files[0].Size != kept.Files[0].Size {
			t.Fatalf("%+v, %v", back, err)
		}
		if _, err := r.Propose(t.Context(), r.draft("1.0", "other", "sbom.json")); !errors.Is(err, fault.Conflict) {
			t.Fatalf("the version got another content: %v", err)
		}
	})
}
