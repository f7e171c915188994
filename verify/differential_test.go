package verify_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
	"clerestory.dev/clerestory/verify/verifytest"
)

// tokens are what two readers may take differently.
var tokens = []string{
	"null", "0", "-", "-1", "1e3", "1.0", "9007199254740992", " ", "\n", "\t", "\r", "\x00", "\x7f", "\u0085", "\u00a0", "\u212a", "\u017f", "\u202e", "\ufeff",
	`\ud800`, `\u0041`, `\n`, `"x":1,`, `"x":{"a":null},`, "{}", "[]", "[", "}", ",", ":", `"`, "=", "+", "#", "— ", "\n\n", "A", "é", "\xff", "*", "/", "..", "Z", "quorum none\n",
}

// damage changes b in one or two places.
func damage(r *rand.Rand, b []byte) []byte {
	for range 1 + r.IntN(2) {
		i := r.IntN(len(b))
		j := min(len(b), i+1+r.IntN(12))
		part := append([]byte{}, b[i:j]...)
		token := []byte(tokens[r.IntN(len(tokens))])
		head, tail := append([]byte{}, b[:i]...), append([]byte{}, b[i:]...)
		switch r.IntN(5) {
		case 0: // put in
			b = append(append(head, token...), tail...)
		case 1: // put in the place of one byte
			b = append(append(head, token...), tail[1:]...)
		case 2: // take out
			b = append(head, b[j:]...)
		case 3: // twice
			b = append(append(head, part...), tail...)
		case 4: // another case, or another digit
			head = append(head, tail[0]^0x20)
			b = append(head, tail[1:]...)
		}
		if len(b) == 0 {
			return []byte("x")
		}
	}
	return b
}

// payloads are the statements of a vendor, one of each kind.
func payloads(v *verifytest.Vendor) [][]byte {
	r := v.Release(verifytest.Plan{})
	v.Revoke(r.Release, "release", "torch", v.Keys["rel"])
	v.Say([]statement.Subject{{Name: "programme:w", Digest: map[string]string{"sha256": verifytest.SHA256("x")}}},
		&statement.Programme{Vendor: "w", Name: "W", Files: map[string]string{"a": verifytest.SHA256("y")}, At: verifytest.At})
	var out [][]byte
	for _, raw := range v.Log.Entries[5:] {
		var e statement.Envelope
		if err := json.Unmarshal(raw, &e); err != nil {
			panic(err)
		}
		out = append(out, e.Payload)
	}
	return out
}

// damaged makes an input that is damaged at one level, and signed above it.
func damaged(t *testing.T, r *rand.Rand) input {
	v := verifytest.New(t)
	switch level := r.IntN(8); level {
	case 0, 1: // the files themselves
		i := released(v)
		if level == 0 {
			i.trust = damage(r, i.trust)
		} else {
			i.bundle = damage(r, i.bundle)
		}
		return i
	case 2, 3: // a statement, then signed and logged
		list := payloads(verifytest.New(t))
		v.Log.Add(v.Envelope(damage(r, list[r.IntN(len(list))]), v.RootKeys[:2]...))
	case 4: // an envelope, then logged
		v.Log.Add(damage(r, v.Envelope(payloads(verifytest.New(t))[0], v.RootKeys[:2]...)))
	case 5: // a checkpoint's text, then signed, or its signatures
		v.Release(verifytest.Plan{})
		text := v.Log.Text(v.Log.Size())
		cp := v.Log.Sign(text, v.Seen, v.Witnesses...)
		if broken := damage(r, []byte(text)); r.IntN(3) == 0 && broken[len(broken)-1] == '\n' {
			cp = v.Log.Sign(string(broken), v.Seen, v.Witnesses...)
		} else {
			cp = damage(r, cp)
		}
		return in(v, v.BundleUnder(cp))
	case 6: // the policy, then signed
		i := released(v)
		v.Root.Clerestory.Policy = string(damage(r, []byte(v.Root.Clerestory.Policy)))
		i.trust = v.TrustFile()
		return i
	case 7: // the root's signed part, then signed
		i := released(v)
		signed, err := json.Marshal(v.Root)
		if err != nil {
			t.Fatal(err)
		}
		signed = damage(r, signed)
		text, err := verify.SignedText(signed)
		if err != nil {
			return i
		}
		sigs := ""
		for n, k := range v.RootKeys[:2] {
			sig, _ := k.Sign(text)
			sigs += fmt.Sprintf(`%s{"keyid":"%s","sig":"%x"}`, ","[:min(n, 1)], k.KeyID(), sig)
		}
		i.trust = fmt.Appendf(nil, `{"signatures":[%s],"signed":%s}`, sigs, signed)
		return i
	}
	return released(v)
}

// TestAnotherVerifierAgreesOnDamagedInput lets both judge the same damage; the
// verdicts of this one are what the other must come to.
func TestAnotherVerifierAgreesOnDamagedInput(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed; install Node 18 or later to compare with the second verifier")
	}
	rounds := 120
	if n, err := strconv.Atoi(os.Getenv("CLERESTORY_DIFFERENTIAL_ROUNDS")); err == nil {
		rounds = n
	}
	r, dir := rand.New(rand.NewPCG(uint64(rounds), 2)), t.TempDir()
	verdicts := map[string]int{}
	for n := range rounds {
		i := damaged(t, r)
		want, _ := expect(attack{about: "damaged"}, i)
		verdicts[want.Verdict+" "+want.Code]++
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		sub := filepath.Join(dir, fmt.Sprintf("%06d", n))
		if err := os.Mkdir(sub, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, b := range map[string][]byte{"vector.json": text, "trusted_root.json": i.trust, "bundle.json": i.bundle} {
			if err := os.WriteFile(filepath.Join(sub, name), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%v", verdicts)
	if out, err := exec.CommandContext(t.Context(), node, "../testdata/node-verifier/verify.mjs", "--vectors", dir).CombinedOutput(); err != nil {
		t.Errorf("the second verifier disagrees: %v", err)
		for line := range strings.Lines(string(out)) {
			if !strings.HasPrefix(line, "agree") {
				t.Log(line)
			}
		}
		if keep := os.Getenv("CLERESTORY_DIFFERENTIAL_KEEP"); keep != "" {
			if err := os.CopyFS(keep, os.DirFS(dir)); err != nil {
				t.Log(err)
			}
		}
	}
}
