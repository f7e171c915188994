package programme

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/base/store/storetest"
	"clerestory.dev/clerestory/statement"
)

var at = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

type key struct{ ed25519.PrivateKey }

func (k key) KeyID() string { return statement.KeyID(k.Public().(ed25519.PublicKey)) }
func (k key) Sign(m []byte) ([]byte, error) {
	return ed25519.Sign(k.PrivateKey, m), nil
}

func keyNumber(n byte) key { return key{ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, 32))} }

func saying(after time.Duration) Saying {
	return Saying{At: at.Add(after), Sign: func(payload []byte) (*statement.Envelope, error) {
		return statement.Sign(payload, keyNumber(1))
	}}
}

func variant(t testing.TB, old, new string) *Programme {
	t.Helper()
	return mustRead(t, folder(strings.Replace(good, old, new, 1)))
}

func said(t testing.TB, db *store.DB) []store.Said {
	t.Helper()
	all, err := db.SaidFrom(context.Background(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func count(t testing.TB, db *store.DB, query string, args ...any) (n int) {
	t.Helper()
	if err := db.QueryRow(context.Background(), query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestApplyingPutsInForceAndSaysSo(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		ctx, db := context.Background(), storetest.Open(t, dsn)
		if _, err := Current(ctx, db); !errors.Is(err, fault.NotFound) {
			t.Fatalf("an empty database: %v", err)
		}
		first := mustRead(t, folder(good))
		done, err := Apply(ctx, db, first, saying(0))
		if err != nil || done.Version != 1 || done.Entry != 0 || done.Unchanged {
			t.Fatalf("applied %+v, %v", done, err)
		}
		now, err := Current(ctx, db)
		if err != nil || now.Digest() != first.Digest() || now.People[1].ID != "boris" || now.About != first.About {
			t.Fatalf("in force is %+v, %v", now, err)
		}
		all := said(t, db)
		e, err := statement.ParseEnvelope(all[0].Envelope)
		if err != nil {
			t.Fatal(err)
		}
		s, err := statement.Parse(e.Payload)
		if err != nil {
			t.Fatal(err)
		}
		body, err := statement.As(s, new(statement.Programme))
		if err != nil || body.Vendor != "acme" || body.At != "2026-11-01T12:00:00Z" || len(body.Files) != 3 ||
			s.Subject[0].Name != "programme:acme" || s.Subject[0].Digest["sha256"] != first.Digest() {
			t.Fatalf("said %+v about %+v (%v)", body, s.Subject, err)
		}
		if v, err := Version(ctx, db); v != 1 || err != nil {
			t.Fatalf("version %d, %v", v, err)
		}
	})
}

func TestApplyingTheSameFolderAgainSaysNothing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		ctx, db := context.Background(), storetest.Open(t, dsn)
		for i := range 3 {
			done, err := Apply(ctx, db, mustRead(t, folder(good)), saying(time.Duration(i)*time.Hour))
			if err != nil || done.Unchanged != (i > 0) || done.Version != 1 || done.Entry != 0 {
				t.Fatalf("time %d: %+v, %v", i, done, err)
			}
		}
		if n := len(said(t, db)); n != 1 {
			t.Fatalf("%d statements, want 1", n)
		}
		// and back to an earlier one is a change like any other
		for i, p := range []*Programme{variant(t, "name: Acme", "name: Acme B"), mustRead(t, folder(good))} {
			if done, err := Apply(ctx, db, p, saying(time.Duration(i+5)*time.Hour)); err != nil || done.Version != int64(i+2) || len(done.Changes) == 0 {
				t.Fatalf("%+v, %v", done, err)
			}
		}
	})
}

