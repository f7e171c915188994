package portal

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"time"

	"clerestory.dev/clerestory/internal/window/portal/frame"
)

type object = map[string]any

// describe makes the OpenAPI 3.1 description from the table of routes.
func describe(vendor, url, version string, routes []frame.Route) ([]byte, error) {
	schemas := object{}
	problem := schemaOf(reflect.TypeFor[frame.Problem](), schemas)
	paths := object{}
	for _, rt := range routes {
		for format, pattern := range rt.URLs() {
			path := plainPath(pattern)
			item, ok := paths[path].(object)
			if !ok {
				item = object{}
				paths[path] = item
			}
			item[strings.ToLower(rt.Method)] = operation(rt, format, path, problem, schemas)
		}
	}
	doc := object{
		"openapi":    "3.1.0",
		"info":       object{"title": vendor + " transparency", "version": firstWord(version, "0"), "description": "Every page as data. Statements, proofs and bundles can be checked without trusting this server."},
		"servers":    []any{object{"url": url}},
		"paths":      paths,
		"components": object{"schemas": schemas},
	}
	b, err := json.MarshalIndent(doc, "", " ")
	if err != nil {
		return nil, fmt.Errorf("describing the API: %w", err)
	}
	return append(b, '\n'), nil
}

func operation(rt frame.Route, format, path string, problem object, schemas object) object {
	content := object{mediaType(rt, format): object{"schema": object{"type": "string"}}}
	if format == "json" {
		content = object{"application/json": object{"schema": schemaOf(reflect.TypeOf(rt.Data), schemas)}}
	}
	ok := object{"description": rt.Summary, "content": content}
	op := object{"summary": rt.Summary, "responses": object{
		"200":     ok,
		"default": object{"description": "What went wrong (RFC 9457)", "content": object{"application/problem+json": object{"schema": problem}}},
	}}
	var params []any
	for _, m := range wildcards.FindAllStringSubmatch(path, -1) {
		params = append(params, object{"name": m[1], "in": "path", "required": true, "schema": object{"type": "string"}})
	}
	if rt.Method == "GET" {
		for _, q := range rt.Query {
			params = append(params, object{"name": q.Name, "in": "query", "description": q.Hint, "schema": object{"type": "string"}})
		}
	} else if len(rt.Query) > 0 {
		fields := object{}
		for _, q := range rt.Query {
			fields[q.Name] = object{"type": "string", "description": q.Hint}
		}
		op["requestBody"] = object{"content": object{"application/x-www-form-urlencoded": object{"schema": object{"type": "object", "properties": fields}}}}
	}
	if params != nil {
		op["parameters"] = params
	}
	return op
}

var wildcards = regexp.MustCompile(`\{(\w+)\}`)

// plainPath is a mux pattern as people and OpenAPI write it.
func plainPath(pattern string) string {
	return strings.ReplaceAll(strings.TrimSuffix(pattern, "{$}"), "...}", "}")
}

func mediaType(rt frame.Route, format string) string {
	switch format {
	case "":
		return "text/html"
	case "csv":
		return "text/csv"
	case "dsse":
		return "application/vnd.dsse.envelope.v1+json"
	case "proof":
		return "text/plain"
	}
	return rt.Type
}

func formatsOf(rt frame.Route) string {
	if rt.Machine {
		return rt.Type
	}
	return strings.Join(append([]string{"HTML"}, rt.Formats...), ", ")
}

func firstWord(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// schemaOf is the JSON Schema of what encoding/json makes of a type. Named
// structs go to schemas, and are referred to.
func schemaOf(t reflect.Type, schemas object) object {
	switch t {
	case reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case reflect.TypeFor[json.RawMessage]():
		return object{}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return object{"anyOf": []any{schemaOf(t.Elem(), schemas), object{"type": "null"}}}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return object{"type": "string", "contentEncoding": "base64"}
		}
		return object{"type": "array", "items": schemaOf(t.Elem(), schemas)}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": schemaOf(t.Elem(), schemas)}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Float32, reflect.Float64:
		return object{"type": "number"}
	case reflect.Struct:
		name := schemaName(t)
		if _, known := schemas[name]; !known {
			schemas[name] = nil // a type that holds itself ends here
			properties, required := object{}, []string{}
			members(t, schemas, properties, &required)
			schemas[name] = object{"type": "object", "properties": properties, "required": required}
		}
		return object{"$ref": "#/components/schemas/" + name}
	}
	return object{"type": "integer"}
}

func schemaName(t reflect.Type) string {
	parts := strings.Split(t.PkgPath(), "/")
	return parts[len(parts)-1] + "." + t.Name()
}

// members adds a struct's members, those of embedded structs among them.
func members(t reflect.Type, schemas, properties object, required *[]string) {
	for f := range t.Fields() {
		if f.Anonymous {
			members(f.Type, schemas, properties, required)
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		properties[name] = schemaOf(f.Type, schemas)
		if !strings.Contains(options, "omit") {
			*required = append(*required, name)
		}
	}
}
