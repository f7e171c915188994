package frame

import (
	"context"
	"io"
	"strings"

	"github.com/a-h/templ"
)

// described ties a field's hint and problem to its input.
func described(f *Field) templ.Attributes {
	var ids []string
	if f.Hint != "" {
		ids = append(ids, f.Name+"-hint")
	}
	attrs := templ.Attributes{}
	if f.Problem != "" {
		ids = append(ids, f.Name+"-problem")
		attrs["aria-invalid"] = "true"
	}
	if len(ids) > 0 {
		attrs["aria-describedby"] = strings.Join(ids, " ")
	}
	return attrs
}

func inputType(f *Field) string {
	if f.Kind == "" {
		return "text"
	}
	return f.Kind
}

func auto(f *Field) string {
	if f.Auto == "" {
		return "off"
	}
	return f.Auto
}

// Hash is a hash shortened in the middle for the eye; copying takes all of it.
// Written by hand: a template would put spaces between its parts.
func Hash(h string) templ.Component {
	return templ.ComponentFunc(func(_ context.Context, w io.Writer) error {
		head, middle, tail := ends(h)
		out := `<code class="hash">` + templ.EscapeString(head)
		if middle != "" {
			out += `<span class="mid">` + templ.EscapeString(middle) + `</span><span class="dots"></span>` + templ.EscapeString(tail)
		}
		_, err := io.WriteString(w, out+`</code>`)
		return err
	})
}

// Text is a text that somebody else wrote: isolated from what stands around it,
// with what can not be seen named.
func Text(s string) templ.Component {
	return templ.ComponentFunc(func(_ context.Context, w io.Writer) error {
		var b strings.Builder
		b.WriteString(`<bdi class="told">`)
		for _, r := range runs(s) {
			if r.Hidden {
				b.WriteString(`<span class="unseen">` + r.Text + `</span>`)
			} else {
				b.WriteString(templ.EscapeString(r.Text))
			}
		}
		b.WriteString(`</bdi>`)
		_, err := io.WriteString(w, b.String())
		return err
	})
}
