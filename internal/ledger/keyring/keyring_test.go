package keyring_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/base/store/storetest"
	"clerestory.dev/clerestory/internal/ledger/keyring"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

var (
	pass = []byte("correct horse battery")
	now  = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
)

func ring(t *testing.T) *keyring.Ring { return &keyring.Ring{Dir: t.TempDir(), WorkFactor: 4} }

func create(t *testing.T, r *keyring.Ring, name, role string) *keyring.Key {
	t.Helper()
	k, err := r.Create(name, role, name, pass)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestAKeyIsThereAgainWithItsPassphrase(t *testing.T) {
	r := ring(t)
	k := create(t, r, "ada", "approver")
	again, err := r.Unlock("ada", pass)
	if err != nil || again.KeyID() != k.KeyID() {
		t.Fatalf("got %v, %v", again, err)
	}
	e, err := statement.Sign([]byte("x"), again)
	if err != nil || !e.SignedBy(k.Public.Public, e.Signatures[0]) {
		t.Fatal("the unlocked key does not sign as the created one", err)
	}
	raw, _ := os.ReadFile(filepath.Join(r.Dir, "ada.key"))
	info, _ := os.Stat(filepath.Join(r.Dir, "ada.key"))
	if !bytes.Contains(raw, []byte("AGE ENCRYPTED")) || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v:\n%s", info.Mode(), raw)
	}
}

