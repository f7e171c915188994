package verify

import (
	"fmt"
	"time"
)

// What a verification came to.
const (
	Verified  = "verified"  // every claim that had to hold does
	Refused   = "refused"   // something is definitely wrong
	Unchecked = "unchecked" // it could not be checked
)

// Artifact is the file in question.
type Artifact struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"` // hex
	Size   int64  `json:"size"`   // bytes
}

// Report is the result of a verification; its JSON is docs/spec/report.schema.json.
type Report struct {
	File       Artifact     `json:"file"`
	Verdict    string       `json:"verdict"` // verified, refused or unchecked
	Code       string       `json:"code,omitempty"`
	Reason     string       `json:"reason"` // one sentence
	Claims     []Claim      `json:"claims"`
	NotChecked []NotChecked `json:"notChecked"`
	// Advisories are those that name the file's version. Affected or not, they do
	// not change the verdict: it says who made the file.
	Advisories []AdvisoryBrief  `json:"advisories,omitempty"`
	Checkpoint *CheckpointBrief `json:"checkpoint,omitempty"`
	Trust      *TrustBrief      `json:"trust,omitempty"`
}

// Claim is one thing that was checked and holds.
type Claim struct {
	Name    string   `json:"name"` // log, released, approved, emergency, source, built, rebuilt, sbom, advisory, no-advisory, not-revoked
	Text    string   `json:"text"`
	Entry   int64    `json:"entry"` // the log entry that says so; -1 for none
	Signers []Signer `json:"signers,omitempty"`
}

// NotChecked is something a reader might take for granted, and why it was not
// checked.
type NotChecked struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// CheckpointBrief says which state of the log the report speaks of.
type CheckpointBrief struct {
	Origin     string    `json:"origin"`
	Size       int64     `json:"size"`
	Root       string    `json:"root"` // base64
	Time       time.Time `json:"time"`
	AgeSeconds int64     `json:"ageSeconds"`
	Witnesses  []string  `json:"witnesses"`
}

// TrustBrief says which trusted root the report relies on.
type TrustBrief struct {
	Vendor      string    `json:"vendor"`
	Fingerprint string    `json:"fingerprint"`
	Version     int64     `json:"version"`
	Expires     time.Time `json:"expires"`
}

func (r *Report) claim(name string, entry int64, signers []Signer, format string, args ...any) {
	r.Claims = append(r.Claims, Claim{name, fmt.Sprintf(format, args...), entry, signers})
}

func (r *Report) notChecked(name, format string, args ...any) {
	r.NotChecked = append(r.NotChecked, NotChecked{name, fmt.Sprintf(format, args...)})
}

// Fail turns an error into the report's verdict: a [Refusal] is a definite no,
// anything else says that it could not be checked.
func (r *Report) Fail(err error) {
	r.Code, r.Reason, r.Verdict = CodeOf(err), err.Error(), Unchecked
	if r.Code != "" {
		r.Verdict = Refused
	}
}

// NewReport starts a report on a file: unchecked until something says more.
func NewReport(a Artifact, why string) *Report {
	return &Report{File: a, Verdict: Unchecked, Reason: why, Claims: []Claim{}, NotChecked: []NotChecked{}}
}

// JudgeBundle proves a bundle and judges a file by it: what the command line
// does offline, and the browser.
func JudgeBundle(trust, bundle []byte, a Artifact, now time.Time) *Report {
	r := NewReport(a, "nothing was checked")
	t, err := ParseTrust(trust) // step 1
	if err != nil {
		r.Fail(err)
		return r
	}
	b, err := ParseBundle(bundle) // step 2
	if err != nil {
		r.Fail(err)
		return r
	}
	t, ev, err := t.Prove(b)
	if err != nil {
		r.Fail(err)
		return r
	}
	return t.Judge(ev, a, now)
}
