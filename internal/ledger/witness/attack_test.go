package witness

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func TestHonestLogIsCosignedAsItGrows(t *testing.T) {
	l := newLog(t, "log.example")
	l.grow(70, "entry")
	s := open(t, testConfig(t, l))
	last := int64(0)
	for _, size := range []int64{0, 1, 2, 3, 8, 8, 13, 64, 65, 70, 70} {
		s.cosigned(l, last, size)
		last = size
	}
}

func TestExtensionLinesAreCosignedToo(t *testing.T) {
	l := newLog(t, "log.example")
	l.grow(3, "entry")
	s := open(t, testConfig(t, l))
	cp := l.sign(l.text(l.origin, 3, l.root(3)) + "an extension\n")
	r := s.post(request{note: cp}.format())
	if r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	checkCosigned(t, s.w.key, append(cp, r.body...), now)
}

// The answer to the first attempt was lost: the log is told where to go on, and
// gets its cosignature.
func TestSameRequestTwice(t *testing.T) {
	l := newLog(t, "log.example")
	l.grow(9, "entry")
	s := open(t, testConfig(t, l))
	s.cosigned(l, 0, 5)
	s.refused(l.request(0, 5), 409, "5\n")
	s.cosigned(l, 5, 5)
	s.cosigned(l, 5, 9)
	s.refused(l.request(5, 9), 409, "9\n")
	s.cosigned(l, 9, 9)
}

func TestForkAtTheSameSize(t *testing.T) {
	l := newLog(t, "log.example")
	l.grow(5, "entry")
	evil := l.fork()
	l.grow(3, "entry")
	evil.grow(3, "lie")
	c := testConfig(t, l)
	s := open(t, c)
	s.cosigned(l, 0, 8)
	s.refused(evil.request(8, 8), 422, "different tree of the same size")

	kept, err := os.ReadFile(filepath.Join(c.Dir, forkName(idOf(l.origin))))
	if err != nil {
		t.Fatal(err)
	}
	verifier, _ := note.NewVerifier(l.vkey)
	first, second, ok := bytes.Cut(kept, []byte("\n\n"+l.origin+"\n"))
	second = append([]byte(l.origin+"\n"), second...)
	for _, n := range [][]byte{append(first, '\n'), second} {
		if _, err := note.Open(n, note.VerifierList(verifier)); err != nil || !ok {
			t.Errorf("the kept proof does not verify: %v\n%s", err, n)
		}
	}
	if page := s.get("/"); !strings.Contains(page.body, "FORK") {
		t.Errorf("the page is silent about the fork:\n%s", page.body)
	}
	s.cosigned(l, 8, 8) // the first history stays the only one
}

func TestForkWithALargerTree(t *testing.T) {
	l := newLog(t, "log.example")
	l.grow(5, "entry")
	evil := l.fork()
	l.grow(3, "entry")
	evil.grow(9, "lie")
	s := open(t, testConfig(t, l))
	s.cosigned(l, 0, 8)
	s.refused(evil.request(8, 14), 422, "proof does not hold")
	s.refused(evil.request(0, 14), 409, "8\n")
	s.refused(request{8, nil, evil.checkpoint(14)}.format(), 422, "proof")
	s.refused(request{8, evil.proof(5, 14), evil.checkpoint(14)}.format(), 422, "proof")
}

func TestShrink(t *testing.T) {
	l := newLog(t, "log.example")
	l.grow(8, "entry")
	s := open(t, testConfig(t, l))
	s.cosigned(l, 0, 8)
	s.refused(l.request(0, 5), 409, "8\n")
	s.refused(l.request(5, 5), 409, "8\n")
	s.refused(request{8, nil, l.checkpoint(5)}.format(), 400, "old size")
	s.refused(l.request(0, 0), 409, "8\n")
}

func TestRollbackAfterRestart(t *testing.T) {
	l := newLog(t, "log.example")
	l.grow(5, "entry")
	evil := l.fork()
	l.grow(3, "entry")
	evil.grow(3, "lie")
	c := testConfig(t, l)
	s := open(t, c)
	s.cosigned(l, 0, 8)
	s.refused(evil.request(8, 8), 422, "")
	s.close()

	s = open(t, c)
	s.refused(l.request(0, 5), 409, "8\n")
	s.refused(evil.request(0, 8), 409, "8\n")
	s.refused(evil.request(8, 8), 422, "different tree")
	if page := s.get("/"); !strings.Contains(page.body, "FORK") {
		t.Errorf("the restart forgot the fork:\n%s", page.body)
	}
	s.cosigned(l, 8, 8)
}

func TestFalseEmptyTree(t *testing.T) {
	l := newLog(t, "log.example")
	l.grow(1, "entry")
	s := open(t, testConfig(t, l))
	s.refused(request{note: l.sign(l.text(l.origin, 0, tlog.Hash{}))}.format(), 422, "empty")
	s.refused(request{proof: tlog.TreeProof{{1}}, note: l.checkpoint(1)}.format(), 422, "proof")
	s.cosigned(l, 0, 0)
	s.cosigned(l, 0, 1)
}

