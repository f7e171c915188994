package update

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func goodHead() *Head {
	sum := strings.Repeat("ab", 32)
	return &Head{Product: "lantern", Channel: "stable", Sequence: 3, Releases: []Offer{
		{Version: "1.0.0", Number: 1, Entry: 9, Percent: 100, Seed: "a", Files: []File{{Name: "bin/lantern", SHA256: sum, Size: 7}}},
		{Version: "1.1.0", Number: 2, Entry: 19, Percent: 25, Seed: "b", Reproducible: 2, Files: []File{{Name: "bin/lantern", SHA256: sum, Size: 9,
			Deltas: []Delta{{From: strings.Repeat("cd", 32), SHA256: sum, Size: 3}}}}},
	}, Revoked: []Withdrawn{{Version: "0.9.0", Entry: 4, Reason: "deletes files"}}}
}

func TestAHeadHasOneEncoding(t *testing.T) {
	b, err := goodHead().Format()
	if err != nil {
		t.Fatal(err)
	}
	h, err := ParseHead(b)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := h.Format(); err != nil || !bytes.Equal(again, b) {
		t.Fatalf("%s\n%s\n%v", again, b, err)
	}
	if _, err := ParseHead(append(b, '\n')); err == nil {
		t.Fatal("a second encoding was read")
	}
}

func TestAHeadThatCouldMisleadIsRefused(t *testing.T) {
	for why, change := range map[string]func(h *Head){
		"numbers go down":                func(h *Head) { h.Releases[1].Number = 1 },
		"a version twice":                func(h *Head) { h.Releases[1].Version = "1.0.0" },
		"a version named as the channel": func(h *Head) { h.Releases[0].Version = "stable" },
		"a file outside its folder":      func(h *Head) { h.Releases[0].Files[0].Name = "../etc/passwd" },
		"a file that replaces a bundle": func(h *Head) {
			f := h.Releases[0].Files[0]
			f.Name += ".clerestory"
			h.Releases[0].Files = append(h.Releases[0].Files, f)
		},
		"no file":                            func(h *Head) { h.Releases[0].Files = nil },
		"more than a hundred percent":        func(h *Head) { h.Releases[0].Percent = 101 },
		"a file of unbelievable size":        func(h *Head) { h.Releases[0].Files[0].Size = 1 << 50 },
		"a hash in capitals":                 func(h *Head) { h.Releases[0].Files[0].SHA256 = strings.Repeat("AB", 32) },
		"another product's path":             func(h *Head) { h.Product = "a/b" },
		"a sequence of nothing":              func(h *Head) { h.Sequence = 0 },
		"a reason that writes to a terminal": func(h *Head) { h.Revoked[0].Reason = "\x1b[2J" },
		"another media type":                 func(h *Head) { h.MediaType = "application/json" },
		"too many releases": func(h *Head) {
			for i := range 20 {
				o := h.Releases[1]
				o.Version, o.Number = fmt.Sprintf("2.%d", i), int64(10+i)
				h.Releases = append(h.Releases, o)
			}
		},
	} {
		h := goodHead()
		change(h)
		if b, err := h.Format(); err == nil {
			t.Errorf("%s: %s", why, b)
		}
	}
}

func TestARingGrowsWithoutLosingAnyone(t *testing.T) {
	in := func(percent int) (n int) {
		for i := range 10000 {
			o := Offer{Percent: percent, Seed: "lantern 1.1.0"}
			client := fmt.Sprint("client", i)
			if o.Includes(client) {
				n++
				if o.Percent += 7; !o.Includes(client) {
					t.Fatalf("%s fell out of the ring when it grew", client)
				}
			}
		}
		return n
	}
	if a, b, c := in(0), in(10), in(100); a != 0 || c != 10000 || b < 800 || b > 1200 {
		t.Fatal(a, b, c)
	}
}

func TestTheNewestOfferThatIsMeantForThisClient(t *testing.T) {
	h := goodHead()
	h.Releases[1].Percent = 100
	for want, change := range map[string]func(){
		"1.1.0": func() {},
		"1.0.0": func() { h.Releases[1].Halted = true },
		"": func() {
			h.Revoked = append(h.Revoked, Withdrawn{Version: "1.0.0", Reason: "bad"})
			h.Releases[1].Halted = true
		},
	} {
		h = goodHead()
		h.Releases[1].Percent = 100
		change()
		if o, _ := h.Newest("me"); o.Version != want {
			t.Errorf("got %q, want %q", o.Version, want)
		}
	}
}

func FuzzParseHead(f *testing.F) {
	b, err := goodHead().Format()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHead(b)
		if err != nil {
			return
		}
		if again, err := h.Format(); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%q became %q (%v)", b, again, err)
		}
	})
}