func TestNobodysNameIsSaidAndAnOlderNameIsNotKept(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		ctx, db := context.Background(), storetest.Open(t, dsn)
		salt := "\nsalt: " + strings.Repeat("s4lt", 6)
		named := func(name string) string {
			return strings.Replace(good, "id: boris\n", "id: boris\n    name: "+name+"\n", 1) + salt
		}
		for i, text := range []string{named("Boris Secretname"), named("Boris Otherword"), strings.Replace(good, "id: boris\n    roles: [approver]", "id: boris\n    roles: [approver, auditor]", 1)} {
			if _, err := Apply(ctx, db, mustRead(t, folder(text)), saying(time.Duration(i)*time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
		all := said(t, db)
		for _, s := range all {
			e, _ := statement.ParseEnvelope(s.Envelope)
			for _, secret := range []string{"Secretname", "Otherword", "mailto:", "s4lt"} {
				if bytes.Contains(e.Payload, []byte(secret)) {
					t.Errorf("the statement holds %q: %s", secret, e.Payload)
				}
			}
		}
		if e, _ := statement.ParseEnvelope(all[2].Envelope); !bytes.Contains(e.Payload, []byte("person boris: role auditor added")) {
			t.Errorf("the statement says: %s", e.Payload)
		}
		if n := count(t, db, "SELECT count(*) FROM programme_content"); n != 3 {
			t.Errorf("%d contents are kept; only the 3 files in force should be", n)
		}
	})
}

func TestTwoAppliesAtOnceDoNotOverwriteEachOther(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		ctx, db := context.Background(), storetest.Open(t, dsn)
		var inSign, wg sync.WaitGroup
		inSign.Add(2)
		errs := make([]error, 2)
		for i := range errs {
			p := variant(t, "name: Acme", fmt.Sprintf("name: Acme %d", i))
			wg.Go(func() {
				s := saying(0)
				sign := s.Sign
				s.Sign = func(payload []byte) (*statement.Envelope, error) {
					inSign.Done()
					inSign.Wait() // both have compared with the same version
					return sign(payload)
				}
				_, errs[i] = Apply(ctx, db, p, s)
			})
		}
		wg.Wait()
		if (errs[0] == nil) == (errs[1] == nil) || !errors.Is(errors.Join(errs...), fault.Conflict) {
			t.Fatalf("one must win and one be told of a conflict: %v", errs)
		}
		if len(said(t, db)) != 1 || count(t, db, "SELECT count(*) FROM programme_version") != 1 {
			t.Fatal("the loser left something behind")
		}
	})
}

func TestNothingIsDoneWhenSayingFails(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		ctx, db := context.Background(), storetest.Open(t, dsn)
		p := mustRead(t, folder(good))
		other, err := Payload(variant(t, "name: Acme", "name: Evil"), nil, at)
		if err != nil {
			t.Fatal(err)
		}
		refused := saying(0)
		refused.Sign = func([]byte) (*statement.Envelope, error) { return nil, errors.New("the key is locked") }
		swapped := saying(0)
		swapped.Sign = func([]byte) (*statement.Envelope, error) { return statement.Sign(other, keyNumber(1)) }
		unsigned := saying(0)
		unsigned.Sign = func(payload []byte) (*statement.Envelope, error) { return statement.Sign(payload) }
		late := saying(2 * 365 * 24 * time.Hour) // security.txt has run out
		for what, s := range map[string]Saying{"refused": refused, "swapped text": swapped, "unsigned": unsigned, "late": late} {
			if _, err := Apply(ctx, db, p, s); err == nil {
				t.Errorf("%s: no error", what)
			}
		}
		if v, _ := Version(ctx, db); v != 0 || len(said(t, db)) != 0 || count(t, db, "SELECT count(*) FROM programme_file") != 0 {
			t.Fatal("a failed attempt left something behind")
		}
	})
}

func TestTheVendorAndTheLogStayTheSame(t *testing.T) {
	db := storetest.Open(t, t.TempDir()+"/c.db")
	ctx := context.Background()
	if _, err := Apply(ctx, db, mustRead(t, folder(good)), saying(0)); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*Programme{variant(t, "id: acme", "id: evil"), variant(t, "origin: acme.example/log", "origin: acme.example/log2")} {
		if _, err := Apply(ctx, db, p, saying(time.Hour)); !errors.Is(err, fault.Invalid) {
			t.Errorf("got %v, want invalid", err)
		}
	}
}

