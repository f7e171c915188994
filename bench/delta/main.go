// Command delta measures how small a detection base's change travels: 100,000
// hash lines and 2,000 rules, of which 0.5 % change each day, from one day back
// and from ten, against the full file as it would be downloaded otherwise.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"clerestory.dev/clerestory/bench/kit"
	"clerestory.dev/clerestory/update"
)

func main() {
	rounds := flag.Int("rounds", 9, "how often each side is timed")
	flag.Parse()
	fmt.Println("A day's changes: three fifths added, a fifth removed, a fifth edited (the name of a hash, a string of a rule).")
	history((*base).day, *rounds)
	fmt.Println("The worst reading of it: each of them an entry replaced by one that nobody has seen. (The aims are not for this.)")
	history((*base).replace, *rounds)
}

func history(day func(*base), rounds int) {
	b := newBase()
	days := []map[string][]byte{b.files()}
	for range 10 {
		day(b)
		days = append(days, b.files())
	}
	now := days[10]
	full := compress(now)
	fmt.Printf("Base of %d bytes in %d files; in full, zstd at its best level: %d bytes.\n", total(now), len(now), total(full))
	for _, back := range []struct{ days, aim int }{{1, 200}, {10, 25}} {
		measure(days[10-back.days], now, full, back.days, back.aim, rounds)
	}
	fmt.Println()
}

func measure(old, now, full map[string][]byte, days, aim, rounds int) {
	deltas := map[string][]byte{}
	start := time.Now()
	for _, name := range names(now) {
		d, err := update.MakeDelta(old[name], now[name])
		kit.Must(err)
		deltas[name] = d
	}
	made := time.Since(start)
	fmt.Printf("from %d days back: %d bytes, 1/%.0f of the full one (aim: at most 1/%d), made in %v\n", days, total(deltas),
		float64(total(full))/float64(total(deltas)), aim, made.Round(time.Millisecond))
	var apply, unpack []time.Duration
	var memory uint64
	for i := range rounds + 1 {
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		a := timed(func() { applyAll(old, deltas, now) })
		runtime.ReadMemStats(&after)
		runtime.GC()
		u := timed(func() { unpackAll(full, now) })
		if i == 0 { // both warm
			continue
		}
		memory = max(memory, after.TotalAlloc-before.TotalAlloc)
		apply, unpack = append(apply, a), append(unpack, u)
	}
	slices.Sort(apply)
	slices.Sort(unpack)
	a, u := apply[len(apply)/2], unpack[len(unpack)/2]
	fmt.Printf("  applied in %v, the full one unpacked in %v: ratio %.2f (aim: at most 1.3); allocated %.1f MB for %.1f MB of content\n\n",
		a.Round(10*time.Microsecond), u.Round(10*time.Microsecond), float64(a)/float64(u), float64(memory)/1e6, float64(total(now))/1e6)
}

// applyAll and unpackAll end with the same content in memory; hashing it, which
// both sides would need, is left out of both.
func applyAll(old, deltas, want map[string][]byte) {
	for name, d := range deltas {
		b, err := update.ApplyDelta(old[name], d, int64(len(want[name])))
		kit.Must(err)
		same(b, want[name])
	}
}

func unpackAll(full, want map[string][]byte) {
	for name, c := range full {
		dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(uint64(len(want[name]))))
		kit.Must(err)
		b, err := dec.DecodeAll(c, make([]byte, 0, len(want[name])))
		kit.Must(err)
		dec.Close()
		same(b, want[name])
	}
}

func same(got, want []byte) {
	if len(got) != len(want) || got[0] != want[0] || !bytes.Equal(got[len(got)-64:], want[len(want)-64:]) {
		kit.Must(fmt.Errorf("the content is wrong"))
	}
}

func timed(do func()) time.Duration {
	start := time.Now()
	do()
	return time.Since(start)
}

func compress(files map[string][]byte) map[string][]byte {
	out := map[string][]byte{}
	for name, b := range files {
		enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithWindowSize(32<<20), zstd.WithEncoderConcurrency(1))
		kit.Must(err)
		out[name] = enc.EncodeAll(b, nil)
		kit.Must(enc.Close())
	}
	return out
}

