package programme

import (
	"cmp"
	"strings"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
)

// SecurityTxt is the text of /.well-known/security.txt (RFC 9116, section 2.5).
// canonical is the address that it is served at, or "".
func (p *Programme) SecurityTxt(canonical string) string {
	var b strings.Builder
	field := func(name, value string) {
		if value != "" {
			b.WriteString(name + ": " + value + "\n")
		}
	}
	for _, c := range p.Security.Contact {
		field("Contact", c)
	}
	field("Expires", p.Security.Expires)
	field("Encryption", p.Security.Encryption)
	field("Acknowledgments", p.Security.Acknowledgments)
	field("Preferred-Languages", strings.Join(p.Security.Languages, ", "))
	field("Canonical", canonical)
	base, ours := strings.CutSuffix(canonical, "/.well-known/security.txt")
	policy := p.Security.Policy
	if ours {
		policy = cmp.Or(policy, base+"/security")
		field("CSAF", base+"/.well-known/csaf/provider-metadata.json")
	}
	field("Policy", policy)
	return b.String()
}

// CheckAt tells whether the programme can come into force at this time: what has
// run out by then is Invalid.
func (p *Programme) CheckAt(now time.Time) error {
	until, err := time.Parse(time.RFC3339, p.Security.Expires)
	if err != nil {
		return fault.Invalid.New("%s: security.expires: %w", Main, err)
	}
	if !until.After(now) {
		return fault.Invalid.New("%s: security.expires (%s) is past; write a date within a year from now", Main, p.Security.Expires)
	}
	return nil
}
