package repository

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/statement"
)

// depth is how many segments a target's path may have: product, version and six
// of the file's name. A pattern's star never spans a slash, so each depth needs
// a pattern of its own.
const depth = 8

// patterns are what a product's role may sign for. None matches a path that
// leaves the product: names are checked, and ".." is a name like any other only
// to the pattern.
func patterns(product string) []string {
	var all []string
	for p := product + "/*"; strings.Count(p, "/") < depth; p += "/*" {
		all = append(all, p)
	}
	return all
}

// checkProduct refuses ids that would be another role's file.
func checkProduct(id string) error {
	if err := statement.CheckID("product", id); err != nil {
		return fault.Invalid.New("%w", err)
	}
	if slices.Contains(metadata.TOP_LEVEL_ROLE_NAMES[:], id) {
		return fault.Invalid.New("a product can not be named %q in an update repository: that is a role of TUF", id)
	}
	return nil
}

// checkName checks a released file's name as a target: every client, web server
// and bucket must read it as the same path. That is less than a release allows.
func checkName(name string) error {
	if err := statement.CheckFileName(name); err != nil {
		return fault.Invalid.New("%w", err)
	}
	parts := strings.Split(name, "/")
	if len(parts) > depth-2 {
		return fault.Invalid.New("the file name %q has %d folders; an update repository takes up to %d", name, len(parts)-1, depth-3)
	}
	for _, p := range parts {
		ok := p[0] != '.'
		for _, c := range p {
			ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("._+~@=-", c))
		}
		if !ok {
			return fault.Invalid.New("the file name %q can not be offered in an update repository: use letters, digits and . _ + ~ @ = - in each part, not starting with a dot", name)
		}
	}
	if name == "head.json" || name == stopName {
		return fault.Invalid.New("a released file can not be named %s: a channel's own file is", name)
	}
	return nil
}

// targetFile is where a target lies in the folder (TUF 1.0, section 6.2).
func targetFile(target, sha string) string {
	return path.Join("targets", path.Dir(target), sha+"."+path.Base(target))
}

// metadataFile is where a version of a role's metadata lies.
func metadataFile(role string, version int64) string {
	return fmt.Sprintf("metadata/%d.%s.json", version, role)
}

const timestampFile = "metadata/timestamp.json"

// stopRole may only stop offers, and is signed online. Its name is no product's
// id, as the names of bins are none.
const (
	stopRole = "~stop"
	stopName = "stop.json"
)

func binPrefix(product string) string { return product + "~bin" }
