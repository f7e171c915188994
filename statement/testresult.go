package statement

import (
	"errors"
	"fmt"
)

// TestResultType is the in-toto Test Result predicate, version 0.1: what came of
// running tests on the subjects.
const TestResultType = "https://in-toto.io/attestation/test-result/v0.1"

// What a test came to.
const (
	TestPassed = "PASSED"
	TestWarned = "WARNED"
	TestFailed = "FAILED"
)

// testCaps are the caps on one test result, beside those of every statement.
var testCaps = struct{ configuration, tests, numbers int }{configuration: 32, tests: 500, numbers: 64}

// TestResult is an in-toto Test Result predicate
// (in-toto.io/attestation/test-result/v0.1), signed by the role "tester". Its
// subjects are the exact files that were tested.
type TestResult struct {
	Result string `json:"result"` // PASSED, WARNED or FAILED
	// Configuration is what was run and with what; the first one names the gate
	// that this test answers ("replay-clean"), the others are what it ran on.
	Configuration []Resource `json:"configuration"`
	URL           string     `json:"url,omitempty"` // where more can be read
	PassedTests   []string   `json:"passedTests,omitempty"`
	WarnedTests   []string   `json:"warnedTests,omitempty"`
	FailedTests   []string   `json:"failedTests,omitempty"`
	Clerestory    TestFacts  `json:"clerestory,omitzero"`
}

// TestFacts is what we add to the standard predicate; all of it may be absent.
type TestFacts struct {
	// Product is the product id that the tester must have the role for; without it
	// the statement counts for no product.
	Product string `json:"product,omitempty"`
	// Numbers are figures of the run by a short name: "files", "newMatches".
	Numbers map[string]int64 `json:"numbers,omitempty"`
	// Report is the full result, of which the statement is the short form.
	Report Resource `json:"report,omitzero"`
	At     string   `json:"at,omitempty"`
}

// PredicateType implements [Predicate].
func (*TestResult) PredicateType() string { return TestResultType }

// Validate implements [Predicate].
func (t *TestResult) Validate(subject []Subject) error {
	for i, s := range subject {
		if s.Digest["sha256"] == "" {
			return fmt.Errorf("subject[%d] must have a sha256", i)
		}
	}
	switch {
	case t.Result != TestPassed && t.Result != TestWarned && t.Result != TestFailed:
		return fmt.Errorf("result %q must be PASSED, WARNED or FAILED", clip(t.Result))
	case len(t.Configuration) == 0 || len(t.Configuration) > testCaps.configuration:
		return fmt.Errorf("configuration must have 1 to %d entries", testCaps.configuration)
	// One reader would look at the result, another at the list.
	case t.Result != TestFailed && len(t.FailedTests) > 0:
		return errors.New("result must be FAILED when failedTests names one")
	}
	for i, r := range t.Configuration {
		if err := checkResource(r); err != nil {
			return fmt.Errorf("configuration[%d]: %w", i, err)
		}
	}
	for _, list := range []struct {
		name  string
		tests []string
	}{{"passedTests", t.PassedTests}, {"warnedTests", t.WarnedTests}, {"failedTests", t.FailedTests}} {
		if len(list.tests) > testCaps.tests {
			return fmt.Errorf("%s has more than %d entries", list.name, testCaps.tests)
		}
		for _, name := range list.tests {
			if err := checkText(list.name, name, 1); err != nil {
				return err
			}
		}
	}
	return firstError(checkText("url", t.URL, 0), t.Clerestory.validate())
}

func (f *TestFacts) validate() error {
	if f.Product != "" {
		if err := CheckID("clerestory.product", f.Product); err != nil {
			return err
		}
	}
	if len(f.Numbers) > testCaps.numbers {
		return fmt.Errorf("clerestory.numbers has more than %d entries", testCaps.numbers)
	}
	for name, n := range f.Numbers {
		if err := checkText("clerestory.numbers", name, 1); err != nil {
			return err
		}
		if n < 0 {
			return errors.New("clerestory.numbers must not be negative")
		}
	}
	if f.At != "" {
		if err := checkTime("clerestory.at", f.At); err != nil {
			return err
		}
	}
	if err := checkResource(f.Report); err != nil {
		return fmt.Errorf("clerestory.report: %w", err)
	}
	return nil
}

// Gate is the gate that this result answers: the first configuration's name.
func (t *TestResult) Gate() string {
	if len(t.Configuration) == 0 {
		return ""
	}
	return t.Configuration[0].Name
}

func checkResource(r Resource) error {
	for alg, d := range r.Digest {
		if err := checkDigest(alg, d); err != nil {
			return err
		}
	}
	return firstError(checkText("name", r.Name, 0), checkText("uri", r.URI, 0))
}
