package update

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// base is a detection base's text: n hash lines, of which a share changed.
func base(n int, day uint64) []byte {
	var b bytes.Buffer
	fixed, changed := rand.New(rand.NewPCG(1, 1)), rand.New(rand.NewPCG(2, day))
	for i := range n {
		x, y := fixed.Uint64(), fixed.Uint64()
		if day > 0 && i%200 == 7 {
			x = changed.Uint64()
		}
		fmt.Fprintf(&b, "%016x%016x%016x%016x:%d:Test.Family-%d\n", x, y, x*31, y*17, i*13, i)
	}
	return b.Bytes()
}

func TestADaysDeltaIsSmallAndLeadsToTheContent(t *testing.T) {
	old, new := base(20000, 0), base(20000, 1)
	delta, err := MakeDelta(old, new)
	if err != nil {
		t.Fatal(err)
	}
	if len(delta) > len(new)/100 {
		t.Errorf("the delta has %d bytes, the content %d", len(delta), len(new))
	}
	got, err := ApplyDelta(old, delta, int64(len(new)))
	if err != nil || !bytes.Equal(got, new) {
		t.Fatal(err)
	}
}

func TestADeltaThatSavesNothingIsNotMade(t *testing.T) {
	noise := func(seed uint64) []byte {
		b := make([]byte, 50000)
		r := rand.NewChaCha8([32]byte{byte(seed)})
		r.Read(b)
		return b
	}
	if _, err := MakeDelta(noise(1), noise(2)); !errors.Is(err, BadDelta) {
		t.Fatal(err)
	}
}

// bomb is a few KB that expand to 128 MB.
func bomb(t *testing.T) []byte {
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return enc.EncodeAll(make([]byte, 128<<20), nil)
}

func TestADeltaThatExpandsWithoutEndIsRefused(t *testing.T) {
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	bomb := bomb(t)
	var stream bytes.Buffer
	w, err := zstd.NewWriter(&stream) // without a size in its header
	if err != nil {
		t.Fatal(err)
	}
	for range 16 {
		if _, err := w.Write(make([]byte, 4<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	honest := enc.EncodeAll([]byte("what was asked for"), nil)
	for why, delta := range map[string][]byte{
		"a bomb that says its size":    bomb,
		"a bomb that does not":         stream.Bytes(),
		"a bomb behind a proper frame": append(bytes.Clone(honest), bomb...),
		"text":                         []byte("no delta at all"),
		"nothing":                      nil,
	} {
		content, err := ApplyDelta([]byte("old"), delta, 18)
		if !errors.Is(err, BadDelta) || content != nil {
			t.Errorf("%s: %d bytes, %v", why, len(content), err)
		}
	}
}

func FuzzApplyDelta(f *testing.F) {
	old, new := base(50, 0), base(50, 1)
	good, err := MakeDelta(old, new)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, int64(len(new)))
	f.Add(good[:len(good)/2], int64(len(new)))
	f.Add([]byte{}, int64(0))
	f.Fuzz(func(t *testing.T, delta []byte, size int64) {
		size %= 1 << 20
		content, err := ApplyDelta(old, delta, size)
		if err == nil && int64(len(content)) != size {
			t.Fatalf("%d bytes came, %d were asked for", len(content), size)
		}
	})
}
