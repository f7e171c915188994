package statement

import (
	"embed"
	"strings"
)

//go:embed schema/*.json
var schemas embed.FS

// Schema is the JSON Schema (draft 2020-12) of the statements of a kind by its
// short name, of a "statement" of any kind, or of an "envelope". A schema says
// less than Validate: it can not compare two members.
func Schema(kind string) ([]byte, bool) {
	if strings.ContainsAny(kind, "/.") {
		return nil, false
	}
	b, err := schemas.ReadFile("schema/" + kind + ".json")
	return b, err == nil
}
