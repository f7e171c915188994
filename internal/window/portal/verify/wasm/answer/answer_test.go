package answer_test

import (
	"encoding/json"
	"strings"
	"testing"

	"clerestory.dev/clerestory/internal/window/portal/verify/wasm/answer"
	"clerestory.dev/clerestory/verify/verifytest"
)

func compare(t *testing.T, trust, ours, theirs []byte, witness, proof string) (c answer.Compared, failed string) {
	t.Helper()
	text := answer.Compare(string(trust), string(ours), string(theirs), witness, proof)
	var f answer.Failure
	if json.Unmarshal([]byte(text), &c) != nil || json.Unmarshal([]byte(text), &f) != nil {
		t.Fatalf("no JSON: %s", text)
	}
	return c, f.Error
}

func TestAWitnessCopyIsComparedAndNeverTakenOnTrust(t *testing.T) {
	v := verifytest.New(t)
	trust, w := v.TrustFile(), v.Witnesses
	older := v.Log.Sign(v.Log.Text(3), v.Seen, w[2])
	ours := v.Checkpoint()
	var lines []string
	for _, h := range v.Log.Growth(3, v.Log.Size()) {
		lines = append(lines, h.String())
	}
	proof := strings.Join(lines, "\n") + "\n"
	name := w[2].Name

	if c, _ := compare(t, trust, ours, older, name, ""); c.Relation != answer.Behind || c.Proven || !c.Cosigned {
		t.Errorf("without a proof: %+v", c)
	}
	if c, _ := compare(t, trust, ours, older, name, proof); c.Relation != answer.Behind || !c.Proven {
		t.Errorf("with a proof: %+v", c)
	}
	// A state of another history, with the honest proof.
	other := verifytest.NewLog(t, v.Log.Origin)
	for range 3 {
		other.Add([]byte("another history"))
	}
	if c, _ := compare(t, trust, ours, other.Sign(other.Text(3), v.Seen, w[2]), name, proof); c.Relation != answer.Fork || c.Proven {
		t.Errorf("a fork: %+v", c)
	}
	// The log's signature without the witness's is evidence, but not the witness's.
	if c, _ := compare(t, trust, ours, v.Log.Sign(v.Log.Text(v.Log.Size()), v.Seen), name, ""); c.Relation != answer.Same || c.Cosigned {
		t.Errorf("without its cosignature: %+v", c)
	}
	impostor := verifytest.NewLog(t, v.Log.Origin)
	impostor.Key = verifytest.NewKey("impostor")
	impostor.Add([]byte("x"))
	for label, theirs := range map[string][]byte{"unsigned": []byte(v.Log.Text(3)), "another key": impostor.Sign(impostor.Text(1), v.Seen, w[2]), "empty": nil} {
		if c, failed := compare(t, trust, ours, theirs, name, ""); failed == "" || c.Relation != "" {
			t.Errorf("%s: %+v", label, c)
		}
	}
	if _, failed := compare(t, trust, older, ours, name, ""); failed == "" {
		t.Error("our own state was believed without a quorum")
	}
}

// FuzzHostileInputGetsAnAnswer feeds every function what a server could send:
// the answer is JSON, and a file with no bytes of a release is never verified.
func FuzzHostileInputGetsAnAnswer(f *testing.F) {
	v := verifytest.New(f)
	v.Release(verifytest.Plan{})
	bundle, err := v.Bundle().Format()
	if err != nil {
		f.Fatal(err)
	}
	trust := string(v.TrustFile())
	f.Add(trust, string(bundle), string(v.Checkpoint()))
	f.Add("", "", "")
	f.Add(trust, "{}", "\n\n\n")
	f.Fuzz(func(t *testing.T, trust, bundle, checkpoint string) {
		file := verifytest.Artifact("stranger", "bytes that nobody released")
		for _, text := range []string{
			answer.Judge(trust, bundle, file, v.Now), answer.Trust(trust, v.Now), answer.Checkpoint(trust, checkpoint),
			answer.Compare(trust, checkpoint, checkpoint, "witness1.example", checkpoint), answer.Compare(trust, checkpoint, checkpoint, "", ""),
		} {
			if !json.Valid([]byte(text)) || strings.Contains(text, `"verdict":"verified"`) {
				t.Fatalf("got %s", text)
			}
		}
	})
}
