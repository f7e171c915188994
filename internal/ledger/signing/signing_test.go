package signing_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/ledger/signing"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
	"clerestory.dev/clerestory/verify/verifytest"
)

var (
	ada, boris, carl = verifytest.NewKey("ada"), verifytest.NewKey("boris"), verifytest.NewKey("carl")
	now              = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

func revocation(t *testing.T, reason string) []byte {
	t.Helper()
	p, err := statement.New([]statement.Subject{{Name: "entry:7", Digest: map[string]string{"sha256": verifytest.SHA256("x")}}},
		&statement.Revocation{Entry: 7, Kind: "release", Product: "lantern", Reason: reason, At: verifytest.At})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func request(t *testing.T, keys ...*verifytest.Key) *signing.Request {
	t.Helper()
	r := &signing.Request{Purpose: signing.DSSE, What: "Take lantern 1.2.0 back", PayloadType: statement.PayloadType,
		Payload: revocation(t, "it deletes the wrong files"), Threshold: 2, Expires: "2026-03-08T12:00:00Z"}
	for _, k := range keys {
		r.Keys = append(r.Keys, k.KeyID())
	}
	file, err := r.Format()
	if err != nil {
		t.Fatal(err)
	}
	read, err := signing.ParseRequest(file)
	if err != nil {
		t.Fatal(err)
	}
	return read
}

func parties(keys ...*verifytest.Key) []signing.Party {
	var all []signing.Party
	for _, k := range keys {
		all = append(all, signing.Party{Public: statement.PublicKey(k.Public())})
	}
	return all
}

func answer(t *testing.T, r *signing.Request, k *verifytest.Key) *signing.Response {
	t.Helper()
	a, err := signing.Answer(r, k, now)
	if err != nil {
		t.Fatal(err)
	}
	file, err := a.Format()
	if err != nil {
		t.Fatal(err)
	}
	read, err := signing.ParseResponse(file)
	if err != nil {
		t.Fatal(err)
	}
	return read
}

func TestTwoOfThreeKeysThatNeverMeetMakeAnEnvelope(t *testing.T) {
	r := request(t, ada, boris, carl)
	e, err := signing.Assemble(r, []*signing.Response{answer(t, r, carl), answer(t, r, ada)}, parties(ada, boris, carl), now)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := e.Format()
	if err != nil {
		t.Fatal(err)
	}
	read, err := statement.ParseEnvelope(raw)
	if err != nil || len(read.Signatures) != 2 || !read.SignedBy(ada.Public(), sigOf(read, ada)) || !read.SignedBy(carl.Public(), sigOf(read, carl)) {
		t.Fatalf("%v, %v", read, err)
	}
}

func sigOf(e *statement.Envelope, k *verifytest.Key) statement.Signature {
	for _, s := range e.Signatures {
		if s.KeyID == k.KeyID() {
			return s
		}
	}
	return statement.Signature{}
}

func TestTooFewAnswersAreNotPutTogether(t *testing.T) {
	r := request(t, ada, boris, carl)
	other := request(t, ada, boris)
	a, b := answer(t, r, ada), answer(t, r, boris)
	forged := *b
	forged.Sig = a.Sig
	held := parties(ada, boris, carl)
	held[0].Holder, held[1].Holder = "ada", "ada"
	for _, c := range []struct {
		attack  string
		answers []*signing.Response
		parties []signing.Party
		at      time.Time
		want    error
	}{
		{"one key alone", []*signing.Response{a}, parties(ada, boris, carl), now, fault.Denied},
		{"the same key twice", []*signing.Response{a, a}, parties(ada, boris, carl), now, fault.Denied},
		{"two keys of one holder", []*signing.Response{a, b}, held, now, fault.Denied},
		{"a key that was revoked since", []*signing.Response{a, b}, parties(ada, carl), now, fault.Denied},
		{"an answer to another request", []*signing.Response{a, answer(t, other, boris)}, parties(ada, boris, carl), now, fault.Conflict},
		{"somebody else's signature", []*signing.Response{a, &forged}, parties(ada, boris, carl), now, fault.Tampered},
		{"an expired request", []*signing.Response{a, b}, parties(ada, boris, carl), now.AddDate(0, 0, 8), fault.Stale},
		{"nobody", nil, parties(ada, boris, carl), now, fault.Denied},
	} {
		if e, err := signing.Assemble(r, c.answers, c.parties, c.at); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, %v", c.attack, e, err)
		}
	}
	if _, err := signing.Check(r, []*signing.Response{a, b}, parties(ada, boris, carl), now); err != nil {
		t.Error(err)
	}
}

func TestASignerIsNotMadeToSign(t *testing.T) {
	r := request(t, ada, boris)
	if _, err := signing.Answer(r, ada, now.AddDate(0, 0, 8)); !errors.Is(err, fault.Stale) {
		t.Errorf("an expired request: %v", err)
	}
	if _, err := signing.Answer(r, ada, now.AddDate(-1, 0, 0)); !errors.Is(err, fault.Invalid) {
		t.Errorf("a request that hardly expires: %v", err)
	}
	if _, err := signing.Answer(r, carl, now); !errors.Is(err, fault.Denied) {
		t.Errorf("a key that is not asked: %v", err)
	}
	changed := *r
	changed.Payload = []byte(`{"_type":"https://example.org/anything"}`)
	if _, err := signing.Answer(&changed, ada, now); !errors.Is(err, fault.Invalid) {
		t.Errorf("what can not be read: %v", err)
	}
}

func TestASignerSeesWhatTheBytesSay(t *testing.T) {
	s, err := signing.Describe(request(t, ada, boris))
	if err != nil {
		t.Fatal(err)
	}
	text := s.Title
	for _, l := range s.Lines {
		text += "\n" + l.Name + ": " + l.Text
	}
	for _, want := range []string{"Take back the release of lantern at log entry 7: it deletes the wrong files", "about entry:7: sha256 " + verifytest.SHA256("x"), "product: lantern"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in:\n%s", want, text)
		}
	}
}

