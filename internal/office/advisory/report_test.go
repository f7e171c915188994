package advisory_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/office/advisory"
	"clerestory.dev/clerestory/statement"
)

var secret = advisory.Report{Title: "The lamp goes out", Product: "lantern", Details: "Send SECRETWORD to port 7.", Contact: "alice@example.org"}

func (h *house) receive() *advisory.Received {
	h.t.Helper()
	r, err := h.Receive(ctx, secret)
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

// unrecorded stands for a guard that has nothing to write.
func unrecorded(context.Context, *store.Tx) error { return nil }

func TestAReportIsKeptEncryptedAndOnlyTheKeyOpensIt(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		got := h.receive()
		if len(got.Reference) != 26 || got.Receipt != statement.Receipt(got.Reference) || !got.Due["acknowledge"].Equal(h.now.AddDate(0, 0, 3)) {
			t.Fatalf("%+v", got)
		}
		cases, err := h.Cases(ctx, 10)
		if err != nil || len(cases) != 1 || cases[0].State != advisory.New {
			t.Fatalf("%+v %v", cases, err)
		}
		sealed, err := h.Sealed(ctx, cases[0].ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"SECRETWORD", "alice", got.Reference} {
			if bytes.Contains(sealed, []byte(word)) {
				t.Errorf("%q is in the clear", word)
			}
		}
		r, err := advisory.Open(bytes.NewReader(sealed), h.identity)
		if err != nil || r.Details != secret.Details || r.Contact != secret.Contact || r.Reference != got.Reference {
			t.Fatalf("%+v %v", r, err)
		}
		stranger, _ := age.GenerateX25519Identity()
		if _, err := advisory.Open(bytes.NewReader(sealed), stranger); !errors.Is(err, fault.Denied) {
			t.Errorf("another key: %v", err)
		}
		sealed[len(sealed)-1] ^= 1
		if _, err := advisory.Open(bytes.NewReader(sealed), h.identity); !errors.Is(err, fault.Tampered) {
			t.Errorf("a changed file: %v", err)
		}
	})
}

func TestTheLengthOfAReportDoesNotShow(t *testing.T) {
	h := newHouse(t, t.TempDir()+"/db")
	sizes := map[int]bool{}
	for _, details := range []string{"a", strings.Repeat("b", 300)} {
		if _, err := h.Receive(ctx, advisory.Report{Title: "x", Details: details}); err != nil {
			t.Fatal(err)
		}
	}
	cases, err := h.Cases(ctx, 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		b, err := h.Sealed(ctx, c.ID)
		if err != nil {
			t.Fatal(err)
		}
		sizes[len(b)] = true
	}
	if len(sizes) != 1 {
		t.Errorf("sizes %v", sizes)
	}
}

func TestAReportThatIsTooLargeOrOneOfAFloodIsRefused(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		for _, r := range []advisory.Report{
			{}, {Title: "x"}, {Details: "x"}, {Title: "x", Details: strings.Repeat("x", advisory.Caps.Report+1)}, {Title: "x\xff", Details: "x"},
		} {
			if _, err := h.Receive(ctx, r); !errors.Is(err, fault.Invalid) {
				t.Errorf("%.20q: %v", r.Title, err)
			}
		}
		most := advisory.Caps.PerDay
		advisory.Caps.PerDay = 2
		defer func() { advisory.Caps.PerDay = most }()
		h.receive()
		h.receive()
		if _, err := h.Receive(ctx, secret); !errors.Is(err, fault.Unavailable) {
			t.Errorf("a third one: %v", err)
		}
		h.now = h.now.Add(25 * time.Hour)
		h.receive()
	})
}

