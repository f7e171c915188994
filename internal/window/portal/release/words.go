package release

import (
	"fmt"
	"net/url"
	paths "path"
	"strings"
)

func approvers(list []Approval) string {
	var names []string
	for _, a := range list {
		names = append(names, a.Holder)
	}
	switch len(names) {
	case 0:
		return "nobody"
	case 1:
		return names[0]
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

func missingWords(n int) string {
	if n == 1 {
		return "One more person has to approve it."
	}
	return fmt.Sprintf("%d more people have to approve it.", n)
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
