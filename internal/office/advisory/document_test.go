package advisory_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/office/advisory"
)

func TestAGoodDocumentIsUnderstood(t *testing.T) {
	d, err := advisory.Parse(example(t))
	if err != nil {
		t.Fatal(err)
	}
	if h := d.Head(); d.Slug != "lantern-2026-001" || h.ID != "LANTERN-2026-001" || h.Severity != "High" || len(d.Versions()) != 3 {
		t.Fatalf("%+v %v", d.Head(), d.Versions())
	}
	if _, err := advisory.Parse(second(t)); err != nil {
		t.Fatal(err)
	}
}

// TestWhatTheStandardOrTheHouseForbidsIsRefused, each with the test that found it
// and the place.
func TestWhatTheStandardOrTheHouseForbidsIsRefused(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{`"csaf_version": "2.0"`, `"csaf_version": "9.0"`, "/document/csaf_version (schema)"},
		{`"publisher": {`, `"publisher": { "extra": 1,`, "(schema)"},
		{`"baseScore": 7.5`, `"baseScore": 75`, "(schema)"},
		{`"known_affected": [ "L-120" ]`, `"known_affected": [ "L-999" ]`, `/vulnerabilities/0/product_status/known_affected (6.1.1): the product id "L-999" is not defined`},
		{`"product_id": "L-121"`, `"product_id": "L-120"`, "(6.1.2)"},
		{`"fixed": [ "L-121" ]`, `"fixed": [ "L-121", "L-120" ]`, "(6.1.6)"},
		{`"name": "1.2.0"`, `"name": "< 1.2.0"`, "(6.1.31)"},
		{`"version": "1"`, `"version": "2"`, "(6.1.16)"},
		{`"number": "1"`, `"number": "0"`, "(6.1.18)"},
		{`"number": "1"`, `"number": "1.0.0"`, "(6.1.30)"},
		{`"number": "1", "summary": "First version" }`, `"number": "1", "summary": "First version" }, { "date": "2026-03-01T10:00:00Z", "number": "1", "summary": "Again" }`, "(6.1.22)"},
		{`"details": "Update to 1.2.1.", "product_ids": [ "L-120" ]`, `"details": "Update."`, "(6.1.29)"},
		{`"label": "vulnerable_code_not_present", "product_ids": [ "L-110" ]`, `"label": "vulnerable_code_not_present"`, "(6.1.32)"},
		{`"notes": [ { "category": "description", "text": "The length of a name is not checked.", "title": "What it is" } ],`, ``, "(6.1.27.5)"},
		{`"cve": "CVE-2026-1234",`, ``, "(6.1.27.8)"},
		{`"category": "csaf_security_advisory"`, `"category": "csaf_base"`, `/document/category (house)`},
		{`"label": "WHITE"`, `"label": "AMBER"`, `(house): the label is "AMBER"`},
		{`"status": "final"`, `"status": "draft"`, "/document/tracking/status (house)"},
		{`"category": "vendor", "contact`, `"category": "coordinator", "contact`, "/document/publisher/category (house)"},
		{`"category": "product_version",`, `"category": "product_version_range",`, "a range of versions"},
		{`lantern@1.2.0`, `lantern@*`, "an exact version"},
		{`pkg:generic/lantern-works/lantern@1.2.0`, `pkg:generic/lantern@1.2.0`, "must be a package URL"},
		{`pkg:generic/lantern-works/lantern@1.2.0`, `pkg:generic/lantern-works/lantern@1.2.1`, "under another"},
		{`"title": "Missing`, `"Title": "x", "title": "Missing`, "Title"},
		{`"lang": "en"`, `"lang": "en", "lang": "de"`, "lang"},
		{`"lang": "en"`, `"lang": null`, "null"},
		{`"id": "LANTERN-2026-001"`, `"id": "___"`, "/document/tracking/id (house)"},
	} {
		_, err := advisory.Parse(example(t, c.from, c.to))
		if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.to, err, c.want)
		}
	}
}

func TestAVEXDocumentSaysWhyAndWhatToDo(t *testing.T) {
	const category = `"category": "csaf_security_advisory"`
	if _, err := advisory.Parse(example(t, category, `"category": "csaf_vex"`)); err != nil {
		t.Fatal(err)
	}
	for want, cut := range map[string]string{
		"(6.1.27.9)":  `"flags": [ { "label": "vulnerable_code_not_present", "product_ids": [ "L-110" ] } ],`,
		"(6.1.27.10)": `"remediations": [ { "category": "vendor_fix", "details": "Update to 1.2.1.", "product_ids": [ "L-120" ] } ],`,
	} {
		if _, err := advisory.Parse(example(t, category, `"category": "csaf_vex"`, cut, "")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestAllThatIsWrongIsToldAtOnceAndNotWithoutEnd(t *testing.T) {
	_, err := advisory.Parse(example(t, `"status": "final"`, `"status": "draft"`, `"label": "WHITE"`, `"label": "RED"`))
	if found, ok := errors.AsType[advisory.Findings](err); !ok || len(found) != 2 {
		t.Errorf("got %v", err)
	}
	many := strings.Repeat(`"X",`, 2000)
	many = strings.Replace(many, `"X",`, "", 1)
	for i := range 2000 {
		many = strings.Replace(many, `"X"`, `"X`+strings.Repeat("y", i%7)+string(rune('0'+i%10))+`"`, 1)
	}
	_, err = advisory.Parse(example(t, `"known_affected": [ "L-120" ]`, `"known_affected": [ `+many+` "L-120" ]`))
	if found, ok := errors.AsType[advisory.Findings](err); !ok || len(found) == 0 || len(found) > advisory.Caps.Findings {
		t.Errorf("got %d findings", len(found))
	}
	if _, err := advisory.Parse(make([]byte, advisory.Caps.Document+1)); !errors.Is(err, fault.Invalid) {
		t.Errorf("too large: %v", err)
	}
	deep := strings.Repeat(`{"branches":[`, 5000)
	if _, err := advisory.Parse([]byte(`{"product_tree":` + deep)); !errors.Is(err, fault.Invalid) {
		t.Errorf("too deep: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(example(f))
	f.Add(second(f))
	f.Add([]byte(`{"document":{"tracking":{"id":"a"}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, err := advisory.Parse(raw)
		if err != nil {
			if fault.IsInternal(err) {
				t.Fatalf("not the document's fault: %v", err)
			}
			return
		}
		if strings.Trim(d.Slug, "abcdefghijklmnopqrstuvwxyz0123456789_+-") != "" || len(d.Versions()) == 0 {
			t.Fatalf("slug %q, versions %v", d.Slug, d.Versions())
		}
		if err := d.VEX("lantern-works", "Lantern", "https://x.example/vex", 1).Validate(nil); err != nil {
			t.Fatalf("the VEX document is not valid: %v", err)
		}
	})
}

func TestTheExampleOfTheDemoIsValid(t *testing.T) {
	b, err := os.ReadFile("../../../programmes/demo/.example/clerestory-2026-001.json")
	if err != nil {
		t.Fatal(err)
	}
	if d, err := advisory.Parse(b); err != nil || d.Versions()[0].Product != "clerestory" {
		t.Fatal(err)
	}
}