func TestStepsAreTakenInOrderAndRecorded(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.receive()
		cases, err := h.Cases(ctx, 10)
		if err != nil {
			t.Fatal(err)
		}
		id := cases[0].ID
		if err := h.Move(ctx, id, advisory.Mended, unrecorded); !errors.Is(err, fault.Conflict) {
			t.Errorf("fixed before anybody looked: %v", err)
		}
		if err := h.Move(ctx, id, "received_at = 0 --", unrecorded); !errors.Is(err, fault.Invalid) {
			t.Errorf("a step that there is not: %v", err)
		}
		refused := errors.New("the trail is full")
		if err := h.Move(ctx, id, advisory.Acknowledged, func(context.Context, *store.Tx) error { return refused }); !errors.Is(err, refused) {
			t.Errorf("a step without a record: %v", err)
		}
		for _, to := range []string{advisory.Acknowledged, advisory.Triaged, advisory.Mended, advisory.Disclosed} {
			h.now = h.now.Add(time.Hour)
			if err := h.Move(ctx, id, to, unrecorded); err != nil {
				t.Fatal(err)
			}
		}
		c, err := h.Case(ctx, id)
		if err != nil || c.State != advisory.Disclosed || len(c.Next) != 0 || c.Steps[3].Done.IsZero() || c.Steps[0].Missed(h.now) {
			t.Fatalf("%+v %v", c, err)
		}
		if err := h.Move(ctx, id, advisory.Rejected, unrecorded); !errors.Is(err, fault.Conflict) {
			t.Errorf("rejecting what was published: %v", err)
		}
	})
}

// TestThePublicFiguresComeFromStatements: three reports over two periods, one of
// them late, one rejected.
func TestThePublicFiguresComeFromStatements(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		day := func(n int) { h.now = h.now.Add(time.Duration(n) * 24 * time.Hour) }
		if _, _, err := h.Account(ctx, h.now, h.security); !errors.Is(err, fault.Conflict) {
			t.Errorf("an account of nothing: %v", err)
		}
		one := h.receive()
		day(1)
		h.receive()
		day(1)
		h.receive()
		cases, err := h.Cases(ctx, 10)
		if err != nil {
			t.Fatal(err)
		}
		move := func(i int, to ...string) {
			t.Helper()
			for _, step := range to {
				if err := h.Move(ctx, cases[i].ID, step, unrecorded); err != nil {
					t.Fatal(err)
				}
			}
		}
		move(0, advisory.Acknowledged, advisory.Triaged, advisory.Mended)
		move(1, advisory.Rejected)
		day(11)
		first, n, err := h.Account(ctx, h.now, h.security)
		if err != nil {
			t.Fatal(err)
		}
		if first.Received != 3 || first.Rejected != 1 || first.Fixed != 1 || first.FixDays[0] != 2 || first.Open != 2 || first.Missed != (statement.Promises{Acknowledge: 1, Triage: 1}) {
			t.Fatalf("%+v", first)
		}
		if !slices.Contains(first.Receipts, one.Receipt) {
			t.Error("a reporter does not find the receipt")
		}
		if said := h.said(n); bytes.Contains(said.Predicate, []byte("SECRETWORD")) || bytes.Contains(said.Predicate, []byte(one.Reference)) {
			t.Errorf("said %s", said.Predicate)
		}
		day(30)
		move(2, advisory.Acknowledged, advisory.Triaged, advisory.Mended, advisory.Disclosed)
		day(1)
		if _, _, err := h.Account(ctx, h.now.Add(time.Hour), h.security); !errors.Is(err, fault.Invalid) {
			t.Errorf("an account of the future: %v", err)
		}
		if _, _, err := h.Account(ctx, h.now, h.vendor.Keys["rel"]); !errors.Is(err, fault.Denied) {
			t.Errorf("by the release key: %v", err)
		}
		second, _, err := h.Account(ctx, h.now, h.security)
		if err != nil || second.From != first.To || second.Received != 0 || second.Fixed != 1 || second.Open != 1 {
			t.Fatalf("%+v %v", second, err)
		}
		accounts, err := h.Accounts(ctx)
		if err != nil || len(accounts) != 2 {
			t.Fatal(err)
		}
		f := advisory.Sum(accounts)
		if f.Received != 3 || f.Fixed != 2 || f.MedianDays != (2+41)/2 || f.MissedAll != 2 || f.Open != 1 || f.From != first.From || f.To != second.To {
			t.Fatalf("%+v", f)
		}
	})
}

func TestOpeningWhatIsNoReport(t *testing.T) {
	h := newHouse(t, t.TempDir()+"/db")
	var b bytes.Buffer
	w, err := age.Encrypt(&b, h.identity.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte(`{"mediaType":"text/plain"}`))
	w.Close()
	if _, err := advisory.Open(&b, h.identity); !errors.Is(err, fault.Invalid) {
		t.Errorf("got %v", err)
	}
}
