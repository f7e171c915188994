package programme

import (
	"strings"
	"testing"
	"testing/fstest"
)

const reports = good + `  recipient: %s
  scope: [the agent]
  safe_harbour: Who looks in good faith acts with our permission.
  promises:
    acknowledge: 3
    triage: 10
    fix: 90
    publish: 120
`

var withReports = strings.Replace(reports, "%s", "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj", 1)

func TestAProgrammeSaysHowReportsAreDealtWith(t *testing.T) {
	f := folder(withReports)
	f["security.md"] = &fstest.MapFile{Data: []byte("# Our policy\n")}
	p := mustRead(t, f)
	if !p.Security.Intake() || p.Security.Promises.Fix != 90 || p.Disclosure != "# Our policy\n" || len(p.Security.Scope) != 1 {
		t.Fatalf("read %+v", p.Security)
	}
	if mustRead(t, folder(good)).Security.Intake() {
		t.Error("without a recipient there is an intake")
	}
	changes := Plan(mustRead(t, folder(good)), p)
	var lines []string
	for _, c := range changes {
		lines = append(lines, c.String())
	}
	all := strings.Join(lines, "\n")
	for _, want := range []string{"reports: recipient is age1", "reports: promise to fix changed from 0 to 90 days", "file security.md: added"} {
		if !strings.Contains(all, want) {
			t.Errorf("the plan does not say %q:\n%s", want, all)
		}
	}
	conforms(t, []byte(withReports))
}

func TestAPrivateKeyOrABrokenPromiseIsRefused(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{"age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj", "AGE-SECRET-KEY-1XYZ", "security.recipient is a private key"},
		{"age1zvkyg", "age1zvkyh", "security.recipient is not a public key of age"},
		{"triage: 10", "triage: 2", "security.promises.triage is 2 days, sooner than the step before it"},
		{"fix: 90", "fix: 9000", "security.promises.fix is 9000"},
		{"    publish: 120\n", "", "the key \"publish\" is missing in security.promises"},
		{"scope: [the agent]", "scope: ['']", "security.scope[0] is empty"},
	} {
		text := strings.Replace(withReports, c.from, c.to, 1)
		if got := strings.Join(problemsOf(t, folder(text)), "\n"); text == withReports || !strings.Contains(got, c.want) {
			t.Errorf("%s gives %s, want %s", c.to, got, c.want)
		}
	}
}
