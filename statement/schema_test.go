package statement_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify/verifytest"
)

func compile(t *testing.T, kind string) *jsonschema.Schema {
	t.Helper()
	b, ok := statement.Schema(kind)
	if !ok {
		t.Fatalf("there is no schema of %s", kind)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(kind+".json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(kind + ".json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func fits(t *testing.T, s *jsonschema.Schema, b []byte) error {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(v)
}

// samples are good statements, one of each kind at least.
func samples(t *testing.T) map[string][][]byte {
	t.Helper()
	v := verifytest.New(t)
	r := v.Release(verifytest.Plan{})
	v.Revoke(r.Release, "release", verifytest.Product, v.Keys["rel"])
	v.Key(statement.Key{Action: "revoke", Role: "release", Holder: "rel", Products: []string{"*"}, Since: 3, Reason: "lost"}, v.Keys["rel"], v.RootKeys...)
	v.Say([]statement.Subject{{Name: "programme:lantern-works", Digest: map[string]string{"sha256": verifytest.SHA256("x")}}},
		&statement.Programme{Vendor: "lantern-works", Name: "Lantern Works", Files: map[string]string{"programme.yaml": verifytest.SHA256("y")}, Changes: []string{"first"}, At: verifytest.At}, v.Keys["ada"])
	tester := verifytest.NewKey("tst")
	v.Grant(tester, "tester", "tst", verifytest.Product)
	v.Say([]statement.Subject{{Name: "hashes.hsb", Digest: map[string]string{"sha256": verifytest.SHA256("z")}}},
		&statement.TestResult{Result: statement.TestFailed, Configuration: []statement.Resource{{Name: "replay-clean"}}, FailedTests: []string{"calc.exe"},
			Clerestory: statement.TestFacts{Product: verifytest.Product, Numbers: map[string]int64{"files": 2}, At: verifytest.At}}, tester)
	after := verifytest.NewKey("rev")
	v.Grant(after, "reviewer", "rev", verifytest.Product)
	v.Say([]statement.Subject{{Name: "entry:9", Digest: map[string]string{"sha256": verifytest.SHA256("w")}}},
		&statement.Review{Entry: 9, Product: verifytest.Product, Version: "1.2.0", Outcome: statement.ReviewUpheld, Findings: "It could not wait.", At: verifytest.At}, after)
	v.Release(verifytest.Plan{Release: func(r *statement.Release) {
		r.Version, r.Emergency = "1.2.1", statement.Emergency{Why: "a worm is about", ReviewHours: 48}
	}})
	sec := verifytest.NewKey("sec")
	v.Grant(sec, "security", "sec", verifytest.Product)
	v.SayAdvisory(nil, sec)
	v.SayVEX(verifytest.Files(), nil, sec)
	v.SayDisclosure(nil, sec)
	out := map[string][][]byte{}
	for _, raw := range v.Log.Entries {
		e, err := statement.ParseEnvelope(raw)
		if err != nil {
			t.Fatal(err)
		}
		s, err := statement.Parse(e.Payload)
		if err != nil {
			t.Fatal(err)
		}
		out[s.Kind()] = append(out[s.Kind()], e.Payload)
		out["statement"] = append(out["statement"], e.Payload)
		out["envelope"] = append(out["envelope"], raw)
	}
	return out
}

func TestSchemasAcceptRealStatements(t *testing.T) {
	all := samples(t)
	for _, k := range statement.Kinds {
		if len(all[k.Name]) == 0 {
			t.Errorf("there is no sample of %s", k.Name)
		}
	}
	for kind, list := range all {
		s := compile(t, kind)
		for _, b := range list {
			if err := fits(t, s, b); err != nil {
				t.Errorf("%s: %v\n%s", kind, err, b)
			}
		}
	}
	if _, ok := statement.Schema("../schema/key"); ok {
		t.Error("a path passed for a kind")
	}
}

// TestSchemasRefuseWhatValidateRefuses changes one text of a good statement.
func TestSchemasRefuseWhatValidateRefuses(t *testing.T) {
	all := samples(t)
	sum := verifytest.SHA256("sbom")
	for kind, changes := range map[string][][2]string{
		"release": {
			{`"product":"lantern"`, `"product":"Lantern"`}, {`"version":"1.2.0"`, `"version":"-1"`}, {`"channel":"stable",`, ``}, {`"files":3`, `"files":0`},
			{`"files":3`, `"files":9007199254740992`}, {`"name":"linux/lantern"`, `"name":""`}, {sum, strings.ToUpper(sum)}, {`"size":4`, `"size":-1`}, {`"at":"2026-03-01T`, `"at":"2026-02-30T`},
			{`lantern-1.2.0.cdx.json`, `../sbom`}, {`lantern-1.2.0.cdx.json`, `a//b`}, {`lantern-1.2.0.cdx.json`, `C:b`}, {`"commit":"1f`, `"commit":"`}, {`"_type":"https`, `"_type":"http`},
		},
		"build": {{`"externalParameters":{`, `"externalParameters":[],"x":{`}, {`"id":"https://bld.example/builder"`, `"id":""`}, {`{"gitCommit":"1f`, `{"gitCommit":"f`}, {`"startedOn":"2026`, `"startedOn":"26`}},
		"test": {
			{`"result":"FAILED"`, `"result":"failed"`}, {`"result":"FAILED"`, `"result":"PASSED"`}, {`[{"name":"replay-clean"}]`, `[]`}, {`["calc.exe"]`, `[""]`},
			{`"files":2`, `"files":-2`}, {`"files":2`, `"":2`}, {`"product":"lantern"`, `"product":"Lantern"`}, {`"at":"2026`, `"at":"26`},
		},
		"source": {{`"files":321`, `"files":-1`}, {`"files":321`, `"files":null`}, {`"files":321`, `"files":1.5`}, {`"gitTree":`, `"gittree":`}, {`"repository":"https:`, `"repository":"\u202ehttps:`}},
		"key": {
			{`"action":"grant"`, `"action":"give"`}, {`"role":"source"`, `"role":"root"`}, {`"holder":"src"`, `"holder":"Ada Lovelace"`}, {`"products":["lantern"]`, `"products":[]`},
			{`"action":"grant"`, `"since":7,"action":"grant"`}, {`"action":"grant"`, `"action":"retire"`}, {`"publicKey":"`, `"publicKey":"AAAA`}, {`"name":"key:`, `"name":"kez:`},
		},
		"advisory": {
			{`"product":"lantern"`, `"product":"Lantern"`}, {`"tlp":"WHITE"`, `"tlp":"AMBER"`}, {`"status":"final"`, `"status":"draft"`}, {`"id":"CVE-2026-1234"`, `"id":"CVE 2026"`},
			{`"affected":["1.2.0"],"fixed":["1.2.1"],"notAffected":["1.1.0"]`, `"affected":[]`}, {`"affected":["1.2.0"]`, `"affected":["<1.2"]`}, {`"size":10`, `"size":0`}, {`"id":"LANTERN-2026-001"`, `"id":""`},
			{`"sha256":"`, `"sha256":"0`}, {`"name":"lantern-2026-001.json"`, `"name":"../x.json"`}, {`"released":"2026`, `"released":"26`}, {`"title":"Lantern can`, `"title":"\u202eLantern can`},
		},
		"vex": {
			{`ns/v0.2.0`, `ns/v9`}, {`"version":1`, `"version":0`}, {`"status":"affected"`, `"status":"maybe"`}, {`"status":"affected"`, `"status":"fixed"`}, {`"status":"affected"`, `"justification":"component_not_present","status":"affected"`},
			{`,"action_statement":"Update to 1.2.1."`, ``}, {`"@id":"pkg:generic/lantern-works/`, `"@id":"pkg:generic/`}, {`@1.2.0","identifiers"`, `@1.2.0?arch=x","identifiers"`}, {`"author":"Lantern Works"`, `"author":""`},
		},
		"disclosure": {
			{`"fixDays":[9,40]`, `"fixDays":[9,-40]`}, {`"open":3`, `"open":-3`}, {`"from":"2026-02-01T00:00:00Z"`, `"from":"2026-02-01"`}, {`"name":"disclosure:`, `"name":"disclosur:`},
			{`"triage":1,`, `"triage":-1,`}, {`"receipts":["`, `"receipts":["0`}, {`"received":1`, `"received":1.5`},
		},
		"review":     {{`"outcome":"upheld"`, `"outcome":"fine"`}, {`"entry":9`, `"entry":-9`}, {`"findings":"It could`, `"findings":"","x":"It could`}, {`"version":"1.2.0"`, `"version":""`}, {`"product":"lantern"`, `"product":"*"`}},
		"programme":  {{`"vendor":"lantern-works"`, `"vendor":""`}, {`"changes":["first"]`, `"changes":[""]`}, {`"programme.yaml":"`, `"programme.yaml":"0`}, {`"name":"programme:`, `"name":"programm:`}},
		"revocation": {{`"reason":"it deletes the wrong files"`, `"reason":""`}, {`"entry":9`, `"entry":-9`}, {`"name":"entry:9"`, `"name":"entry:09"`}, {`"product":"lantern"`, `"product":"*"`}},
	} {
		s := compile(t, kind)
		for _, c := range changes {
			good := string(all[kind][0])
			bad := []byte(strings.Replace(good, c[0], c[1], 1))
			if string(bad) == good {
				t.Errorf("%s: %s is not in %s", kind, c[0], good)
				continue
			}
			if _, err := statement.Parse(bad); err == nil {
				t.Errorf("%s with %s is valid", kind, c[1])
			}
			if fits(t, s, bad) == nil {
				t.Errorf("%s with %s fits the schema", kind, c[1])
			}
		}
	}
}

// TestSchemasHaveTheMembersOfTheGoTypes compares both, either way.
func TestSchemasHaveTheMembersOfTheGoTypes(t *testing.T) {
	for kind, p := range map[string]any{
		"release": statement.Release{}, "build": statement.Build{}, "source": statement.Source{}, "key": statement.Key{},
		"programme": statement.Programme{}, "test": statement.TestResult{}, "revocation": statement.Revocation{},
		"advisory": statement.Advisory{}, "review": statement.Review{}, "vex": statement.VEX{}, "disclosure": statement.Disclosure{},
	} {
		node := schemaNode(t, kind)
		sameMembers(t, kind, node, reflect.TypeFor[statement.Statement]())
		sameMembers(t, kind+".predicate", node["properties"].(map[string]any)["predicate"].(map[string]any), reflect.TypeOf(p))
	}
	sameMembers(t, "envelope", schemaNode(t, "envelope"), reflect.TypeFor[statement.Envelope]())
}

func schemaNode(t *testing.T, kind string) map[string]any {
	t.Helper()
	b, _ := statement.Schema(kind)
	var node map[string]any
	if err := json.Unmarshal(b, &node); err != nil {
		t.Fatal(err)
	}
	return node
}

// sameMembers compares a schema's properties with a Go type's members.
func sameMembers(t *testing.T, path string, node map[string]any, typ reflect.Type) {
	t.Helper()
	switch typ.Kind() {
	case reflect.Pointer:
		sameMembers(t, path, node, typ.Elem())
	case reflect.Slice:
		if items, ok := node["items"].(map[string]any); ok {
			sameMembers(t, path+"[]", items, typ.Elem())
		}
	case reflect.Struct:
		props, _ := node["properties"].(map[string]any)
		seen := map[string]bool{}
		for f := range typ.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			sub, ok := props[name].(map[string]any)
			if !ok {
				t.Errorf("%s.%s is not in the schema", path, name)
				continue
			}
			seen[name] = true
			sameMembers(t, path+"."+name, sub, f.Type)
		}
		for name := range props {
			if !seen[name] && len(seen) > 0 {
				t.Errorf("%s.%s is in the schema, but not in Go", path, name)
			}
		}
	}
}
