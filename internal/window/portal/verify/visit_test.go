package verify_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"clerestory.dev/clerestory/verify/verifytest"
)

const program = "the program"

// TestAVisitorVerifiesAFile walks through what a visitor may come with, in one
// browser: what is right is verified, and nothing else is.
func TestAVisitorVerifiesAFile(t *testing.T) {
	s := newSite(t)
	released := s.vendor.Release(verifytest.Plan{Files: map[string]string{"linux/lantern": program, "lantern.deb": "the package"}})
	s.publish(program)
	b := s.open(t)
	t.Logf("the verifier was ready %s ms after its worker started", eval[string](b, "document.documentElement.dataset.verifierReady"))
	if got, want := eval[string](b, `document.querySelector("#fingerprint").textContent`), s.vendor.Trust().Fingerprint(); got != want {
		t.Errorf("the page shows the fingerprint %s; want %s", got, want)
	}
	good := write(t, "lantern", program)

	t.Run("good file", func(t *testing.T) {
		began := time.Now()
		b.give(good)
		v := b.verdict(true)
		t.Logf("verdict and comparison after %v", time.Since(began).Round(time.Millisecond))
		if v.Verdict != "verified" || v.Word != "Verified" || !strings.Contains(v.Reason, "lantern 1.2.0") {
			t.Fatalf("got %+v", v)
		}
		for _, want := range []string{"ada and boris", verifytest.Commit, verifytest.SHA256(program), s.vendor.Trust().Fingerprint(), "not-revoked", "came from this site"} {
			if !strings.Contains(v.Text, want) {
				t.Errorf("the result does not say %q:\n%s", want, v.Text)
			}
		}
		want := map[string]string{"The log now": "Agrees", "Witness witness1.example": "Agrees", "Witness witness2.example": "Agrees", "Witness witness3.example": "Agrees"}
		if !maps.Equal(v.Copies, want) {
			t.Errorf("the witnesses: %v", v.Copies)
		}
	})
	t.Run("one byte flipped", func(t *testing.T) {
		b.give(write(t, "lantern", "The program"))
		if v := b.verdict(true); v.Verdict != "unknown" || v.Word != "Not known" || !strings.Contains(v.Text, "server’s word") {
			t.Fatalf("got %+v", v)
		}
	})
	t.Run("one byte flipped, with the good file's bundle", func(t *testing.T) {
		b.give(write(t, "lantern", "The program"), write(t, "lantern.clerestory", s.bundles[verifytest.SHA256(program)]))
		if v := b.verdict(true); v.Verdict != "refused" || v.Code != "not-released" {
			t.Fatalf("got %+v", v)
		}
	})
	t.Run("unknown file with a hostile name", func(t *testing.T) {
		b.give(write(t, "<img src=x onerror=alert(1)>\u202egnp.exe", "something else"))
		v := b.verdict(true)
		if v.Verdict != "unknown" || !strings.Contains(v.Text, "<img src=x onerror=alert(1)>\ufffdgnp.exe") {
			t.Fatalf("got %+v", v)
		}
		if eval[int](b, `document.querySelectorAll("#result img").length`) != 0 {
			t.Fatal("the file's name became markup")
		}
	})
	t.Run("empty file", func(t *testing.T) {
		b.give(write(t, "lantern.iso", ""))
		if v := b.verdict(true); v.Verdict != "unknown" || !strings.Contains(v.Reason, "empty") {
			t.Fatalf("got %+v", v)
		}
	})
	t.Run("damaged bundle", func(t *testing.T) {
		bundle := s.bundles[verifytest.SHA256(program)]
		for _, damaged := range []string{bundle[:len(bundle)/2], strings.Replace(bundle, "index 7", "index 8", 1), "{}", strings.Repeat("[", 100_000)} {
			b.give(good, write(t, "lantern.clerestory", damaged))
			if v := b.verdict(true); v.Verdict != "refused" || !strings.HasPrefix(v.Code, "bad-") {
				t.Fatalf("got %+v", v)
			}
		}
	})
	t.Run("dropped with its bundle", func(t *testing.T) {
		eval[bool](b, `(() => {
			delete document.querySelector("#result").dataset.done; document.querySelector("#result").replaceChildren();
			const dt = new DataTransfer();
			dt.items.add(new File([`+strconv.Quote(program)+`], "lantern"));
			dt.items.add(new File([`+strconv.Quote(s.bundles[verifytest.SHA256(program)])+`], "lantern.clerestory"));
			return !document.querySelector("#drop").dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: dt }));
		})()`)
		if v := b.verdict(true); v.Verdict != "verified" {
			t.Fatalf("got %+v", v)
		}
	})
	t.Run("revoked release", func(t *testing.T) {
		s.vendor.Revoke(released.Release, "release", verifytest.Product, s.vendor.Keys["rel"])
		s.publish(program)
		b.give(good)
		if v := b.verdict(true); v.Verdict != "refused" || v.Code != "revoked" || !strings.Contains(v.Reason, "deletes the wrong files") {
			t.Fatalf("got %+v", v)
		}
	})
	s.quiet(b)
}

