package frame

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// run is a piece of text that is shown as it is, or the name of a character that
// would not be seen.
type run struct {
	Text   string
	Hidden bool
}

// runs splits text that others wrote so that what can not be seen (zero-width
// and format characters, control characters) is named instead. Letters that run
// right to left stay as they are: the page isolates them.
func runs(s string) []run {
	var all []run
	var plain strings.Builder
	flush := func() {
		if plain.Len() > 0 {
			all = append(all, run{Text: plain.String()})
			plain.Reset()
		}
	}
	for _, r := range s {
		if r == '\n' || r == '\t' {
			plain.WriteRune(' ')
			continue
		}
		if Unseen(r) {
			flush()
			all = append(all, run{fmt.Sprintf("U+%04X", r), true})
			continue
		}
		plain.WriteRune(r)
	}
	flush()
	return all
}

// Unseen tells of a character that is drawn as nothing, changes how others are
// drawn, or can not be told from an ordinary space.
func Unseen(r rune) bool {
	return unicode.In(r, unicode.Cf, unicode.Cc, unicode.Co, unicode.Zl, unicode.Zp) || r == unicode.ReplacementChar || isFiller(r)
}

// isFiller finds letters and spaces that are drawn as nothing, or can not be told
// from an ordinary space.
func isFiller(r rune) bool {
	switch r {
	case 0x115f, 0x1160, 0x3164, 0xffa0, 0x034f, 0x2800, 0x00a0, 0x3000:
		return true
	}
	return r >= 0x2000 && r <= 0x200a || r >= 0xfe00 && r <= 0xfe0f
}

// clipped is the beginning of a text for a list, and how many bytes it has when
// that is not all of it.
func clipped(s string, most int) (string, string) {
	n := 0
	for i := range s {
		if n == most {
			return s[:i], fmt.Sprintf("… (%d bytes)", len(s))
		}
		n++
	}
	return s, ""
}

// ends are the first and last characters of a hash, and what lies between.
func ends(h string) (string, string, string) {
	if len(h) <= 20 {
		return h, "", ""
	}
	return h[:8], h[8 : len(h)-8], h[len(h)-8:]
}

// Words is a time as people say it.
func Words(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04 UTC") }

// Stamp is a time as machines say it.
func Stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Ago is how long before now t was, in words.
func Ago(now, t time.Time) string {
	d := now.Sub(t)
	switch {
	case d < -time.Minute:
		return "in the future by this machine's clock"
	case d < 2*time.Second:
		return "just now"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d seconds ago", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d minutes ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d hours ago", int(d.Hours()))
	}
	return fmt.Sprintf("%d days ago", int(d.Hours()/24))
}

// Size is a number of bytes in words.
func Size(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1000*1000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	case n < 1000*1000*1000:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/1e9)
}

// Number groups digits in threes.
func Number(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}
