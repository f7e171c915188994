package release_test

import (
	"bytes"
	"encoding/csv"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/base/store/storetest"
	"clerestory.dev/clerestory/internal/office/release"
	"clerestory.dev/clerestory/verify"
	"clerestory.dev/clerestory/verify/verifytest"
)

func (r *room) period(sample int) release.Period {
	return release.Period{From: r.vendor.Now.Add(-time.Hour), To: r.vendor.Now.Add(time.Hour), Sample: sample}
}

func TestEvidenceHoldsTheWholePopulationAndASampleThatNobodyPicks(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		ctx, r := t.Context(), open(t, dsn)
		for _, v := range []string{"1.0", "1.1", "1.2"} {
			r.released(v, "lantern", "sbom.json")
		}
		r.propose(r.draft("1.3", "lantern", "sbom.json"))
		if _, err := r.Revoke(ctx, verifytest.Product, "1.1", "it catches fire", r.vendor.Keys["rel"]); err != nil {
			t.Fatal(err)
		}
		e, err := r.Evidence(ctx, r.period(2))
		if err != nil {
			t.Fatal(err)
		}
		again, err := r.Evidence(ctx, r.period(2))
		if err != nil || len(e.Releases) != 4 || len(e.Sample) != 2 || len(e.Failures()) != 0 || e.Sample[0].Folder != again.Sample[0].Folder {
			t.Fatalf("%d releases, %d sampled, %q, %v", len(e.Releases), len(e.Sample), e.Failures(), err)
		}
		if n, _ := r.DB.Next(ctx); int64(len(e.Changes)) != n {
			t.Errorf("%d statements of %d", len(e.Changes), n)
		}
		all, err := r.Evidence(ctx, r.period(500))
		if err != nil || len(all.Sample) != 3 || len(all.Failures()) != 0 {
			t.Fatalf("%d sampled, %q, %v", len(all.Sample), all.Failures(), err)
		}
		dir := filepath.Join(t.TempDir(), "evidence")
		if err := all.Write(dir); err != nil {
			t.Fatal(err)
		}
		// A stranger checks the folder with sha256sum and the bundles with verify.
		cmd := exec.Command("sha256sum", "--quiet", "-c", "SHA256SUMS")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("sha256sum: %s", out)
		}
		root, err := os.ReadFile(filepath.Join(dir, "roots/1.root.json"))
		if err != nil {
			t.Fatal(err)
		}
		bundle, err := os.ReadFile(filepath.Join(dir, "sample/lantern/1.2/1.clerestory"))
		if err != nil {
			t.Fatal(err)
		}
		f := r.show("1.2").Files[0]
		if rep := verify.JudgeBundle(root, bundle, verify.Artifact{Name: f.Name, SHA256: f.SHA256}, r.vendor.Now); rep.Verdict != verify.Verified {
			t.Errorf("the sample's bundle: %s", rep.Reason)
		}
		list, err := os.ReadFile(filepath.Join(dir, "population/releases.csv"))
		if err != nil {
			t.Fatal(err)
		}
		if rows, err := csv.NewReader(bytes.NewReader(list)).ReadAll(); err != nil || len(rows) != 5 {
			t.Errorf("%d rows, %v", len(rows), err)
		}
		if err := all.Write(dir); !errors.Is(err, fault.Conflict) {
			t.Errorf("written over what is there: %v", err)
		}
	})
}

// TestEvidenceTellsWhatWasTampered: the table is not what the log says.
func TestEvidenceTellsWhatWasTampered(t *testing.T) {
	r := open(t, filepath.Join(t.TempDir(), "db"))
	r.released("1.0", "lantern", "sbom.json")
	err := r.DB.Write(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec("UPDATE release SET proposed_by = 'ada'")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	e, err := r.Evidence(t.Context(), r.period(5))
	if err != nil || len(e.Failures()) != 1 || !strings.Contains(e.Failures()[0], "author is not among") {
		t.Fatalf("%q, %v", e.Failures(), err)
	}
}

// TestHostileTextInEvidence: notes and reasons come from anybody.
func TestHostileTextInEvidence(t *testing.T) {
	r := strict(t, filepath.Join(t.TempDir(), "db"))
	hostile := `</p><script>alert(1)</script><img src=x onerror=alert(2)>`
	d := r.draft("1.0", "lantern", "sbom.json")
	d.Notes, d.Emergency = hostile, hostile
	rel := r.propose(d)
	r.tested("replay-clean", "PASSED", rel.Files[0].SHA256)
	for _, who := range []string{"fay", "chidi"} {
		if err := r.approve(rel, who); err != nil {
			t.Fatal(err)
		}
	}
	for _, k := range []string{"rel", "rel2"} {
		if _, err := r.Sign(t.Context(), verifytest.Product, "1.0", r.vendor.Keys[k]); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Log(t.Context(), verifytest.Product, "1.0"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Revoke(t.Context(), verifytest.Product, "1.0", `=HYPERLINK("https://evil.example")`+hostile, r.vendor.Keys["rel"]); err != nil {
		t.Fatal(err)
	}
	e, err := r.Evidence(t.Context(), r.period(5))
	if err != nil || len(e.Failures()) != 0 {
		t.Fatalf("%q, %v", e.Failures(), err)
	}
	page, err := e.HTML()
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"<script", "<img", "onerror=alert(2)>", "http://", "src="} {
		if bytes.Contains(bytes.ReplaceAll(page, []byte("src=x onerror=alert(2)&gt;"), nil), []byte(bad)) {
			t.Errorf("the page holds %q", bad)
		}
	}
	if !bytes.Contains(page, []byte("&lt;script&gt;")) || !bytes.Contains(page, []byte("Emergency:")) {
		t.Error("the page does not show the notes")
	}
	dir := t.TempDir()
	if err := e.Write(dir); err != nil {
		t.Fatal(err)
	}
	steps, err := os.ReadFile(filepath.Join(dir, "population/steps.csv"))
	if err != nil || !bytes.Contains(steps, []byte(`'=HYPERLINK`)) {
		t.Errorf("a formula stands in the list: %s, %v", steps, err)
	}
}