// TestALogThatShowsTwoStatesIsFound has a witness that saw another log, one that
// is behind, and one that cannot be asked.
func TestALogThatShowsTwoStatesIsFound(t *testing.T) {
	s := newSite(t)
	s.vendor.Release(verifytest.Plan{Files: map[string]string{"lantern": program}})
	s.publish(program)
	log, w := s.vendor.Log, s.vendor.Witnesses
	s.copies[0] = string(log.Sign(log.Text(log.Size()-1), s.vendor.Seen, w[0]))
	s.copies[1] = ""
	b := s.open(t)
	b.give(write(t, "lantern", program))
	v := b.verdict(true)
	want := map[string]string{"The log now": "Agrees", "Witness witness1.example": "Behind", "Witness witness2.example": "Not checked", "Witness witness3.example": "Agrees"}
	if v.Verdict != "verified" || !maps.Equal(v.Copies, want) || !strings.Contains(v.Text, "one was proven to grow into the other") {
		t.Fatalf("got %+v", v)
	}
	s.mute = true
	b.give(write(t, "lantern", program))
	if v := b.verdict(true); v.Verdict != "verified" || !maps.Equal(v.Copies, want) || !strings.Contains(v.Text, "no proof is at hand") {
		t.Fatalf("without a proof: got %+v", v)
	}
	s.mute = false

	// An older state of another history: the sizes differ, and no proof leads over.
	lie := verifytest.NewLog(t, log.Origin)
	lie.Add([]byte("what only the first witness was shown"))
	for _, e := range log.Entries[1 : len(log.Entries)-1] {
		lie.Add(e)
	}
	s.copies[0] = string(lie.Sign(lie.Text(lie.Size()), s.vendor.Seen, w[0]))
	b.give(write(t, "lantern", program))
	if v := b.verdict(true); v.Verdict != "refused" || v.Code != "fork" || v.Copies["Witness witness1.example"] != "Disagrees" {
		t.Fatalf("an older state of another history: got %+v", v)
	}
	s.copies[0] = ""

	other := verifytest.NewLog(t, log.Origin) // the same key, another history
	for _, e := range log.Entries[:len(log.Entries)-1] {
		other.Add(e)
	}
	other.Add([]byte("what only the third witness was shown"))
	s.copies[2] = string(other.Sign(other.Text(other.Size()), s.vendor.Seen, w[2]))
	b.give(write(t, "lantern", program))
	if v := b.verdict(true); v.Verdict != "refused" || v.Code != "fork" || v.Copies["Witness witness3.example"] != "Disagrees" {
		t.Fatalf("got %+v", v)
	}
	s.quiet(b)
}

