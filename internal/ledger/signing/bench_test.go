package signing_test

import (
	"fmt"
	"strings"
	"testing"

	"clerestory.dev/clerestory/internal/ledger/signing"
	"clerestory.dev/clerestory/verify"
	"clerestory.dev/clerestory/verify/verifytest"
)

// BenchmarkLargeMetadata answers a request for a list of 10,000 files.
func BenchmarkLargeMetadata(b *testing.B) {
	var files []string
	for i := range 10_000 {
		files = append(files, fmt.Sprintf(`"lantern/1.2.0/file-%05d":{"length":17,"hashes":{"sha256":"%s"}}`, i, verifytest.SHA256(fmt.Sprint(i))))
	}
	payload, err := verify.SignedText([]byte(`{"_type":"targets","spec_version":"1.0.31","version":3,"expires":"2026-04-01T00:00:00Z","targets":{` + strings.Join(files, ",") + `}}`))
	if err != nil {
		b.Fatal(err)
	}
	r := &signing.Request{Purpose: signing.TUF, What: "targets", PayloadType: signing.TUFPayload, Payload: payload,
		Keys: []string{ada.KeyID()}, Threshold: 1, Expires: "2026-03-08T12:00:00Z"}
	b.SetBytes(int64(len(payload)))
	for b.Loop() {
		if _, err := signing.Answer(r, ada, now); err != nil {
			b.Fatal(err)
		}
	}
}
