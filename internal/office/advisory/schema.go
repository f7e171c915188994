package advisory

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"clerestory.dev/clerestory/internal/base/fault"
)

// The schemas are those of OASIS (CSAF 2.0) and FIRST (CVSS), unchanged.
//
//go:embed schema/*.json
var schemas embed.FS

// csafSchema compiles the schema once; nothing is fetched.
var csafSchema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	for name, url := range map[string]string{
		"csaf_json_schema": "https://docs.oasis-open.org/csaf/csaf/v2.0/csaf_json_schema.json",
		"cvss-v2.0":        "https://www.first.org/cvss/cvss-v2.0.json",
		"cvss-v3.0":        "https://www.first.org/cvss/cvss-v3.0.json",
		"cvss-v3.1":        "https://www.first.org/cvss/cvss-v3.1.json",
	} {
		b, err := schemas.ReadFile("schema/" + name + ".json")
		if err != nil {
			return nil, err
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			return nil, err
		}
		if err := c.AddResource(url, doc); err != nil {
			return nil, err
		}
	}
	return c.Compile("https://docs.oasis-open.org/csaf/csaf/v2.0/csaf_json_schema.json")
})

// againstSchema lists where a document does not fit the standard's schema.
func againstSchema(raw []byte) (Findings, error) {
	s, err := csafSchema()
	if err != nil {
		return nil, fmt.Errorf("reading the CSAF schema: %w", err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, fault.Invalid.New("reading the advisory: %w", err)
	}
	err = s.Validate(v)
	if err == nil {
		return nil, nil
	}
	wrong, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return nil, fmt.Errorf("holding the advisory against the CSAF schema: %w", err)
	}
	var found Findings
	leaves(wrong, &found)
	return found, nil
}

// leaves are the causes that have no further cause.
func leaves(e *jsonschema.ValidationError, found *Findings) {
	for _, c := range e.Causes {
		leaves(c, found)
	}
	if len(e.Causes) == 0 {
		words := e.ErrorKind.LocalizedString(message.NewPrinter(language.English))
		found.add("schema", "/"+strings.Join(e.InstanceLocation, "/"), "%s", words)
	}
}
