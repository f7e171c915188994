package release

import (
	"net/url"
	paths "path"
	"strings"

	"github.com/a-h/templ"
)

func approvers(list []Approval) string {
	var names []string
	for _, a := range list {
		names = append(names, a.Holder)
	}
	if len(names) == 0 {
		return "nobody"
	}
	return and(names)
}

// and joins names as a sentence does.
func and(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// word is a state as a title says it.
func word(state string) string {
	_, w := stateTone(state)
	return strings.ToLower(w)
}

// fileURL is the address of a file or bundle: every part escaped, slashes kept.
func fileURL(product, version, what, name string) string {
	parts := strings.Split(name, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return path(product, version) + "/" + what + "/" + strings.Join(parts, "/")
}

// example is the file that the page's command names: the first that is not the
// bill of materials.
func example(d Detail) string {
	for _, f := range d.Files {
		if f.Name != d.SBOM.Name {
			return f.Name
		}
	}
	return d.SBOM.Name
}

func lastPart(name string) string { return paths.Base(name) }

// shellWord quotes a file name for a POSIX shell: names are other people's text,
// and this one will be pasted.
func shellWord(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == "" && !strings.HasPrefix(s, "-") {
		return s
	}
	return "'./" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// sign is what stands before a change, so that it is not told by words alone.
func sign(what string) string {
	return map[string]string{"added": "+", "removed": "\u2212", "changed": "\u00b1"}[what]
}

// touching tells the script which touch the form needs.
func touching(d *desk) templ.Attributes {
	if !d.Asks {
		return nil
	}
	return templ.Attributes{"data-touch": d.Action, "data-object": d.Object}
}