// TestAVisitorsOwnRootDecides gives the page of an impostor the true root.
func TestAVisitorsOwnRootDecides(t *testing.T) {
	s := newSite(t)
	s.vendor.Release(verifytest.Plan{Files: map[string]string{"lantern": program}})
	s.publish(program)
	b := s.open(t)
	ask := func(root string) {
		t.Helper()
		path := write(t, "mine.json", root)
		before := eval[string](b, `document.querySelector("#trust").textContent`)
		if err := setFiles(b, "#own-root", path); err != nil {
			t.Fatal(err)
		}
		b.wait(`document.querySelector("#trust").textContent !== ` + strconv.Quote(before))
		b.give(write(t, "lantern", program))
	}
	genuine := verifytest.New(t)
	genuine.RootKeys = []*verifytest.Key{verifytest.NewKey("x"), verifytest.NewKey("y")}
	ask(string(genuine.SignRoot(genuine.NewRoot(1, genuine.RootKeys...), genuine.RootKeys...)))
	if v := b.verdict(true); v.Verdict != "refused" || v.Code != "bad-signature" {
		t.Fatalf("by another vendor's root: %+v", v)
	}
	ask(string(s.vendor.TrustFile()))
	if v := b.verdict(true); v.Verdict != "verified" || strings.Contains(v.Text, "came from this site") {
		t.Fatalf("by the right root: %+v", v)
	}
	ask("{}")
	if v := b.verdict(false); v.Verdict != "unchecked" || !strings.Contains(v.Reason, "trusted_root.json") {
		t.Fatalf("by no root: %+v", v)
	}
}

// TestALargeFileIsHashedInLittleMemory hashes 1.5 GB of zeros, after it was
// cancelled once.
func TestALargeFileIsHashedInLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("slow: hashes 1.5 GB")
	}
	s := newSite(t)
	s.publish()
	path := filepath.Join(t.TempDir(), "large.iso")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	const size = 1_500_000_000
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	f.Close()
	b := s.open(t)
	b.give(path)
	b.wait(`document.querySelector("progress")?.value > 50e6`)
	eval[bool](b, `document.querySelector("#progress button").click(), true`)
	b.wait(`document.querySelector("#progress").textContent.includes("Cancelled") && !document.querySelector("#result .verdict")`)

	before, began := resident(t), time.Now()
	b.give(path)
	b.wait(`document.querySelector("progress")`)
	values, most := []float64{}, int64(0)
	for eval[bool](b, `!!document.querySelector("progress")`) {
		if v := eval[float64](b, `document.querySelector("progress")?.value ?? 0`); v > 0 {
			values = append(values, v)
		}
		most = max(most, resident(t))
		time.Sleep(50 * time.Millisecond)
	}
	took := time.Since(began)
	t.Logf("%d MB in %v, %.0f MB/s; the browser's memory grew by %d MB at most", size/1_000_000, took.Round(time.Millisecond), size/1e6/took.Seconds(), (most-before)>>20)
	if v := b.verdict(true); v.Verdict != "unknown" || !strings.Contains(v.Text, zeros) {
		t.Fatalf("got %+v", v)
	}
	if !slices.IsSorted(values) || len(slices.Compact(values)) < 5 {
		t.Errorf("progress was not shown steadily: %v", values)
	}
	if grew := (most - before) >> 20; grew > 300 {
		t.Errorf("memory grew by %d MB", grew)
	}
	s.quiet(b)
}

// zeros is the SHA-256 of 1.5e9 zero bytes: head -c 1500000000 /dev/zero | sha256sum
const zeros = "1c5954e1c91f0fbe1c554067e042203a9a1259f439c126b08652b23bcb216065"

// resident adds up the memory of the processes that this test has started.
func resident(t *testing.T) int64 {
	t.Helper()
	parent, pages := map[int]int{}, map[int]int64{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(d))
		stat, err := os.ReadFile(d + "/stat")
		if err != nil {
			continue // it ended
		}
		var state string
		var ppid int
		if _, err := fmt.Sscan(string(stat[strings.LastIndex(string(stat), ")")+1:]), &state, &ppid); err != nil {
			t.Fatal(err)
		}
		parent[pid] = ppid
		statm, _ := os.ReadFile(d + "/statm")
		var total, rss, shared int64
		fmt.Sscan(string(statm), &total, &rss, &shared)
		pages[pid] = rss - shared
	}
	var sum int64
	for pid := range parent {
		for p, hops := parent[pid], 0; p > 1 && hops < 20; p, hops = parent[p], hops+1 {
			if p == os.Getpid() {
				sum += pages[pid]
				break
			}
		}
	}
	return sum * int64(os.Getpagesize())
}