func TestAChangedFileInTheDatabaseIsNoticed(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		ctx := context.Background()
		for _, attack := range []string{
			"UPDATE programme_content SET content = CAST('permit(principal, action, resource) when { true };' AS BYTEA) WHERE sha256 IN (SELECT sha256 FROM programme_file WHERE path LIKE 'policies/%')",
			"DELETE FROM programme_file WHERE path LIKE 'policies/%'",
			"UPDATE programme_file SET path = 'policies/zz.cedar' WHERE path LIKE 'policies/%'",
			"UPDATE programme_version SET digest = 'x'",
			"DELETE FROM programme_version",
			"DELETE FROM programme_content",
		} {
			db := storetest.Open(t, dsn)
			if err := reset(ctx, db); err != nil {
				t.Fatal(err)
			}
			if _, err := Apply(ctx, db, mustRead(t, folder(good)), saying(0)); err != nil {
				t.Fatal(err)
			}
			if err := db.Write(ctx, func(tx *store.Tx) error { _, err := tx.ExecContext(ctx, attack); return err }); err != nil {
				t.Fatalf("%s: %v", attack, err)
			}
			if _, err := Current(ctx, db); !errors.Is(err, fault.Tampered) {
				t.Errorf("%s: got %v, want tampered", attack, err)
			}
			if _, err := Apply(ctx, db, mustRead(t, folder(good)), saying(time.Hour)); !errors.Is(err, fault.Tampered) {
				t.Errorf("%s: applying on top: got %v, want tampered", attack, err)
			}
		}
	})
}

// reset empties the programme's tables and the outbox between attacks.
func reset(ctx context.Context, db *store.DB) error {
	return db.Write(ctx, func(tx *store.Tx) error {
		for _, q := range []string{"DELETE FROM programme_content", "DELETE FROM programme_file", "DELETE FROM programme_version", "UPDATE programme_head SET version = 0",
			"DELETE FROM statement", "DELETE FROM statement_subject", "DELETE FROM statement_signer", "UPDATE outbox_head SET next = 0"} {
			if _, err := tx.ExecContext(ctx, q); err != nil {
				return err
			}
		}
		return nil
	})
}

func TestAPlanSaysWhatChangesInPlainLines(t *testing.T) {
	old := mustRead(t, folder(good))
	f := folder(strings.NewReplacer(
		"channels: [stable, beta]", "channels: [stable, nightly]", "approvals: 2", "approvals: 3", "  - id: ada\n    roles: [admin]", "  - id: ada\n    roles: [admin, approver]",
		"name: Acme", "name: ACME", "2027-06-30", "2027-07-30").Replace(good))
	delete(f, "policies/visit.cedar")
	f["policies/release.cedar"] = &fstest.MapFile{Data: []byte("x")}
	var got []string
	for _, c := range Plan(old, mustRead(t, f)) {
		got = append(got, c.String())
	}
	want := []string{
		"vendor: name changed", "releases: approvals needed changed from 2 to 3",
		"product agent: channel beta removed", "product agent: channel nightly added", "person ada: role approver added",
		"security contact: expiry changed from 2027-06-30T00:00:00Z to 2027-07-30T00:00:00Z",
		"file policies/visit.cedar: removed", "file policies/release.cedar: added", "file programme.yaml: changed",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if Plan(old, mustRead(t, folder(good))) != nil {
		t.Error("the same folder has changes")
	}
	if first := Plan(nil, old); first[0].String() != "programme: first version" {
		t.Errorf("first: %v", first)
	}
}

// The largest folder that Read accepts must fit into a log entry, with eight
// signatures: otherwise it could be checked but never applied.
func TestTheLargestFolderFitsIntoALogEntry(t *testing.T) {
	var people strings.Builder
	for i := range Limits.People - 3 {
		fmt.Fprintf(&people, "  - id: p%d%s\n    roles: [auditor, approver]\n", i, strings.Repeat("x", 50))
	}
	f := folder(strings.Replace(strings.Replace(good, "people:\n", "people:\n"+people.String(), 1), "name: Acme", "name: '"+strings.Repeat("<", Limits.Name)+"'", 1))
	for i := range 280 { // with these names, 280 files are nearly all that a statement can list
		f[fmt.Sprintf("policies/%s%03d.cedar", strings.Repeat("é", 22), i)] = &fstest.MapFile{}
	}
	p := mustRead(t, f)
	payload, err := Payload(p, Plan(nil, p), at)
	if err != nil {
		t.Fatal(err)
	}
	e, err := statement.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	for n := range byte(8) {
		if err := e.AddSignature(keyNumber(n + 1)); err != nil {
			t.Fatal(err)
		}
	}
	b, err := e.Format()
	t.Logf("%d files, %d bytes", len(p.Files), len(b))
	if err != nil || !strings.Contains(string(payload), " more changes") {
		t.Fatalf("it does not fit, or the changes were not counted: %v", err)
	}
}
