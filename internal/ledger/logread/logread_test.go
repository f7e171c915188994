package logread

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/ledger/tile"
)

func TestAWholeLogIsCheckedAndWhatWasSeenIsRemembered(t *testing.T) {
	l, dir, memory := newLiar(t, "log.example/test"), t.TempDir(), Memory(t.TempDir())
	lines := story(t, "an honest story", 600)
	srv := httptest.NewServer(tile.Handler(dir))
	defer srv.Close()
	web, err := tile.Open(srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	seen := int64(-1)
	for _, size := range []int{0, 1, 255, 256, 257, 512, 600, 600} {
		l.publish(t, dir, lines[:size], 2)
		for _, src := range []tile.Source{tile.Dir(dir), web} {
			var progress int64
			r, err := Check(context.Background(), src, l.policy, Options{Memory: memory, Progress: func(done, of int64) { progress = done }})
			if err != nil {
				t.Fatalf("%d entries from %s: %v", size, src, err)
			}
			if r.Entries != int64(size) || r.Kinds["programme"] != int64(size) || progress != int64(size) || len(r.Checkpoint.Cosigned) != 2 {
				t.Errorf("%d entries from %s: %+v", size, src, r)
			}
			if seen >= 0 && (r.Remembered == nil || r.Remembered.Size != seen) {
				t.Errorf("%d entries: remembered %+v, not %d", size, r.Remembered, seen)
			}
			seen = int64(size)
		}
	}
}

func TestALogThatLiesIsFoundOut(t *testing.T) {
	lines := story(t, "a story", 300)
	flip := func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
	for name, lie := range map[string]func(t *testing.T, l *liar, dir string){
		"two entries swapped": func(t *testing.T, l *liar, dir string) {
			swapped := append([][]byte{lines[1], lines[0]}, lines[2:256]...)
			save(t, dir, tile.Ref{Entries: true, Width: 256}, tile.FormatBundle(swapped))
		},
		"an entry changed, and its tile too": func(t *testing.T, l *liar, dir string) {
			changed := append([][]byte{entry(t, "another beginning")}, lines[1:256]...)
			save(t, dir, tile.Ref{Entries: true, Width: 256}, tile.FormatBundle(changed))
			edit(t, dir, "tile/0/000", func(b []byte) []byte { h := tlog.RecordHash(changed[0]); copy(b, h[:]); return b })
		},
		"an entry left out of a bundle": func(t *testing.T, l *liar, dir string) {
			save(t, dir, tile.Ref{Entries: true, Width: 256}, tile.FormatBundle(lines[:255]))
		},
		"a hash of the upper tile changed": func(t *testing.T, l *liar, dir string) { edit(t, dir, "tile/1/000.p/1", flip) },
		"a hash of a leaf tile changed":    func(t *testing.T, l *liar, dir string) { edit(t, dir, "tile/0/001.p/44", flip) },
		"a tile cut short": func(t *testing.T, l *liar, dir string) {
			edit(t, dir, "tile/0/000", func(b []byte) []byte { return b[:8000] })
		},
		"a tile withheld":                   func(t *testing.T, l *liar, dir string) { os.Remove(filepath.Join(dir, "tile/1/000.p/1")) },
		"entries withheld":                  func(t *testing.T, l *liar, dir string) { os.Remove(filepath.Join(dir, "tile/entries/001.p/44")) },
		"a root of other entries":           func(t *testing.T, l *liar, dir string) { l.sign(t, dir, l.log.Name(), 300, tlog.Hash{1}, 2) },
		"a size that costs memory to think": func(t *testing.T, l *liar, dir string) { l.sign(t, dir, l.log.Name(), 1<<62, tlog.Hash{1}, 2) },
		"one witness of two":                func(t *testing.T, l *liar, dir string) { l.publish(t, dir, lines, 1) },
		"another origin under the same key": func(t *testing.T, l *liar, dir string) { l.sign(t, dir, "log.example/other", 300, tlog.Hash{1}, 2) },
		"another log":                       func(t *testing.T, l *liar, dir string) { newLiar(t, "log.example/other").publish(t, dir, lines, 2) },
		"no signature": func(t *testing.T, l *liar, dir string) {
			edit(t, dir, "checkpoint", func(b []byte) []byte { return b[:bytes.Index(b, []byte("\n\n"))+2] })
		},
		"an endless checkpoint": func(t *testing.T, l *liar, dir string) {
			edit(t, dir, "checkpoint", func(b []byte) []byte { return append(b, make([]byte, 1<<20)...) })
		},
		"an entry that is no statement": func(t *testing.T, l *liar, dir string) {
			l.publish(t, dir, append(append([][]byte{}, lines[:299]...), []byte("hello")), 2)
		},
	} {
		t.Run(name, func(t *testing.T) {
			l, dir := newLiar(t, "log.example/test"), t.TempDir()
			l.publish(t, dir, lines, 2)
			lie(t, l, dir)
			memory := Memory(t.TempDir())
			if _, err := Check(context.Background(), tile.Dir(dir), l.policy, Options{Memory: memory}); !errors.Is(err, fault.Tampered) {
				t.Errorf("check: %v", err)
			}
			if names := fileNames(t, string(memory)); names != "" {
				t.Errorf("the lie was remembered: %s", names)
			}
			if name == "an entry that is no statement" || strings.Contains(name, "tile") && !strings.Contains(name, "leaf") {
				return // a mirror copies what is in the log, and writes its own tiles
			}
			copied := t.TempDir()
			if _, err := Mirror(context.Background(), tile.Dir(dir), l.policy, copied, Options{}); !errors.Is(err, fault.Tampered) {
				t.Errorf("mirror: %v", err)
			}
			if strings.Contains(fileNames(t, copied), "checkpoint") {
				t.Error("the mirror published the lie")
			}
			follow := Following{Memory: memory, Once: true}
			if err := Follow(context.Background(), tile.Dir(dir), l.policy, follow, func(Entry) error { return nil }); !errors.Is(err, fault.Tampered) {
				t.Errorf("follow: %v", err)
			}
		})
	}
}

// The log is consistent in itself each time, and everything is signed: only the
// memory of what was shown before can tell.
func TestAForkOrAShrinkIsRefusedAndItsEvidenceKept(t *testing.T) {
	before := story(t, "what was shown first", 300)
	other := story(t, "what is shown now", 400)
	for name, now := range map[string][][]byte{
		"fork":                          other,
		"fork of the same size":         other[:300],
		"fork after a common beginning": append(append([][]byte{}, before[:280]...), other[280:]...),
		"fork within the first bundle":  append(append([][]byte{}, before[:10]...), other[10:]...),
		"shrink":                        before[:299],
		"shrink to nothing":             nil,
	} {
		t.Run(name, func(t *testing.T) {
			l, dir, memory, mirror := newLiar(t, "log.example/test"), t.TempDir(), Memory(t.TempDir()), t.TempDir()
			ctx := context.Background()
			l.publish(t, dir, before, 2)
			if _, err := Check(ctx, tile.Dir(dir), l.policy, Options{Memory: memory}); err != nil {
				t.Fatal(err)
			}
			if _, err := Mirror(ctx, tile.Dir(dir), l.policy, mirror, Options{Memory: memory}); err != nil {
				t.Fatal(err)
			}
			held := fileNames(t, mirror)
			shown, _ := tile.Dir(dir).Checkpoint(ctx)
			os.RemoveAll(filepath.Join(dir, "tile"))
			l.publish(t, dir, now, 2)
			lie, _ := tile.Dir(dir).Checkpoint(ctx)

			_, errCheck := Check(ctx, tile.Dir(dir), l.policy, Options{Memory: memory})
			_, errMirror := Mirror(ctx, tile.Dir(dir), l.policy, mirror, Options{Memory: memory})
			errFollow := Follow(ctx, tile.Dir(dir), l.policy, Following{Memory: memory}, func(Entry) error { t.Error("yielded"); return nil })
			for act, err := range map[string]error{"check": errCheck, "mirror": errMirror, "follow": errFollow} {
				var fork *Fork
				if !errors.Is(err, fault.Tampered) || !errors.As(err, &fork) {
					t.Fatalf("%s: %v", act, err)
				}
				evidence, err := os.ReadFile(fork.File)
				if err != nil || !bytes.Contains(evidence, shown) || !bytes.Contains(evidence, lie) {
					t.Errorf("%s: the evidence %s: %v", act, fork.File, err)
				}
			}
			if fileNames(t, mirror) != held {
				t.Error("the mirror was changed")
			}
			if last, err := memory.Last(l.policy); err != nil || last.Size != 300 {
				t.Errorf("what was seen first was forgotten: %+v, %v", last, err)
			}
		})
	}
}

func TestAMirrorIsTheSameLogAndGoesOnAfterAnInterruption(t *testing.T) {
	l, dir, copied := newLiar(t, "log.example/test"), t.TempDir(), t.TempDir()
	ctx := context.Background()
	lines := story(t, "a story that grows", 700)
	for _, size := range []int{3, 300, 700} {
		l.publish(t, dir, lines[:size], 2)
		broken := &failing{Source: tile.Dir(dir), left: 2}
		if _, err := Mirror(ctx, broken, l.policy, copied, Options{}); size > 3 && !errors.Is(err, fault.Unavailable) {
			t.Errorf("an interrupted mirror: %v", err)
		}
		c, err := Mirror(ctx, tile.Dir(dir), l.policy, copied, Options{Workers: 3})
		if err != nil || c.Size != int64(size) {
			t.Fatalf("%d entries: %v", size, err)
		}
		if r, err := Check(ctx, tile.Dir(copied), l.policy, Options{}); err != nil || r.Entries != int64(size) {
			t.Errorf("the copy: %v", err)
		}
	}
	names := fileNames(t, copied)
	if strings.Contains(names, "/tile/0/000.p/") || strings.Contains(names, ".new-") {
		t.Errorf("left over: %s", names)
	}
}

// failing stops answering after a few files.
type failing struct {
	tile.Source
	left int
}

func (f *failing) Get(ctx context.Context, r tile.Ref) ([]byte, error) {
	if f.left--; f.left < 0 {
		return nil, fault.Unavailable.New("the network is gone")
	}
	return f.Source.Get(ctx, r)
}

func TestAMirrorIsNotWrittenOverAnotherLog(t *testing.T) {
	dir, copied := t.TempDir(), t.TempDir()
	other := newLiar(t, "log.example/other")
	other.publish(t, copied, story(t, "another story", 3), 2)
	l := newLiar(t, "log.example/test")
	l.publish(t, dir, story(t, "a story", 5), 2)
	if _, err := Mirror(context.Background(), tile.Dir(dir), l.policy, copied, Options{}); !errors.Is(err, fault.Conflict) {
		t.Errorf("mirroring into another log's folder: %v", err)
	}
}

func TestAFollowerGetsEachNewStatementOnce(t *testing.T) {
	l, dir := newLiar(t, "log.example/test"), t.TempDir()
	lines := story(t, "a story", 300)
	l.publish(t, dir, lines[:2], 2)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var got []int64
	away := true
	src := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if away { // once, at the second look
			if len(got) == 2 {
				away = false
				http.Error(w, "away", http.StatusServiceUnavailable)
				l.publish(t, dir, lines, 2)
				return
			}
		}
		tile.Handler(dir).ServeHTTP(w, r)
	}))
	defer src.Close()
	web, _ := tile.Open(src.URL, nil)
	var trouble error
	err := Follow(ctx, web, l.policy, Following{Memory: Memory(t.TempDir()), Every: 5 * time.Millisecond, Trouble: func(err error) { trouble = err }}, func(e Entry) error {
		if !bytes.Equal(e.Raw, lines[e.N]) {
			t.Errorf("entry %d is another one", e.N)
		}
		if got = append(got, e.N); len(got) == 300 {
			cancel()
		}
		return nil
	})
	if err != nil || len(got) != 300 || got[0] != 0 || got[299] != 299 || !errors.Is(trouble, fault.Unavailable) {
		t.Errorf("%d entries, %v, trouble %v", len(got), err, trouble)
	}
}