func TestKeysAreRefused(t *testing.T) {
	r := ring(t)
	create(t, r, "ada", "approver")
	create(t, r, "eve", "approver")
	for _, c := range []struct {
		name string
		do   func() error
		want error
	}{
		{"wrong passphrase", func() error { _, err := r.Unlock("ada", []byte("wrong passphrase")); return err }, fault.Denied},
		{"no such key", func() error { _, err := r.Unlock("bob", pass); return err }, fault.NotFound},
		{"a path for a name", func() error { _, err := r.Unlock("../ada", pass); return err }, fault.Invalid},
		{"overwriting", func() error { _, err := r.Create("ada", "approver", "ada", pass); return err }, fault.Conflict},
		{"short passphrase", func() error { _, err := r.Create("carl", "approver", "carl", []byte("short")); return err }, fault.Invalid},
		{"a file under another name", func() error {
			b, _ := os.ReadFile(filepath.Join(r.Dir, "ada.key"))
			os.WriteFile(filepath.Join(r.Dir, "mallory.key"), b, 0o600)
			_, err := r.Unlock("mallory", pass)
			return err
		}, fault.Tampered},
	} {
		if err := c.do(); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}

// vendor is a root of trust of three keys, two of which must sign.
func vendor(t *testing.T, r *keyring.Ring) (*verify.Trust, []*keyring.Key, keyring.RootPlan) {
	t.Helper()
	roots := []*keyring.Key{create(t, r, "root-1", "root"), create(t, r, "root-2", "root"), create(t, r, "root-3", "root")}
	_, vkey, err := create(t, r, "log", "log").Note("example.org/log")
	if err != nil {
		t.Fatal(err)
	}
	plan := keyring.RootPlan{Vendor: "acme", Policy: "log " + vkey + "\nquorum none\n", Approvals: 2, Threshold: 2,
		Expires: now.AddDate(1, 0, 0), Online: []keyring.Public{create(t, r, "online", "online").Public}}
	file, err := keyring.NewRoot(plan, roots)
	if err != nil {
		t.Fatal(err)
	}
	trust, err := verify.ParseTrust(file)
	if err != nil {
		t.Fatal(err)
	}
	return trust, roots, plan
}

func TestKeyStatementsNeedTheRootThreshold(t *testing.T) {
	storetest.Each(t, func(t *testing.T, dsn string) {
		r, db, ctx := ring(t), storetest.Open(t, dsn), context.Background()
		trust, roots, _ := vendor(t, r)
		ada := create(t, r, "ada", "approver")
		grant := func(roots ...*keyring.Key) error {
			s := keyring.Speaker{Trust: trust, Roots: roots, Now: func() time.Time { return now }}
			return db.Write(ctx, func(tx *store.Tx) error {
				_, err := s.Grant(ctx, tx, ada.Public, []string{"*"})
				return err
			})
		}
		if err := grant(roots[0]); !errors.Is(err, fault.Denied) {
			t.Fatalf("one of three: got %v", err)
		}
		if next, _ := db.Next(ctx); next != 0 {
			t.Fatal("the refused statement was said")
		}
		if err := grant(roots[0], ada); !errors.Is(err, fault.Denied) {
			t.Fatalf("with a stranger: got %v", err)
		}
		if err := grant(roots[2], roots[0]); err != nil {
			t.Fatal(err)
		}
		states, err := keyring.States(ctx, db)
		if err != nil || len(states) != 1 || !states[0].Active || states[0].Key.Holder != "ada" {
			t.Fatalf("got %+v, %v", states, err)
		}
	})
}

func TestOldKeyStatementsStandAfterRootRotation(t *testing.T) {
	r, ctx := ring(t), context.Background()
	trust, roots, plan := vendor(t, r)
	db := storetest.Open(t, filepath.Join(t.TempDir(), "db"))
	ada := create(t, r, "ada", "approver")
	speaker := keyring.Speaker{Trust: trust, Roots: roots[:2], Now: func() time.Time { return now }}
	if err := db.Write(ctx, func(tx *store.Tx) error {
		_, err := speaker.Grant(ctx, tx, ada.Public, []string{"*"})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	fresh := []*keyring.Key{create(t, r, "root-4", "root"), create(t, r, "root-5", "root")}
	if _, err := keyring.RotateRoot(trust, plan, keyring.PublicOf(fresh), append(roots[:1:1], fresh...), 1); !errors.Is(err, fault.Invalid) {
		t.Fatalf("too few old root keys: got %v", err)
	}
	file, err := keyring.RotateRoot(trust, plan, keyring.PublicOf(fresh), append(roots[:2:2], fresh...), 1)
	if err != nil {
		t.Fatal(err)
	}
	rotated, err := verify.ParseTrust(file)
	if err != nil {
		t.Fatal(err)
	}
	said, _ := db.SaidAt(ctx, 0)
	old, _ := verify.ParseEntry(0, said.Envelope)
	if _, err := rotated.NewAuthority([]verify.Entry{old}); err != nil {
		t.Fatalf("the grant from before: %v", err)
	}
	old.Index = 1 // the same signatures, but after the rotation
	if _, err := rotated.NewAuthority([]verify.Entry{old}); verify.CodeOf(err) != verify.CodeSignature {
		t.Fatalf("old root keys still count after the rotation: %v", err)
	}
}

func TestRotatedKeyKeepsItsName(t *testing.T) {
	r := ring(t)
	old := create(t, r, "ada", "approver")
	fresh, err := r.Create("ada-next", "approver", "ada", pass)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.SetAside("ada", 12), r.Rename("ada-next", "ada")); err != nil {
		t.Fatal(err)
	}
	if k, err := r.Unlock("ada", pass); err != nil || k.KeyID() != fresh.KeyID() {
		t.Fatalf("got %v, %v", k, err)
	}
	if k, err := r.Unlock("ada.until-12", pass); err != nil || k.KeyID() != old.KeyID() {
		t.Fatalf("got %v, %v", k, err)
	}
}

func TestARootIsRenewedWithTheSameKeys(t *testing.T) {
	r := ring(t)
	trust, roots, plan := vendor(t, r)
	plan.Approvals = 3
	if _, err := keyring.RotateRoot(trust, plan, keyring.PublicOf(roots), roots[:1], 1); !errors.Is(err, fault.Invalid) {
		t.Fatalf("one of three signed: got %v", err)
	}
	file, err := keyring.RotateRoot(trust, plan, keyring.PublicOf(roots), roots[1:], 1)
	if err != nil {
		t.Fatal(err)
	}
	next, err := trust.Rotate(file)
	if err != nil || next.Root.Version != 2 || next.Root.Clerestory.Approvals != 3 || len(next.Root.Clerestory.Formerly) != 0 {
		t.Fatalf("%+v, %v", next, err)
	}
}
