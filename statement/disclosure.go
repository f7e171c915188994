package statement

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// DisclosureType names disclosure statements.
const DisclosureType = "https://clerestory.dev/disclosure/v1"

// disclosureCap is how many reports one statement can account for; who gets more
// states shorter periods.
const disclosureCap = 500

// Disclosure accounts for the reports of weaknesses that the vendor got in a
// period: how many, how far they came, and which promises were missed. It holds
// counts and commitments, nothing of what was reported or by whom. Signed by the
// role "security". Its one subject is "disclosure:FROM/TO" with the SHA-256 of the
// receipts, joined by newlines.
type Disclosure struct {
	From string `json:"from"`
	To   string `json:"to"` // exclusive; the next statement begins here
	// What happened in the period.
	Received     int64 `json:"received"`
	Acknowledged int64 `json:"acknowledged"`
	Triaged      int64 `json:"triaged"`
	Fixed        int64 `json:"fixed"`
	Published    int64 `json:"published"`
	Rejected     int64 `json:"rejected"`
	Open         int64 `json:"open"` // at its end: neither published nor rejected
	// FixDays are whole days from receipt to fix, one for each that was fixed,
	// sorted: medians over several periods are made from them.
	FixDays  []int64  `json:"fixDays"`
	Promises Promises `json:"promises"` // in days, as in force at the end
	Missed   Promises `json:"missed"`   // how often one fell due in the period and was not kept in time
	// Receipts are the SHA-256 of the reference of each report that was received,
	// sorted. Who reported has the reference, and finds that it was counted.
	Receipts []string `json:"receipts"`
	At       string   `json:"at"`
}

// Promises are the steps that a vendor promises to a reporter.
type Promises struct {
	Acknowledge int64 `json:"acknowledge"`
	Triage      int64 `json:"triage"`
	Fix         int64 `json:"fix"`
	Publish     int64 `json:"publish"`
}

// PredicateType implements [Predicate].
func (*Disclosure) PredicateType() string { return DisclosureType }

// Validate implements [Predicate].
func (d *Disclosure) Validate(subject []Subject) error {
	if err := firstError(checkTime("from", d.From), checkTime("to", d.To), checkTime("at", d.At)); err != nil {
		return err
	}
	want := DisclosureSubject(d.From, d.To, d.Receipts)
	switch {
	case len(subject) != 1 || subject[0].Name != want.Name || subject[0].Digest["sha256"] != want.Digest["sha256"]:
		return errors.New("the subject must be disclosure:FROM/TO with the sha256 of the receipts")
	case d.From >= d.To: // one form, in UTC: order of texts is order of times
		return errors.New("from must be before to")
	case d.Received != int64(len(d.Receipts)) || len(d.Receipts) > disclosureCap:
		return fmt.Errorf("received must be the number of receipts, at most %d", disclosureCap)
	case d.Fixed != int64(len(d.FixDays)):
		return errors.New("fixDays must have one number for each report that was fixed")
	case !slices.IsSorted(d.FixDays) || !slices.IsSorted(d.Receipts):
		return errors.New("fixDays and receipts must be sorted")
	}
	for i, r := range d.Receipts {
		if err := checkHex("receipts", r, 32); err != nil {
			return err
		}
		if i > 0 && d.Receipts[i-1] == r {
			return errors.New("a receipt stands twice")
		}
	}
	numbers := append([]int64{d.Received, d.Acknowledged, d.Triaged, d.Fixed, d.Published, d.Rejected, d.Open,
		d.Promises.Acknowledge, d.Promises.Triage, d.Promises.Fix, d.Promises.Publish,
		d.Missed.Acknowledge, d.Missed.Triage, d.Missed.Fix, d.Missed.Publish}, d.FixDays...)
	if slices.ContainsFunc(numbers, func(n int64) bool { return n < 0 }) {
		return errors.New("numbers must not be negative")
	}
	return nil
}

// DisclosureSubject is the subject of a disclosure statement.
func DisclosureSubject(from, to string, receipts []string) Subject {
	return Subject{Name: "disclosure:" + from + "/" + to, Digest: map[string]string{"sha256": HashOf([]byte(strings.Join(receipts, "\n")))}}
}

// Receipt is what stands in the log for a report: the hash of the reference that
// only the reporter and the vendor have.
func Receipt(reference string) string {
	return HashOf([]byte("clerestory.dev/report/v1\n" + reference))
}