func TestAFollowerHearsOnlyWhatItAskedFor(t *testing.T) {
	l, dir := newLiar(t, "log.example/test"), t.TempDir()
	lines := story(t, "a story", 5)
	l.publish(t, dir, lines, 2)
	e, err := parseEntry(3, lines[3])
	if err != nil {
		t.Fatal(err)
	}
	digest := e.Statement.Subject[0].Digest["sha256"]
	for _, c := range []struct {
		filter Filter
		want   int
	}{
		{Filter{}, 5}, {Filter{Kind: "programme"}, 5}, {Filter{Kind: "release"}, 0}, {Filter{Subject: digest}, 1}, {Filter{Subject: "programme:acme"}, 5},
		{Filter{Signer: e.Envelope.Signatures[0].KeyID, Subject: digest}, 1}, {Filter{Signer: strings.Repeat("0", 64)}, 0},
	} {
		got := 0
		if err := Follow(context.Background(), tile.Dir(dir), l.policy, Following{Memory: Memory(t.TempDir()), Filter: c.filter, Once: true}, func(Entry) error { got++; return nil }); err != nil || got != c.want {
			t.Errorf("%+v: %d, %v", c.filter, got, err)
		}
	}
	if err := Follow(context.Background(), tile.Dir(dir), l.policy, Following{Memory: Memory(t.TempDir()), FromNow: true, Once: true}, func(e Entry) error { t.Errorf("told of old entry %d", e.N); return nil }); err != nil {
		t.Error(err)
	}
}
