package verify_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"clerestory.dev/clerestory/verify"
)

func fitsSchema(t *testing.T, file string) func(b []byte) error {
	t.Helper()
	s, err := jsonschema.NewCompiler().Compile(filepath.Join("../docs/spec", file))
	if err != nil {
		t.Fatal(err)
	}
	return func(b []byte) error {
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			return err
		}
		return s.Validate(v)
	}
}

// TestReportsAndBundlesFitTheirSchemas takes them from every vector: each report,
// and each bundle of a file that was verified.
func TestReportsAndBundlesFitTheirSchemas(t *testing.T) {
	report, bundle := fitsSchema(t, "report.schema.json"), fitsSchema(t, "bundle.schema.json")
	dirs, err := filepath.Glob(vectorDir + "/*")
	if err != nil || len(dirs) == 0 {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		var want expectation
		files := map[string][]byte{}
		for _, name := range []string{"vector.json", "trusted_root.json", "bundle.json"} {
			if files[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		if err := json.Unmarshal(files["vector.json"], &want); err != nil {
			t.Fatal(err)
		}
		r := verify.JudgeBundle(files["trusted_root.json"], files["bundle.json"], want.File, want.Now)
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := report(b); err != nil {
			t.Errorf("%s: %v\n%s", dir, err, b)
		}
		if r.Verdict == verify.Verified {
			if err := bundle(files["bundle.json"]); err != nil {
				t.Errorf("%s: %v", dir, err)
			}
		}
	}
	if bundle([]byte(`{"mediaType":"application/vnd.clerestory.bundle.v1+json","entries":[]}`)) == nil {
		t.Error("a bundle without entries fits the schema")
	}
}