func TestForeignCheckpoints(t *testing.T) {
	ours, other, stranger := newLog(t, "log.example"), newLog(t, "other.example"), newLog(t, "stranger.example")
	thief := newLog(t, "log.example") // its own key under our log's name
	for _, l := range []*aLog{ours, other, stranger, thief} {
		l.grow(4, "entry")
	}
	s := open(t, testConfig(t, ours, other))
	s.refused(stranger.request(0, 4), 404, "does not know")
	s.refused(thief.request(0, 4), 403, "no signature")
	// A log that the witness knows signs for the origin of another.
	s.refused(request{note: other.sign(other.text(ours.origin, 4, other.root(4)))}.format(), 403, "no signature")
	s.refused(request{note: ours.sign(ours.text(other.origin, 4, ours.root(4)))}.format(), 403, "no signature")
	s.refused(request{note: ours.sign(ours.text("", 4, ours.root(4)))}.format(), 400, "")

	changed := bytes.Replace(ours.request(0, 4), []byte("\n4\n"), []byte("\n3\n"), 1)
	s.refused(changed, 403, "does not fit")
	s.cosigned(ours, 0, 4)
}

// Signatures of strangers neither help nor hurt, and are not handed on.
func TestStrangersSignaturesAreDropped(t *testing.T) {
	l, stranger := newLog(t, "log.example"), newLog(t, "stranger.example")
	l.grow(2, "entry")
	s := open(t, testConfig(t, l))
	both, err := note.Sign(&note.Note{Text: l.text(l.origin, 2, l.root(2))}, l.signer, stranger.signer)
	if err != nil {
		t.Fatal(err)
	}
	if r := s.post(request{note: both}.format()); r.status != 200 || strings.Contains(r.body, "stranger") {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if r := s.get("/checkpoint/" + idOf(l.origin)); strings.Contains(r.body, "stranger") {
		t.Errorf("kept: %s", r.body)
	}
}

func TestMalformedRequests(t *testing.T) {
	l := newLog(t, "log.example")
	l.grow(9, "entry")
	s := open(t, testConfig(t, l))
	cp := string(l.checkpoint(9))
	hash := "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
	for name, body := range map[string]string{
		"empty":               "",
		"no size":             "\n" + cp,
		"size without number": "old \n\n" + cp,
		"leading zero":        "old 00\n\n" + cp,
		"plus sign":           "old +0\n\n" + cp,
		"negative":            "old -1\n\n" + cp,
		"beyond int64":        "old 9223372036854775808\n\n" + cp,
		"beyond the cap":      "old 4611686018427387905\n\n" + cp,
		"carriage return":     "old 0\r\n\r\n" + cp,
		"no empty line":       "old 0\n" + cp,
		"no checkpoint":       "old 0\n\n",
		"short hash":          "old 0\nAAAA\n\n" + cp,
		"loose base64":        "old 0\n" + strings.Replace(hash, "2I=", "2J=", 1) + "\n" + cp,
		"64 hashes":           "old 0\n" + strings.Repeat(hash, 64) + "\n" + cp,
		"unsigned text":       "old 0\n\n" + l.text(l.origin, 9, l.root(9)),
		"cut":                 "old 0\n\n" + cp[:len(cp)-1],
		"size 09":             "old 0\n\n" + strings.Replace(cp, "\n9\n", "\n09\n", 1),
		"control character":   "old 0\n\n" + strings.Replace(cp, "— log", "\x01— log", 1),
		"too large":           "old 0\n\n" + cp + strings.Repeat("— a b\n", 20_000),
	} {
		t.Run(name, func(t *testing.T) { (&station{t, s.w, s.srv}).refused([]byte(body), 400, "") })
	}
	s.cosigned(l, 0, 9)
}

// Above 2^62 the proof arithmetic would never come back.
func TestGiantTreeDoesNotHangTheWitness(t *testing.T) {
	l := newLog(t, "log.example")
	l.grow(3, "entry")
	s := open(t, testConfig(t, l))
	s.cosigned(l, 0, 3)
	giant := l.sign(l.text(l.origin, 1<<62, tlog.Hash{1}))
	s.refused(request{3, make(tlog.TreeProof, 63), giant}.format(), 422, "proof")
	larger := l.sign(l.text(l.origin, 1<<62+1, tlog.Hash{1}))
	s.refused(request{3, make(tlog.TreeProof, 63), larger}.format(), 400, "larger")
}

// Two histories race: whichever comes first, only one is ever cosigned.
func TestConcurrentAddsNeverContradict(t *testing.T) {
	l := newLog(t, "log.example")
	l.grow(4, "entry")
	evil := l.fork()
	l.grow(12, "entry")
	evil.grow(12, "lie")
	s := open(t, testConfig(t, l))
	s.cosigned(l, 0, 4)

	var mu sync.Mutex
	var wg sync.WaitGroup
	roots := map[string]bool{}
	for i := range 24 {
		side := []*aLog{l, evil}[i%2]
		body := side.request(4, 5+int64(i)/2%12)
		wg.Go(func() {
			resp, err := http.Post(s.srv.URL+"/add-checkpoint", "", bytes.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
			if resp.StatusCode == 200 {
				mu.Lock()
				roots[fmt.Sprintf("%p", side)] = true
				mu.Unlock()
			} else if resp.StatusCode != 409 {
				t.Errorf("status %d", resp.StatusCode)
			}
		})
	}
	wg.Wait()
	if len(roots) != 1 {
		t.Errorf("%d histories were cosigned", len(roots))
	}
}
