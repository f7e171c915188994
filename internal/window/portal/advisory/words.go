package advisory

import (
	"fmt"
	"strings"
	"time"

	"github.com/a-h/templ"

	"clerestory.dev/clerestory/internal/window/portal/frame"
)

// described ties a field's hint and problem to its input.
func described(f *frame.Field) templ.Attributes {
	var ids []string
	attrs := templ.Attributes{}
	if f.Hint != "" {
		ids = append(ids, f.Name+"-hint")
	}
	if f.Problem != "" {
		ids = append(ids, f.Name+"-problem")
		attrs["aria-invalid"] = "true"
	}
	if len(ids) > 0 {
		attrs["aria-describedby"] = strings.Join(ids, " ")
	}
	return attrs
}

func days(n int64) string { return count(n, "day") }

func count(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// day is a statement's time as people say it.
func day(s string) string {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return s
	}
	return t.UTC().Format("2 January 2006")
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// titled joins a name with what follows it, if anything does.
func titled(name, title string) string {
	if title == "" || name == "" {
		return name + title
	}
	return name + ": " + title
}

// standing says which versions have the weakness and which are mended.
func standing(s Summary) string {
	text := "No released version is affected."
	if len(s.Affected) > 0 {
		text = "Affected: " + strings.Join(s.Affected, ", ") + "."
	}
	if len(s.Fixed) > 0 {
		text += " Fixed: " + strings.Join(s.Fixed, ", ") + "."
	}
	return text
}

// account says the figures in a sentence.
func account(f Figures) string {
	fixed := fmt.Sprintf("%d fixed", f.Fixed)
	if f.MedianDays >= 0 {
		fixed += " (half of them within " + days(f.MedianDays) + ")"
	}
	return fmt.Sprintf("From %s to %s: %s, %s, %d published, %d found to be none, %d open at the end; %s not kept in time. These are sums of the statements below, and hold nothing of what was reported.",
		day(f.From), day(f.To), count(f.Received, "report"), fixed, f.Published, f.Rejected, f.Open, count(f.Missed, "promise"))
}
