package portal_test

import (
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// TestAnybodyGetsTheProofThatTheLogGrew: it convinces whoever has both roots, and
// what the published log does not cover is refused.
func TestAnybodyGetsTheProofThatTheLogGrew(t *testing.T) {
	s := newSite(t)
	v := s.visitor()
	res := v.get("/growth/2/5")
	if res.status != 200 {
		t.Fatalf("status %d: %s", res.status, res.body)
	}
	var proof tlog.TreeProof
	for line := range strings.Lines(res.body) {
		h, err := tlog.ParseHash(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		proof = append(proof, h)
	}
	if want := s.vendor.Log.Growth(2, 5); len(proof) != len(want) || proof[0] != want[0] {
		t.Errorf("the proof has %d hashes; want %d", len(proof), len(want))
	}
	for path, want := range map[string]int{"/growth/5/2": 404, "/growth/2/2": 404, "/growth/0/2": 404, "/growth/2/1000000": 404, "/growth/-1/2": 404, "/growth/x/2": 400, "/growth/2/99999999999999999999": 400} {
		if res := v.get(path); res.status != want {
			t.Errorf("%s: status %d, want %d", path, res.status, want)
		}
	}
}
