package programme

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"clerestory.dev/clerestory/internal/base/fault"
)

const demo = "../../../programmes/demo"

func answers() Answers {
	return Answers{
		Now: at, Random: bytes.NewReader(make([]byte, 24)),
		Policies: fstest.MapFS{"visit.cedar": {Data: []byte("permit(principal, action, resource);\n")}, "policy.go": {Data: []byte("package policy")}},
	}
}

func TestANewProgrammePassesItsOwnCheck(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "programme")
	if err := Init(dir, answers()); err != nil {
		t.Fatal(err)
	}
	p, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if p.Vendor.ID != "example" || p.Security.Expires != "2027-10-01T00:00:00Z" || len(p.Policies()) != 1 || len(p.Files) != 4 {
		t.Fatalf("wrote %+v", p)
	}
	main, _ := os.ReadFile(filepath.Join(dir, Main))
	line, _, _ := strings.Cut(string(main), "\n")
	_, target, ok := strings.Cut(line, "# yaml-language-server: $schema=")
	if found, err := os.ReadFile(filepath.Join(dir, target)); !ok || err != nil || !bytes.Equal(found, Schema()) {
		t.Fatalf("the first line %q does not lead an editor to the schema: %v", line, err)
	}
	conforms(t, main)
}

func TestAnswersAreWrittenAsTheyAre(t *testing.T) {
	a := answers()
	a.Vendor = Vendor{ID: "acme", Name: `A "quoted": #name & {co} — Ünï`, URL: "https://acme.example", Contact: "https://acme.example/ask"}
	a.People = []Person{{ID: "a", Name: "Ann: 'x'", Roles: []string{Admin, Approver}}, {ID: "b", Roles: []string{Approver}}, {ID: "c", Roles: []string{Approver}}}
	a.Approvals = 3
	dir := t.TempDir()
	if err := Init(dir, a); err != nil {
		t.Fatal(err)
	}
	p, err := Open(dir)
	if err != nil || p.Vendor != a.Vendor || !reflect.DeepEqual(p.People, a.People) || p.Approvals != 3 {
		t.Fatalf("read back %+v, %v", p, err)
	}
}

func TestAWrongAnswerWritesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "p")
	for _, spoil := range []func(*Answers){
		func(a *Answers) { a.Vendor.ID = "Not An Id" },
		func(a *Answers) { a.Vendor.Name = "two\nlines: x" },
		func(a *Answers) { a.Approvals = 9 },
		func(a *Answers) { a.Expires = "2020-01-01T00:00:00Z" },
		func(a *Answers) { a.Vendor.Name = "x\u202ey" },
	} {
		a := answers()
		spoil(&a)
		if err := Init(dir, a); !errors.Is(err, fault.Invalid) {
			t.Errorf("got %v, want invalid", err)
		}
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("something was written: %v", err)
	}
}

func TestAFolderThatHoldsSomethingIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, ".git"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "thesis.txt"), []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Init(dir, answers()); !errors.Is(err, fault.Conflict) {
		t.Fatalf("got %v, want a conflict", err)
	}
	if there, _ := os.ReadDir(dir); len(there) != 2 {
		t.Fatalf("the folder has %v", there)
	}
	if err := os.Remove(filepath.Join(dir, "thesis.txt")); err != nil {
		t.Fatal(err)
	}
	if err := Init(dir, answers()); err != nil {
		t.Fatalf("a fresh git checkout: %v", err)
	}
}

func conforms(t *testing.T, main []byte) {
	t.Helper()
	if err := schemaRefuses(t, main); err != nil {
		t.Errorf("the schema refuses it: %v", err)
	}
}

