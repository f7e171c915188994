package portal_test

import (
	"strings"
	"testing"
)

func TestEveryPageAnswers(t *testing.T) {
	s := newSite(t)
	s.release("1.2.0")
	for _, path := range []string{"/", "/statements", "/statements/0", "/statements.atom", "/releases", "/releases/lantern/1.2.0", "/releases/lantern/1.2.0/sbom", "/verify", "/about", "/api", "/account", "/enrol", "/demo-identities"} {
		got := s.visitor().get(path)
		if got.status != 200 {
			t.Errorf("%s: %d %s\n%s", path, got.status, got.body[:min(len(got.body), 300)], s.logged.String())
		}
		if strings.Contains(got.body, "<nil>") || strings.Contains(got.body, "%!") {
			t.Errorf("%s shows a Go value", path)
		}
	}
}
