package programme

import (
	"fmt"
	"strings"

	"filippo.io/age"
)

// Promises are what a vendor promises to whoever reports a weakness, in days from
// the report; 0 is no promise.
type Promises struct {
	Acknowledge int `yaml:"acknowledge" is:"days until a person has answered, such as 3"`
	Triage      int `yaml:"triage" is:"days until it is known what it is, such as 10"`
	Fix         int `yaml:"fix" is:"days until a fixed version is released, such as 90"`
	Publish     int `yaml:"publish" is:"days until an advisory is published, such as 120"`
}

// Each gives the promises by the name of their step, in order.
func (p Promises) Each(yield func(step string, days int) bool) {
	for _, s := range []struct {
		step string
		days int
	}{{"acknowledge", p.Acknowledge}, {"triage", p.Triage}, {"fix", p.Fix}, {"publish", p.Publish}} {
		if !yield(s.step, s.days) {
			return
		}
	}
}

// Intake tells whether reports can be sent to the portal: there is a key that
// they are encrypted to.
func (s Security) Intake() bool { return s.Recipient != "" }

// disclosure checks what the page /security is made from.
func (d *decoded) disclosure(s Security) {
	if _, there := d.where["security.recipient"]; there {
		d.recipient("security.recipient", s.Recipient)
	}
	if len(s.Scope) > Limits.Scope {
		d.wrong("security.scope", fmt.Sprintf("has %d entries", len(s.Scope)), fmt.Sprintf("list at most %d", Limits.Scope))
	}
	for i, line := range s.Scope {
		d.line(fmt.Sprintf("security.scope[%d]", i), line, Limits.Line)
	}
	if _, there := d.where["security.safe_harbour"]; there {
		d.prose("security.safe_harbour", s.SafeHarbour)
	}
	if _, there := d.where["security.promises"]; !there {
		return
	}
	last := 0
	for step, days := range s.Promises.Each {
		path := "security.promises." + step
		switch {
		case days < 0 || days > Limits.Days:
			d.wrong(path, fmt.Sprintf("is %d", days), fmt.Sprintf("write 1 to %d days, or 0 for no promise", Limits.Days))
		case days > 0 && days < last:
			d.wrong(path, fmt.Sprintf("is %d days, sooner than the step before it", days), "promise the steps in their order")
		}
		last = max(last, days)
	}
}

// recipient checks a public age key. The private one belongs on no server.
func (d *decoded) recipient(path, s string) {
	if !d.given(path, s) {
		return
	}
	if strings.HasPrefix(strings.ToUpper(s), "AGE-SECRET-KEY-") {
		d.wrong(path, "is a private key", "write the public one (age1…), and make a new pair: this one has been shown")
		return
	}
	if found, err := age.ParseRecipients(strings.NewReader(s)); err != nil || len(found) != 1 || strings.ContainsAny(s, "\n# ") {
		d.wrong(path, "is not a public key of age", "write the line age1… that clerestory advisory report key prints")
	}
}
