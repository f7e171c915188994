package advisory

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"filippo.io/age"
	"github.com/google/uuid"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/programme"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/statement"
)

// Report is what somebody tells about a weakness. It exists in the clear while the
// form is read, and on the machine of whoever has the private key.
type Report struct {
	MediaType string `json:"mediaType"`
	Title     string `json:"title"`
	Product   string `json:"product,omitempty"`
	Details   string `json:"details"`
	Contact   string `json:"contact,omitempty"` // how to reach the reporter, if at all
	Credit    string `json:"credit,omitempty"`  // how to name the reporter, if at all
	Received  string `json:"received"`
	Reference string `json:"reference"`
}

// ReportType is the media type of a report in the clear.
const ReportType = "application/vnd.clerestory.report.v1+json"

// Received is what the reporter is told, once.
type Received struct {
	Reference string // 26 letters and digits; we keep its hash only
	Receipt   string // what will stand in the log
	At        time.Time
	Due       map[string]time.Time // by step; without those that are not promised
}

// Receive encrypts a report to the key that the programme names and keeps the
// ciphertext. Nothing of it, and nothing about who sent it, is kept or said in the
// clear.
func (s *Service) Receive(ctx context.Context, r Report) (*Received, error) {
	p, err := s.Programme(ctx)
	if err != nil {
		return nil, err
	}
	if !p.Security.Intake() {
		return nil, fault.Unavailable.New("reports are not taken here; write to %s", strings.Join(p.Security.Contact, " or "))
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	now := s.Now().UTC().Truncate(time.Millisecond)
	out := &Received{Reference: strings.ToLower(rand.Text()), At: now, Due: due(p.Security.Promises, now)}
	out.Receipt = statement.Receipt(out.Reference)
	r.MediaType, r.Received, r.Reference = ReportType, stamp(now), out.Reference
	sealed, err := seal(r, p.Security.Recipient)
	if err != nil {
		return nil, fmt.Errorf("encrypting the report: %w", err)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("making an id: %w", err)
	}
	err = s.DB.Write(ctx, func(tx *store.Tx) error {
		if err := room(ctx, tx, now); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO report (id, receipt, recipient, ciphertext, state, received_at, acknowledge_due, triage_due, fix_due, publish_due,
			acknowledged_at, triaged_at, fixed_at, published_at, rejected_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, 0, 0, 0, 0)`,
			id.String(), out.Receipt, p.Security.Recipient, sealed, New, now.UnixMilli(),
			millis(out.Due["acknowledge"]), millis(out.Due["triage"]), millis(out.Due["fix"]), millis(out.Due["publish"]))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("keeping the report: %w", err)
	}
	return out, nil
}

// due are the moments by which each promised step has to be done.
func due(p programme.Promises, from time.Time) map[string]time.Time {
	all := map[string]time.Time{}
	for step, days := range p.Each {
		if days > 0 {
			all[step] = from.AddDate(0, 0, days)
		}
	}
	return all
}

// room refuses a flood: what a script can send must not fill the disk.
func room(ctx context.Context, tx *store.Tx, now time.Time) error {
	var today, waiting int
	err := errors.Join(
		tx.QueryRowContext(ctx, "SELECT count(*) FROM report WHERE received_at > $1", now.Add(-24*time.Hour).UnixMilli()).Scan(&today),
		tx.QueryRowContext(ctx, "SELECT count(*) FROM report WHERE state = $1", New).Scan(&waiting))
	if err != nil {
		return fmt.Errorf("counting reports: %w", err)
	}
	if today >= Caps.PerDay || waiting >= Caps.Open {
		return fault.Unavailable.New("too many reports have come in; write to the address in /.well-known/security.txt, or try again tomorrow")
	}
	return nil
}

func (r *Report) check() error {
	for _, f := range []struct {
		name, text  string
		least, most int
	}{{"title", r.Title, 1, Caps.Field}, {"product", r.Product, 0, 64}, {"details", r.Details, 1, Caps.Report}, {"contact", r.Contact, 0, Caps.Field}, {"credit", r.Credit, 0, Caps.Field}} {
		if len(f.text) < f.least || len(f.text) > f.most || !utf8.ValidString(f.text) {
			return fault.Invalid.New("%s must be text of %d to %d bytes", f.name, f.least, f.most)
		}
	}
	return nil
}

func seal(r Report, recipient string) ([]byte, error) {
	to, err := age.ParseRecipients(strings.NewReader(recipient))
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	// The length of the ciphertext would tell the length of the report.
	for len(text)%1024 != 0 {
		text = append(text, '\n')
	}
	var b bytes.Buffer
	w, err := age.Encrypt(&b, to...)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil { // writes the last part
		return nil, err
	}
	return b.Bytes(), nil
}

// Open decrypts a report that was downloaded. A file for another key is Denied; one
// that was changed is Tampered.
func Open(sealed io.Reader, identities ...age.Identity) (*Report, error) {
	plain, err := age.Decrypt(io.LimitReader(sealed, 1<<20), identities...)
	if err != nil {
		if _, other := errors.AsType[*age.NoIdentityMatchError](err); other {
			return nil, fault.Denied.New("opening the report: it is encrypted to another key")
		}
		return nil, fault.Tampered.New("opening the report: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(plain, 1<<20))
	if err != nil {
		return nil, fault.Tampered.New("opening the report: %w", err)
	}
	var r Report
	if err := statement.Decode(bytes.TrimSpace(text), &r); err != nil {
		return nil, fault.Tampered.New("reading the report: %w", err)
	}
	if r.MediaType != ReportType {
		return nil, fault.Invalid.New("this is encrypted to the key, but is no report")
	}
	return &r, nil
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
