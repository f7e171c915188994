// Package tile is the log as static files (C2SP tlog-tiles): their names, what
// is in them, where they can be read, and how they are served.
//
// It promises that a read is bounded in bytes and time, that a tile or bundle
// has exactly the hashes or entries that its name says, and that hashes read
// through [Read] lead to the tree head that was given. It refuses every other
// name in the folder: no listing, no private state, no lock.
//
// It does not decide whether a tree head is to be believed; package verify does.
//
// Start at [Ref] for names, [Open] to read a log, [Handler] to serve one.
package tile

import (
	"encoding/binary"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// Width is how many hashes, or entries, a full tile or bundle has.
const Width = 256

// maxLevel: a log of 2^63 entries has tiles up to this level.
const maxLevel = 7

// Limits are the caps on what is read, in one place.
var Limits = struct {
	Checkpoint int64 // bytes
	Tile       int64 // bytes: 256 hashes
	Entries    int64 // bytes of a bundle: 256 entries, each after its length
	// Size is how many entries a log may claim. Package tlog does not come back
	// from sizes near 2^62, and a checkpoint's size is whatever its key signs.
	Size int64
}{int64(verify.Limits.Checkpoint), Width * tlog.HashSize, Width * (2 + int64(statement.Limits.Envelope)), 1 << 48}

// CheckSize refuses a log that claims more entries than [Limits].
func CheckSize(c *verify.Checkpoint) error {
	if c.Size < 0 || c.Size > Limits.Size {
		return fault.Tampered.New("the checkpoint claims %d entries; a log has at most %d", c.Size, Limits.Size)
	}
	return nil
}

// Ref names a tile or a bundle of entries.
type Ref struct {
	Entries bool // a bundle of entries; Level is 0 then
	Level   int
	Index   int64
	Width   int // 1 to 256
}

// Path is the name below the log's folder or URL (tlog-tiles, "Merkle Tree").
func (r Ref) Path() string {
	name := fmt.Sprintf("%03d", r.Index%1000)
	for rest := r.Index / 1000; rest > 0; rest /= 1000 {
		name = fmt.Sprintf("x%03d/%s", rest%1000, name)
	}
	if r.Width < Width {
		name = fmt.Sprintf("%s.p/%d", name, r.Width)
	}
	if r.Entries {
		return "tile/entries/" + name
	}
	return fmt.Sprintf("tile/%d/%s", r.Level, name)
}

// Full is the full tile or bundle in the same place.
func (r Ref) Full() Ref {
	r.Width = Width
	return r
}

// Cap is how many bytes there can be.
func (r Ref) Cap() int64 {
	if r.Entries {
		return int64(r.Width) * (2 + int64(statement.Limits.Envelope))
	}
	return int64(r.Width) * tlog.HashSize
}

// ParsePath reads a name; every Ref has exactly one.
func ParsePath(path string) (Ref, bool) {
	if len(path) > 64 {
		return Ref{}, false
	}
	rest, ok := strings.CutPrefix(path, "tile/")
	kind, rest, ok2 := strings.Cut(rest, "/")
	if !ok || !ok2 {
		return Ref{}, false
	}
	r := Ref{Width: Width}
	if kind == "entries" {
		r.Entries = true
	} else if len(kind) == 1 && kind[0] >= '0' && kind[0] <= '0'+maxLevel {
		r.Level = int(kind[0] - '0')
	} else {
		return Ref{}, false
	}
	if name, width, ok := strings.Cut(rest, ".p/"); ok {
		w, err := strconv.Atoi(width)
		if err != nil || w < 1 || w >= Width {
			return Ref{}, false
		}
		r.Width, rest = w, name
	}
	for part := range strings.SplitSeq(rest, "/") {
		digits := strings.TrimPrefix(part, "x")
		n, err := strconv.ParseUint(digits, 10, 16)
		if err != nil || len(digits) != 3 || r.Index > (1<<62)/1000 {
			return Ref{}, false
		}
		r.Index = r.Index*1000 + int64(n)
	}
	// The one canonical name: this also refuses misplaced x, signs and zeros.
	return r, r.Path() == path
}

// ParseBundle splits a bundle of entries: each is its length in two bytes, big
// endian, and its bytes (tlog-tiles, "Log Entries"). It must hold exactly width
// of them and nothing after.
func ParseBundle(b []byte, width int) ([][]byte, error) {
	entries := make([][]byte, 0, width)
	for len(b) > 0 {
		if len(entries) == width {
			return nil, fault.Tampered.New("the bundle has more than %d entries", width)
		}
		if len(b) < 2 || len(b)-2 < int(binary.BigEndian.Uint16(b)) {
			return nil, fault.Tampered.New("the bundle ends within entry %d", len(entries))
		}
		n := int(binary.BigEndian.Uint16(b))
		entries = append(entries, b[2:2+n:2+n])
		b = b[2+n:]
	}
	if len(entries) != width {
		return nil, fault.Tampered.New("the bundle has %d entries instead of %d", len(entries), width)
	}
	return entries, nil
}

// FormatBundle is the inverse of ParseBundle.
func FormatBundle(entries [][]byte) []byte {
	var b []byte
	for _, e := range entries {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(e))), e...)
	}
	return b
}

// Bundles gives, in order, the bundles that hold entries from to size-1 of a log
// of that size. One after the other: size is whatever a log claims.
func Bundles(from, size int64) iter.Seq[Ref] { return span(Ref{Entries: true}, from, size) }

// BundleOf is the bundle that holds entry n of a log of this size.
func BundleOf(n, size int64) Ref {
	first := n - n%Width
	return Ref{Entries: true, Index: n / Width, Width: int(min(Width, size-first))}
}

// Tiles gives the tiles of a level that a log of this size has, from the one that
// holds hash number from of that level on.
func Tiles(level int, from, size int64) iter.Seq[Ref] {
	return span(Ref{Level: level}, from, size>>(8*level))
}

func span(r Ref, from, count int64) iter.Seq[Ref] {
	return func(yield func(Ref) bool) {
		for i := from / Width; i*Width < count; i++ {
			r.Index, r.Width = i, int(min(Width, count-i*Width))
			if !yield(r) {
				return
			}
		}
	}
}