// A key of a card has line ends in its TUF form, which canonical JSON keeps.
func TestTUFMetadataIsReadInCanonicalForm(t *testing.T) {
	canonical := func(signed string) []byte {
		b, err := verify.SignedText([]byte(signed))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	files := canonical(`{"_type":"targets","spec_version":"1.0.31","version":3,"expires":"2026-04-01T00:00:00Z",
		"targets":{"lantern/1.2.0/lantern.deb":{"length":17,"hashes":{"sha256":"` + verifytest.SHA256("x") + `"}}},
		"delegations":{"keys":{"k":{"keytype":"ecdsa","scheme":"ecdsa-sha2-nistp256","keyval":{"public":"-----BEGIN PUBLIC KEY-----\nMFkw\n-----END"}}},"roles":[]}}`)
	r := &signing.Request{Purpose: signing.TUF, What: "targets", PayloadType: signing.TUFPayload, Payload: files,
		Keys: []string{ada.KeyID()}, Threshold: 1, Expires: "2026-03-08T12:00:00Z"}
	s, err := signing.Describe(r)
	if err != nil {
		t.Fatal(err)
	}
	if s.Title != "TUF targets version 3, until 2026-04-01T00:00:00Z: a list of 1 files that may be installed" {
		t.Error(s.Title)
	}
	found := false
	for _, l := range s.Lines {
		found = found || strings.Contains(l.Name+l.Text, "lantern/1.2.0/lantern.deb") && strings.Contains(l.Text, verifytest.SHA256("x"))
	}
	if !found {
		t.Errorf("the file is not shown: %+v", s.Lines)
	}
	sigs, err := signing.Check(r, []*signing.Response{answer(t, r, ada)}, parties(ada), now)
	if err != nil || !statement.PublicKey(ada.Public()).Verify(files, sigs[0].Sig) {
		t.Fatal(sigs, err)
	}
	for name, bad := range map[string]string{
		"spaces": `{ "_type":"targets","expires":"2026-04-01T00:00:00Z","version":1}`, "a checkpoint": "log.example/1\n7\nabc\n",
		"a statement": string(revocation(t, "no")), "no version": `{"_type":"targets","expires":"2026-04-01T00:00:00Z"}`,
		"another type": `{"_type":"mirrors","expires":"2026-04-01T00:00:00Z","version":1}`,
	} {
		r.Payload = []byte(bad)
		if _, err := r.Format(); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s was taken for TUF metadata: %v", name, err)
		}
	}
}

func TestRequestsOfOtherFormsAreRefused(t *testing.T) {
	r := request(t, ada, boris)
	file, err := r.Format()
	if err != nil {
		t.Fatal(err)
	}
	good := string(file)
	for name, bad := range map[string]string{
		"compact":            strings.ReplaceAll(good, "\n", ""),
		"an unknown member":  strings.Replace(good, `{`, `{"x": 1,`, 1),
		"another media type": strings.Replace(good, "signing-request.v1", "signing-request.v2", 1),
		"a changed payload":  strings.Replace(good, `"payload": "e`, `"payload": "f`, 1),
		"another purpose":    strings.Replace(good, `"dsse"`, `"tuf"`, 1),
		"no threshold":       strings.Replace(good, `"threshold": 2`, `"threshold": 0`, 1),
		"a threshold beyond": strings.Replace(good, `"threshold": 2`, `"threshold": 3`, 1),
		"the same key twice": strings.Replace(good, boris.KeyID(), ada.KeyID(), 1),
		"another time zone":  strings.Replace(good, "12:00:00Z", "12:00:00+00:00", 1),
		"two of a member":    strings.Replace(good, `"threshold": 2`, `"threshold": 2, "threshold": 1`, 1),
		"something behind":   good + "{}",
		"too long":           good + strings.Repeat(" ", signing.Limits.Request),
		"nothing":            "",
	} {
		if bad == good {
			t.Fatalf("%s changes nothing", name)
		}
		if _, err := signing.ParseRequest([]byte(bad)); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNothingOfARequestReachesTheTerminalRaw(t *testing.T) {
	for in, want := range map[string]string{
		"plain text, ü": "plain text, ü", "\x1b[2J": `\u{1b}[2J`, "a\u202eb": `a\u{202e}b`, "a\u200bb": `a\u{200b}b`,
		"a\nb\r": `a\nb\u{d}`, "\xff": `\xff`, `\n`: `\\n`, "\u009b1m": `\u{9b}1m`,
	} {
		if got := signing.Printable(in, 100); got != want {
			t.Errorf("%q is shown as %q, want %q", in, got, want)
		}
	}
	if got := signing.Printable(strings.Repeat("x", 50), 10); got != "xxxxxxxxxx… (40 bytes more)" {
		t.Error(got)
	}
}