func total(files map[string][]byte) (n int) {
	for _, b := range files {
		n += len(b)
	}
	return n
}

func names(files map[string][]byte) []string {
	var all []string
	for name := range files {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// base is a detection base that changes from day to day.
type base struct {
	random *rand.Rand
	serial int
	hashes []string
	rules  []string
}

const (
	hashes = 100_000
	rules  = 2_000
)

func newBase() *base {
	b := &base{random: rand.New(rand.NewPCG(4, 2026))}
	for range hashes {
		b.hashes = append(b.hashes, b.hash())
	}
	for range rules {
		b.rules = append(b.rules, b.rule())
	}
	return b
}

var families = []string{"Agent", "Banker", "Cryptor", "Dropper", "Emote", "Fakealert", "Gamania", "Injector", "Keylogger", "Loader", "Miner", "Ransom", "Spy", "Stealer", "Worm", "Zbot"}

// hash is a line of a ClamAV .hsb: SHA-256, size, name, level.
func (b *base) hash() string {
	b.serial++
	sum := sha256.Sum256(fmt.Appendf(nil, "sample %d", b.serial))
	return fmt.Sprintf("%s:%d:Win.%s-%d:73", hex.EncodeToString(sum[:]), 1000+b.random.IntN(4_000_000), families[b.random.IntN(len(families))], b.serial)
}

// rule is a YARA rule of about 1.5 KB.
func (b *base) rule() string {
	b.serial++
	var s strings.Builder
	family := families[b.random.IntN(len(families))]
	fmt.Fprintf(&s, "rule Win_%s_%06d : %s windows\n{\n    meta:\n        author = \"lab\"\n        id = \"%d\"\n        severity = %d\n    strings:\n",
		family, b.serial, strings.ToLower(family), b.serial, b.random.IntN(10))
	for i := range 12 {
		bytes := make([]string, 24)
		for j := range bytes {
			if bytes[j] = fmt.Sprintf("%02X", b.random.IntN(256)); b.random.IntN(8) == 0 {
				bytes[j] = "??"
			}
		}
		fmt.Fprintf(&s, "        $x%d = { %s }\n", i, strings.Join(bytes, " "))
	}
	fmt.Fprintf(&s, "    condition:\n        uint16(0) == 0x5A4D and filesize < %dKB and %d of them\n}\n\n", 100+b.random.IntN(4000), 2+b.random.IntN(6))
	return s.String()
}

// day changes 0.5 % of the lines and of the rules.
func (b *base) day() {
	b.hashes = change(b, b.hashes, hashes/200, b.hash, func(s string) string { return strings.TrimSuffix(s, ":73") + ".B:73" })
	b.rules = change(b, b.rules, rules/200, b.rule, func(s string) string {
		return strings.Replace(s, "$x3 = { ", fmt.Sprintf("$x3 = { %02X %02X ", b.random.IntN(256), b.random.IntN(256)), 1)
	})
}

// change edits n of the entries: three fifths new, a fifth removed, a fifth edited.
func change(b *base, all []string, n int, fresh func() string, edit func(string) string) []string {
	for range n / 5 {
		i := b.random.IntN(len(all))
		all[i] = edit(all[i])
		j := b.random.IntN(len(all))
		all = append(all[:j:j], all[j+1:]...)
	}
	for range n - 2*(n/5) {
		all = slices.Insert(slices.Clip(all), b.random.IntN(len(all)), fresh())
	}
	return all
}

// replace replaces 0.5 % of the lines and of the rules.
func (b *base) replace() {
	for range hashes / 200 {
		b.hashes[b.random.IntN(len(b.hashes))] = b.hash()
	}
	for range rules / 200 {
		b.rules[b.random.IntN(len(b.rules))] = b.rule()
	}
}

// files are the released form: sorted text, one file a type.
func (b *base) files() map[string][]byte {
	h := slices.Clone(b.hashes)
	sort.Strings(h)
	return map[string][]byte{"main.hsb": []byte(strings.Join(h, "\n") + "\n"), "main.yar": []byte(strings.Join(b.rules, ""))}
}
