package statement_test

import (
	"encoding/json"
	"strings"
	"testing"

	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify/verifytest"
)

type sample struct {
	Name  string            `json:"name"`
	Count int64             `json:"count"`
	Bytes []byte            `json:"bytes"`
	Free  map[string]string `json:"free"`
	Raw   json.RawMessage   `json:"raw"`
	Kids  []sample          `json:"kids"`
}

func TestTwoReadersSeeTheSame(t *testing.T) {
	for _, bad := range []string{
		`{"name":"a","name":"b"}`, `{"name":"a","n\u0061me":"b"}`, `{"Name":"a"}`, `{"name":null}`, `{"kids":[null]}`,
		"{\"\u212aids\":[]}", "{\"kid\u017f\":[]}", `{"count":1.0}`, `{"count":1e3}`, `{"count":-0}`, `{"count":9007199254740992}`,
		`{"count":-9007199254740992}`, `{"bytes":"QQ=\n="}`, `{"bytes":"QR=="}`, `{"name":"\ud800"}`, `{"name":"\udc00\ud800"}`,
		`{"x":"\ud800\u0041"}`, "{\"x\":\"\xff\"}", `{"name":"a"} {}`, `{"name":"a",}`, `{"raw":{"a":1,"a":2}}`, `{"free":{"a":"","a":""}}`,
		`{"kids":[{"Name":"a"}]}`, `{"x":` + strings.Repeat("[", 30) + strings.Repeat("]", 30) + `}`, ``, `{`, `[`, `{"name"`,
	} {
		var s sample
		if err := statement.Decode([]byte(bad), &s); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
	for _, good := range []string{
		`{"name":"\ud83d\ude00 \\ud800","count":9007199254740991,"bytes":"QQ==","free":{"Name":"a","name":"b"},"raw":{"A":null,"a":1e400}}`,
		`{"x":null,"y":1.5,"Kid":1,"kids":[{"count":-1}]}`,
	} {
		var s sample
		if err := statement.Decode([]byte(good), &s); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
}

func TestForeignPredicateIsKeptAsItCame(t *testing.T) {
	body := `{"Z": 1.50, "a":[ ], "z":null}`
	p := `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"x","digest":{"blake3":"00"}}],"predicateType":"https://example.org/x","predicate":` + body + `}`
	s, err := statement.Parse([]byte(p))
	if err != nil {
		t.Fatal(err)
	}
	if string(s.Predicate) != body || s.Kind() != "https://example.org/x" {
		t.Errorf("kept %s as %s", s.Predicate, s.Kind())
	}
	if _, err := statement.As(s, &statement.Source{}); err == nil {
		t.Error("a foreign statement passed for a source statement")
	}
}

func FuzzParse(f *testing.F) {
	v := verifytest.New(f)
	r := v.Release(verifytest.Plan{})
	v.Revoke(r.Release, "release", verifytest.Product, v.Keys["rel"])
	for _, raw := range v.Log.Entries {
		e, err := statement.ParseEnvelope(raw)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(e.Payload)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := statement.Parse(b)
		if err != nil {
			return
		}
		// What was accepted stays acceptable when another writes it anew.
		again, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if len(again) > statement.Limits.Envelope {
			return
		}
		if _, err := statement.Parse(again); err != nil {
			t.Errorf("accepted %q, but not %q: %v", b, again, err)
		}
	})
}
