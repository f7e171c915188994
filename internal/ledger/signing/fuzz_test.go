package signing_test

import (
	"bytes"
	"testing"
	"unicode"

	"clerestory.dev/clerestory/internal/ledger/signing"
	"clerestory.dev/clerestory/statement"
)

func FuzzRequest(f *testing.F) {
	r := &signing.Request{Purpose: signing.TUF, What: "w", PayloadType: signing.TUFPayload, Keys: []string{ada.KeyID()}, Threshold: 1, Expires: "2026-03-08T12:00:00Z",
		Payload: []byte(`{"_type":"snapshot","expires":"2026-04-01T00:00:00Z","meta":{"targets.json":{"version":1}},"version":2}`)}
	file, err := r.Format()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := signing.ParseRequest(b)
		if err != nil {
			return
		}
		again, err := r.Format()
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%q becomes %q, %v", b, again, err)
		}
		shown(t, r)
	})
}

// The payload is the attacker's: whatever it holds, the sight of it is printable.
func FuzzDescribe(f *testing.F) {
	f.Add([]byte(`{"_type":"root","expires":"2026-04-01T00:00:00Z","keys":{"a":{"keyval":{"public":"x`+"\n"+`y"}}},"version":2}`), false)
	f.Add([]byte(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"r","digest":{"gitCommit":"1f0c6d3e8a5b4c2d9e7f60718293a4b5c6d7e8f9"}}],`+
		`"predicateType":"https://clerestory.dev/source/v1","predicate":{"product":"p","repository":"r","x":["\u001b",null,{}],"commit":"1f0c6d3e8a5b4c2d9e7f60718293a4b5c6d7e8f9","tree":"1f0c6d3e8a5b4c2d9e7f60718293a4b5c6d7e8f9","files":1,"at":"2026-03-01T09:00:00Z"}}`), true)
	f.Fuzz(func(t *testing.T, payload []byte, dsse bool) {
		r := &signing.Request{Purpose: signing.TUF, PayloadType: signing.TUFPayload, Payload: payload}
		if dsse {
			r.Purpose, r.PayloadType = signing.DSSE, statement.PayloadType
		}
		shown(t, r)
	})
}

func shown(t *testing.T, r *signing.Request) {
	t.Helper()
	s, err := signing.Describe(r)
	if err != nil {
		return
	}
	text := s.Title
	for _, l := range s.Lines {
		text += l.Name + l.Text
	}
	for _, c := range text {
		if !unicode.IsPrint(c) {
			t.Fatalf("%U is shown raw", c)
		}
	}
}
