package verify_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"clerestory.dev/clerestory/verify"
	"clerestory.dev/clerestory/verify/verifytest"
)

func FuzzParseTrust(f *testing.F) {
	v := verifytest.New(f)
	f.Add(v.TrustFile())
	known := v.Trust().Fingerprint()
	f.Fuzz(func(t *testing.T, b []byte) {
		trust, err := verify.ParseTrust(b)
		if err != nil {
			if verify.CodeOf(err) != verify.CodeTrust {
				t.Errorf("code %q", verify.CodeOf(err))
			}
			return
		}
		// Only what root keys signed can be accepted, however it is spaced.
		if trust.Fingerprint() != known {
			t.Errorf("another root was believed: %q", b)
		}
	})
}

func FuzzParsePolicy(f *testing.F) {
	v := verifytest.New(f)
	f.Add([]byte(v.Policy()))
	cp := v.Checkpoint()
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := verify.ParsePolicy(b)
		if err != nil {
			return
		}
		if p.Text() != string(b) {
			t.Errorf("the policy's text changed: %q", p.Text())
		}
		if _, err := p.Open(cp); err != nil && verify.CodeOf(err) == "" {
			t.Errorf("an error without a code: %v", err)
		}
	})
}

func FuzzOpen(f *testing.F) {
	v := verifytest.New(f)
	f.Add(v.Checkpoint())
	f.Add(v.Log.Sign(v.Log.Text(3)+"extension\n", v.Seen, v.Witnesses...))
	p := v.Trust().Policy
	signed := []string{v.Log.Text(v.Log.Size()), v.Log.Text(3) + "extension\n"}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := p.Open(b)
		if err != nil {
			if verify.CodeOf(err) == "" {
				t.Errorf("an error without a code: %v", err)
			}
			return
		}
		text := string(b[:bytes.LastIndex(b, []byte("\n\n"))+1])
		if !slices.Contains(signed, text) {
			t.Errorf("a text that nobody signed: %q", text)
		}
		if c.Origin != v.Log.Origin || len(c.Cosigned) < 2 {
			t.Errorf("opened as %+v", c)
		}
	})
}

func FuzzParseProof(f *testing.F) {
	v := verifytest.New(f)
	f.Add(v.Log.Prove(3, 6, v.Checkpoint()))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := verify.ParseProof(b)
		if err != nil {
			if verify.CodeOf(err) != verify.CodeProof {
				t.Errorf("code %q", verify.CodeOf(err))
			}
			return
		}
		// Extra data is the one thing that is read over.
		want := string(b)
		if header, rest, _ := strings.Cut(want, "\n"); strings.HasPrefix(rest, "extra ") {
			_, rest, _ = strings.Cut(rest, "\n")
			want = header + "\n" + rest
		}
		if string(p.Format()) != want {
			t.Errorf("accepted %q, which is written %q", want, p.Format())
		}
	})
}

func FuzzParseBundle(f *testing.F) {
	v := verifytest.New(f)
	r := v.Release(verifytest.Plan{Files: manyFiles()})
	b := v.Bundle(r.Release)
	b.Member = member(r)
	b.Roots = []string{"{}"}
	f.Add(format(b))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := verify.ParseBundle(raw)
		if err != nil {
			if verify.CodeOf(err) != verify.CodeBundle {
				t.Errorf("code %q", verify.CodeOf(err))
			}
			return
		}
		once := format(b)
		if len(once) > verify.Limits.Bundle {
			return
		}
		again, err := verify.ParseBundle(once)
		if err != nil || !bytes.Equal(format(again), once) {
			t.Errorf("a bundle changes when it is written: %v", err)
		}
	})
}

func FuzzJudgeBundle(f *testing.F) {
	v := verifytest.New(f)
	r := v.Release(verifytest.Plan{})
	b := v.Bundle(0, 1, 3, 4, 5, r.Source, r.Build, r.Release)
	f.Add(v.TrustFile(), format(b), verifytest.SHA256("the program"))
	trust := v.Trust().Fingerprint()
	f.Fuzz(func(t *testing.T, root, bundle []byte, sum string) {
		a := verify.Artifact{Name: "lantern", SHA256: sum}
		got := verify.JudgeBundle(root, bundle, a, v.Now)
		switch got.Verdict {
		case verify.Verified:
			known := sum == verifytest.SHA256("the program") || sum == verifytest.SHA256("the package") || sum == verifytest.SHA256("")
			if !known || got.Trust.Fingerprint != trust {
				t.Errorf("verified %q under %s", sum, got.Trust.Fingerprint)
			}
		case verify.Refused:
			if got.Code == "" {
				t.Errorf("refused without a code: %s", got.Reason)
			}
		case verify.Unchecked:
		default:
			t.Errorf("verdict %q", got.Verdict)
		}
	})
}
