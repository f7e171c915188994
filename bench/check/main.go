// Command check measures what a stranger pays: clerestory verify of a large file
// against sha256sum of it, and bundles judged per second against the bare
// signature and Merkle checks of golang.org/x/mod on the same proofs.
//
//	go run ./bench/check        (needs hyperfine and sha256sum)
package main

import (
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"clerestory.dev/clerestory/bench/kit"
	"clerestory.dev/clerestory/verify"
	"clerestory.dev/clerestory/verify/verifytest"
)

var (
	rounds = flag.Int("rounds", 5, "rounds of each measurement")
	mb     = flag.Int("mb", 100, "size of the file")
	many   = flag.Int("n", 300, "bundles per round")
)

// tb lets verifytest, made for tests, end this program when it can not go on.
type tb struct{ testing.TB }

func (tb) Helper()           {}
func (tb) Fatal(args ...any) { kit.Must(fmt.Errorf("%s", fmt.Sprint(args...))) }

func main() {
	flag.Parse()
	dir, err := os.MkdirTemp(kit.Cache(), "check-")
	kit.Must(err)
	defer os.RemoveAll(dir)
	content := make([]byte, *mb<<20)
	for i := 0; i < len(content); i += 32 {
		sum := sha256.Sum256(fmt.Append(nil, i))
		copy(content[i:], sum[:])
	}
	v := verifytest.New(tb{})
	v.Root.Expires = time.Now().UTC().Truncate(time.Second).AddDate(1, 0, 0)
	files := verifytest.Files()
	files["big.img"] = string(content)
	v.Release(verifytest.Plan{Files: files})
	bundle, err := v.Bundle().Format()
	kit.Must(err)
	trust := v.TrustFile()
	file := filepath.Join(dir, "big.img")
	kit.Must(os.WriteFile(file, content, 0o644))
	kit.Must(os.WriteFile(file+".clerestory", bundle, 0o644))
	kit.Must(os.WriteFile(filepath.Join(dir, "trust.json"), trust, 0o644))
	a := verifytest.Artifact("big.img", string(content))
	judged(v, trust, bundle, a)
	whole(dir, file)
}

func judged(v *verifytest.Vendor, trust, bundle []byte, a verify.Artifact) {
	var b verify.Bundle
	kit.Must(json.Unmarshal(bundle, &b))
	logKey, err := note.NewVerifier(v.Log.VKey())
	kit.Must(err)
	if r := verify.JudgeBundle(trust, bundle, a, time.Now()); r.Verdict != verify.Verified {
		kit.Must(fmt.Errorf("the bundle is not verified: %s", r.Reason))
	}
	var ours, theirs []float64
	for range *rounds {
		begun := time.Now()
		for range *many {
			verify.JudgeBundle(trust, bundle, a, time.Now())
		}
		ours = append(ours, float64(*many)/time.Since(begun).Seconds())
		begun = time.Now()
		for range *many {
			kit.Must(bare(&b, logKey))
		}
		theirs = append(theirs, float64(*many)/time.Since(begun).Seconds())
	}
	o, t, n := kit.Median(ours), kit.Median(theirs), float64(len(b.Entries))
	fmt.Printf("bundle    of %.0f entries, %d bytes: ours %.0f/s (%.0f proofs/s), x/mod %.0f/s (%.0f proofs/s), ratio %.2f\n", n, len(bundle), o, o*n, t, t*n, o/t)
}

// bare opens every proof's checkpoint with the log's key and checks its record:
// no witnesses, no statement's signature, no rule.
func bare(b *verify.Bundle, key note.Verifier) error {
	for _, e := range b.Entries {
		p, err := verify.ParseProof([]byte(e.Proof))
		if err != nil {
			return err
		}
		n, err := note.Open(p.Checkpoint, note.VerifierList(key))
		if err != nil {
			return err
		}
		t, err := parseTree(n.Text)
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(p.Hashes, t.N, t.Hash, p.Index, tlog.RecordHash([]byte(e.Envelope))); err != nil {
			return err
		}
	}
	return nil
}

func parseTree(text string) (t tlog.Tree, err error) {
	var origin, root string
	if _, err = fmt.Sscanf(text, "%s\n%d\n%s\n", &origin, &t.N, &root); err == nil {
		t.Hash, err = tlog.ParseHash(root)
	}
	return t, err
}

func whole(dir, file string) {
	program := filepath.Join(dir, "clerestory")
	build := exec.Command("go", "build", "-o", program, "./cmd/clerestory")
	build.Env, build.Stderr = append(os.Environ(), "CGO_ENABLED=0"), os.Stderr
	kit.Must(build.Run())
	var ours, theirs []float64
	for range *rounds { // in turns, so that a busy machine is busy for both
		o := timed(dir, program+" verify "+file+" --trust "+filepath.Join(dir, "trust.json"))
		t := timed(dir, "sha256sum "+file)
		ours, theirs = append(ours, o), append(theirs, t)
	}
	o, t := kit.Median(ours), kit.Median(theirs)
	fmt.Printf("verify    of %d MB: ours %.0f ms, sha256sum %.0f ms, ratio %.2f\n", *mb, o*1000, t*1000, o/t)
}

// timed is the median time of a command, in seconds.
func timed(dir, command string) float64 {
	out := filepath.Join(dir, "time.json")
	cmd := exec.Command("hyperfine", "-N", "--warmup", "1", "--runs", "3", "--export-json", out, command)
	cmd.Stderr = os.Stderr
	kit.Must(cmd.Run())
	raw, err := os.ReadFile(out)
	kit.Must(err)
	var found struct{ Results []struct{ Median float64 } }
	kit.Must(json.Unmarshal(raw, &found))
	return found.Results[0].Median
}
