package portal_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"clerestory.dev/clerestory/internal/base/store"
)

// description is the API's own, as far as the test reads it.
type description struct {
	OpenAPI string
	Paths   map[string]map[string]struct {
		Responses map[string]struct {
			Content map[string]struct{ Schema map[string]any }
		}
	}
}

// examples fill in the parameters of paths.
var examples = strings.NewReplacer("{n}", "8", "{from}", "2", "{to}", "5", "{product}", "lantern", "{version}", "1.3.0", "files/{name}", "files/linux/lantern", "bundles/{name}", "bundles/linux/lantern.clerestory",
	"{sum}", "9a3f9a3f9a3f9a3f9a3f9a3f9a3f9a3f9a3f9a3f9a3f9a3f9a3f9a3f9a3f9a3f", "roots/{file}", "roots/1.root.json", "{slug}", "lantern-2026-001", "csaf/{file}", "csaf/white/index.txt", "{file}", "checkpoint")

// TestTheAPIAnswersAsItIsDescribed asks every address of the description, and
// holds each JSON answer against its schema.
func TestTheAPIAnswersAsItIsDescribed(t *testing.T) {
	s := newSite(t)
	s.furnish()
	s.furnishBase()
	s.warn()
	report := must(s.advisories.Cases(ctx, 1))(t)[0].ID
	s.as("boris").get("/audit") // something to be audited
	raw := s.visitor().get("/api.json").body
	var api description
	if err := json.Unmarshal([]byte(raw), &api); err != nil || api.OpenAPI != "3.1.0" {
		t.Fatalf("%v %.200s", err, raw)
	}
	compiler := jsonschema.NewCompiler()
	doc := must(jsonschema.UnmarshalJSON(strings.NewReader(raw)))(t)
	if err := compiler.AddResource("api.json", doc); err != nil {
		t.Fatal(err)
	}
	checked, visitors := 0, map[string]*visitor{}
	tests := must(s.db.Find(ctx, store.Filter{Kind: "test", Limit: 100}))(t)
	test := tests[len(tests)-1].N // of what is released
	for path, methods := range api.Paths {
		for method, op := range methods {
			if method != "get" {
				continue
			}
			who := "ada"
			if strings.HasPrefix(path, "/audit") {
				who = "chidi"
			}
			if strings.HasSuffix(path, "/request") { // of a proposal, for somebody who may approve it
				who, path = "boris", strings.Replace(path, "{version}", "1.4.0", 1)
			}
			if strings.HasPrefix(path, "/bases/") {
				path = strings.NewReplacer("{product}", base, "{version}", "2026.3.3", "{n}", fmt.Sprint(test)).Replace(path)
			}
			if strings.HasPrefix(path, "/security/reports") {
				who, path = "femi", strings.Replace(path, "{id}", report, 1)
			}
			if strings.HasPrefix(path, "/advisories/{slug}") {
				path = strings.Replace(path, "{version}", "1", 1)
			}
			if visitors[who] == nil { // a person signs in once
				visitors[who] = s.as(who)
			}
			got := visitors[who].get(examples.Replace(path))
			unreleased := strings.HasPrefix(path, "/bundle/sha256/") || strings.HasPrefix(path, "/log/") // not in this test's site
			if got.status != 200 && !unreleased {
				t.Errorf("%s: %d %.200s", path, got.status, got.body)
			}
			content, ok := op.Responses["200"].Content["application/json"]
			if !ok || content.Schema["$ref"] == nil {
				continue
			}
			schema := must(compiler.Compile("api.json" + content.Schema["$ref"].(string)))(t)
			if err := schema.Validate(must(jsonschema.UnmarshalJSON(bytes.NewReader([]byte(got.body))))(t)); err != nil {
				t.Errorf("%s: %v", path, err)
			}
			checked++
		}
	}
	if checked < 12 {
		t.Errorf("only %d answers have a schema", checked)
	}
}

// TestNoPageIsMissingFromTheDescription follows every link and form from page to
// page, as several people, and looks each address up.
func TestNoPageIsMissingFromTheDescription(t *testing.T) {
	s := newSite(t)
	s.furnish()
	s.warn()
	s.furnishBase()
	var api description
	if err := json.Unmarshal([]byte(s.visitor().get("/api.json").body), &api); err != nil {
		t.Fatal(err)
	}
	described := http.NewServeMux()
	for path, methods := range api.Paths {
		for method := range methods {
			pattern := strings.ToUpper(method) + " " + strings.Replace(strings.Replace(path, "{name}", "{name...}", 1), "{file}", "{file...}", 1)
			if path == "/" {
				pattern += "{$}"
			}
			if strings.Contains(path, "}.") { // ServeMux has no such wildcard; the page's own stands for it
				continue
			}
			described.HandleFunc(pattern, func(http.ResponseWriter, *http.Request) {})
		}
	}
	for _, who := range []string{"", "ada", "boris", "chidi", "femi"} {
		v := s.visitor()
		if who != "" {
			v = s.as(who)
		}
		walk(t, s, v, described)
	}
}

func walk(t *testing.T, s *site, v *visitor, described *http.ServeMux) {
	t.Helper()
	seen, queue := map[string]bool{}, []string{"GET /"}
	for len(queue) > 0 && len(seen) < 300 {
		method, path, _ := strings.Cut(queue[0], " ")
		queue = queue[1:]
		at, err := url.Parse(path)
		if err != nil || at.Host != "" || at.Scheme != "" || at.Path == "" || seen[method+at.Path] || strings.HasPrefix(at.Path, "/assets/") || strings.HasPrefix(at.Path, "/verify/files/") {
			continue
		}
		seen[method+at.Path] = true
		req := must(http.NewRequest(method, s.url+at.Path, nil))(t)
		if _, pattern := described.Handler(req); pattern == "" {
			t.Errorf("%s %s is linked, but not described", method, at.Path)
		}
		if method != "GET" {
			continue
		}
		got := v.get(path)
		if got.status >= 400 {
			t.Errorf("the link %s leads to %d", path, got.status)
		}
		if strings.HasPrefix(got.header.Get("Content-Type"), "text/html") {
			queue = append(queue, links(t, got.body)...)
		}
	}
	if len(seen) < 30 {
		t.Errorf("only %d addresses were found", len(seen))
	}
}