func schemaRefuses(t *testing.T, main []byte) error {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("programme.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("programme.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := yaml.Unmarshal(main, &v); err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(value)
}

func TestTheDemoIsGoodForEditorsAndForUs(t *testing.T) {
	p, err := Open(demo)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.CheckAt(at); err != nil {
		t.Error(err)
	}
	if len(p.Policies()) == 0 || p.Vendor.ID != "clerestory" || !slices.Equal(p.Products[0].Channels, []string{"stable", "beta"}) {
		t.Errorf("the demo is %+v", p)
	}
	main, _ := p.File(Main)
	conforms(t, main.Content)
	line, _, _ := strings.Cut(string(main.Content), "\n")
	_, target, _ := strings.Cut(line, "$schema=")
	if found, err := os.ReadFile(filepath.Join(demo, target)); err != nil || !bytes.Equal(found, Schema()) {
		t.Errorf("its first line %q does not lead to the schema: %v", line, err)
	}
}

// What the schema can express, an editor must mark just as we refuse it.
func TestTheSchemaRefusesWhatWeRefuse(t *testing.T) {
	for _, c := range [][2]string{
		{"approvals: 2", "approvals: 1"}, {"approvals: 2", "approvals: x"}, {"approvals: 2", "aprovals: 2"}, {"id: acme", "id: ACME"},
		{"roles: [admin]", "roles: [boss]"}, {"roles: [admin]", "roles: []"}, {"- id: ada\n", "- id: ada\n    name: Ada\n"},
		{"[stable, beta]", "[stable, stable]"}, {"origin: acme", "origin: https://acme"}, {"name: Acme", "name: 1.1"}, {"languages: [en]", "languages: [E]"},
	} {
		text := strings.Replace(good, c[0], c[1], 1)
		if _, err := Read(folder(text)); err == nil {
			t.Errorf("we accept %q", c[1])
		}
		if schemaRefuses(t, []byte(text)) == nil {
			t.Errorf("the schema accepts %q", c[1])
		}
	}
	conforms(t, []byte(good))
}

type node struct {
	Type                 string           `json:"type"`
	Description          string           `json:"description"`
	Properties           map[string]*node `json:"properties"`
	Required             []string         `json:"required"`
	Items                *node            `json:"items"`
	Ref                  string           `json:"$ref"`
	AdditionalProperties *bool            `json:"additionalProperties"`
}

func TestTheSchemaHasExactlyTheKeysThatWeRead(t *testing.T) {
	var top node
	if err := json.Unmarshal(Schema(), &top); err != nil {
		t.Fatal(err)
	}
	sameKeys(t, "", reflect.TypeFor[Programme](), &top)
}

func sameKeys(t *testing.T, path string, typ reflect.Type, n *node) {
	switch typ.Kind() {
	case reflect.Slice:
		if n.Items == nil && n.Ref != "" && typ.Elem().Kind() == reflect.String {
			return // a list of words that several keys share
		}
		if n.Items == nil {
			t.Errorf("%s: no items in the schema", path)
			return
		}
		sameKeys(t, path+"[]", typ.Elem(), n.Items)
	case reflect.Struct:
		s := fieldsOf(typ)
		if n.AdditionalProperties == nil || *n.AdditionalProperties {
			t.Errorf("%s: the schema lets unknown keys pass", path)
		}
		for key := range n.Properties {
			if !slices.Contains(s.names, key) {
				t.Errorf("%s.%s is in the schema only", path, key)
			}
		}
		for _, key := range s.names {
			sub := n.Properties[key]
			if sub == nil {
				t.Errorf("%s.%s is in Go only", path, key)
				continue
			}
			if sub.Description == "" || s.by[key].is == "" {
				t.Errorf("%s.%s is not described", path, key)
			}
			if s.by[key].must != slices.Contains(n.Required, key) {
				t.Errorf("%s.%s: Go and the schema differ on whether it must be there", path, key)
			}
			sameKeys(t, path+"."+key, typ.Field(s.by[key].index).Type, sub)
		}
	}
}

func TestSecurityTxtIsWhatRFC9116Asks(t *testing.T) {
	p := mustRead(t, folder(good))
	want := "Contact: mailto:security@acme.example\nExpires: 2027-06-30T00:00:00Z\nPreferred-Languages: en\nCanonical: https://acme.example/.well-known/security.txt\n" +
		"CSAF: https://acme.example/.well-known/csaf/provider-metadata.json\nPolicy: https://acme.example/security\n"
	if got := p.SecurityTxt("https://acme.example/.well-known/security.txt"); got != want {
		t.Errorf("got\n%s", got)
	}
}
