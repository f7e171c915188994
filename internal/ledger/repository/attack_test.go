package repository_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/ledger/repository"
	"clerestory.dev/clerestory/internal/ledger/signing"
	"clerestory.dev/clerestory/statement"
)

func db(t *testing.T) string { return filepath.Join(t.TempDir(), "clerestory.db") }

func TestAnOldMirrorIsRefused(t *testing.T) {
	v := newVendor(t, db(t))
	v.publish("1.0.0", "one")
	mirror := filepath.Join(t.TempDir(), "mirror")
	must(t, os.CopyFS(mirror, os.DirFS(v.Dir)))
	v.now = v.now.Add(time.Hour)
	v.publish("1.1.0", "two")
	c := v.client(v.Dir)
	_, err := c.refresh()
	must(t, err)
	c.url = v.client(mirror).url
	if _, err := c.refresh(); !errors.Is(err, &metadata.ErrBadVersionNumber{}) {
		t.Fatalf("rollback: %v", err)
	}
	fresh := v.client(mirror)
	v.now = v.now.Add(25 * time.Hour)
	if _, err := fresh.refresh(); !errors.Is(err, &metadata.ErrExpiredMetadata{}) {
		t.Fatalf("freeze: %v", err)
	}
}

func TestAMixOfTwoStatesIsRefused(t *testing.T) {
	v := newVendor(t, db(t))
	v.publish("1.0.0", "one")
	before, err := os.ReadFile(filepath.Join(v.Dir, "metadata", "1.snapshot.json"))
	must(t, err)
	v.publish("1.1.0", "two")
	must(t, os.WriteFile(filepath.Join(v.Dir, "metadata", "2.snapshot.json"), before, 0o644))
	if _, err := v.client(v.Dir).refresh(); err == nil {
		t.Fatal("an older snapshot under a newer name was believed")
	}
}

// answers signs what is staged.
func (v *vendor) answers(stage *repository.Stage, signers ...statement.Signer) (all []*signing.Response) {
	v.t.Helper()
	for _, d := range stage.Documents {
		q, err := signing.ParseRequest(d.Request)
		must(v.t, err)
		for _, k := range signers {
			if a, err := signing.Answer(q, k, v.now); err == nil {
				all = append(all, a)
			}
		}
	}
	return all
}

func TestNothingIsPublishedBelowTheThreshold(t *testing.T) {
	v := newVendor(t, db(t))
	_, err := v.Offer(ctx, v.version("1.0.0", "one"), 100, "seed")
	must(t, err)
	stage, err := v.Stage(ctx)
	must(t, err)
	one := v.answers(stage, v.roots[0], v.release[0])
	p, err := v.Assemble(ctx, one...)
	if err != nil || len(p.Waiting) != 2 || p.Published || p.Waiting[0].Have != 1 || p.Waiting[0].Need != 2 {
		t.Fatalf("%+v, %v", p, err)
	}
	if p, err = v.Assemble(ctx, append(one, one...)...); err != nil || len(p.Waiting) != 2 {
		t.Fatalf("the same key twice: %+v, %v", p, err)
	}
	if done, err := v.Renew(ctx); done || err != nil {
		t.Fatalf("renewed: %v, %v", done, err)
	}
	if _, err := os.Stat(filepath.Join(v.Dir, "metadata")); err == nil {
		t.Fatal("metadata is there")
	}
	eve := v.key("eve", "release")
	q, err := signing.ParseRequest(stage.Documents[1].Request)
	must(t, err)
	sig, err := eve.Sign(q.Message())
	must(t, err)
	forged := &signing.Response{Request: one[0].Request, KeyID: eve.KeyID(), Sig: sig}
	if _, err := v.Assemble(ctx, forged); !errors.Is(err, fault.Denied) {
		t.Fatalf("a stranger's key: %v", err)
	}
	forged.KeyID = v.release[1].KeyID()
	if _, err := v.Assemble(ctx, forged); err == nil {
		t.Fatal("a forged signature was taken")
	}
	if p, err = v.Assemble(ctx, v.answers(stage, v.roots[2], v.release[2])...); err != nil || !p.Published {
		t.Fatalf("%+v, %v", p, err)
	}
	if got, err := v.client(v.Dir).get("agent/1.0.0/agent.bin"); string(got) != "one" || err != nil {
		t.Fatal(string(got), err)
	}
}

func TestWhatWasSignedBeforeAHaltIsVoid(t *testing.T) {
	v := newVendor(t, db(t))
	v.publish("1.0.0", "one")
	_, err := v.Offer(ctx, v.version("1.1.0", "two"), 100, "seed")
	must(t, err)
	stage, err := v.Stage(ctx)
	must(t, err)
	answers := v.answers(stage, v.signers()...)
	_, err = v.Halt(ctx, "agent", "stable", "1.1.0")
	must(t, err)
	if _, err := v.Assemble(ctx, answers...); !errors.Is(err, fault.Stale) {
		t.Fatalf("got %v", err)
	}
}

func TestAKeyThatLosesItsRoleBetweenSigningAndPublishingDoesNotCount(t *testing.T) {
	v := newVendor(t, db(t))
	_, err := v.Offer(ctx, v.version("1.0.0", "one"), 100, "seed")
	must(t, err)
	stage, err := v.Stage(ctx)
	must(t, err)
	v.Online = nil // signed, but not visible yet
	p, err := v.Assemble(ctx, v.answers(stage, v.signers()...)...)
	if err != nil || len(p.Waiting) != 0 || p.Published {
		t.Fatalf("%+v, %v", p, err)
	}
	v.Release = func(context.Context, string) (repository.Keys, error) { return keysOf(2, v.release[1:]...), nil }
	v.Online = []statement.Signer{v.online}
	if done, err := v.Renew(ctx); done || err != nil {
		t.Fatalf("published: %v, %v", done, err)
	}
	if _, err := os.Stat(filepath.Join(v.Dir, "metadata", "timestamp.json")); err == nil {
		t.Fatal("clients see it")
	}
}

func TestNamesThatLeaveTheProductAreRefused(t *testing.T) {
	v := newVendor(t, db(t))
	for _, name := range []string{"../other/1.0/x", "a/../../b", "a//b", ".hidden", "a/.b", "a b", "a%2e", "a\\b", "head.json", "stop.json", "", "a/b/c/d/e/f/g", "ä", "-\n"} {
		r := v.version("1.0.0", "one")
		r.Files[0].Name = name
		if _, err := v.Offer(ctx, r, 100, "s"); !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, product := range []string{"root", "targets", "snapshot", "timestamp", "../agent", "agent~bin-0"} {
		r := v.version("1.0.0", "one")
		r.Product = product
		if _, err := v.Offer(ctx, r, 100, "s"); !errors.Is(err, fault.Invalid) {
			t.Errorf("product %q: %v", product, err)
		}
	}
	r := v.version("stable", "one")
	if _, err := v.Offer(ctx, r, 100, "s"); !errors.Is(err, fault.Invalid) {
		t.Errorf("a version named as its channel: %v", err)
	}
}

func TestAFullDiskPublishesNothing(t *testing.T) {
	v := newVendor(t, db(t))
	v.publish("1.0.0", "one")
	before, err := os.ReadFile(filepath.Join(v.Dir, "metadata", "timestamp.json"))
	must(t, err)
	// A file in a folder's place stops the write as a full disk does.
	in := filepath.Join(v.Dir, "targets", "agent", "1.1.0")
	must(t, os.WriteFile(in, nil, 0o644))
	_, err = v.Publish(ctx, func(ctx context.Context) error {
		_, err := v.Offer(ctx, v.version("1.1.0", "two"), 100, "s")
		return err
	}, v.signers()...)
	if !errors.Is(err, fault.Unavailable) {
		t.Fatalf("got %v", err)
	}
	if after, _ := os.ReadFile(filepath.Join(v.Dir, "metadata", "timestamp.json")); string(after) != string(before) {
		t.Fatal("the timestamp was replaced")
	}
	if h := v.client(v.Dir).head(); len(h.Releases) != 1 {
		t.Fatalf("%+v", h)
	}
	// When there is room again the next renewal goes on with what was signed.
	must(t, os.Remove(in))
	if done, err := v.Renew(ctx); !done || err != nil {
		t.Fatal(done, err)
	}
	if h := v.client(v.Dir).head(); len(h.Releases) != 2 {
		t.Fatalf("%+v", h)
	}
	left, _ := filepath.Glob(filepath.Join(v.Dir, "*", "*", "*", ".new-*"))
	if len(left) > 0 {
		t.Fatal(left)
	}
}

func TestDamagedBytesAreNotPublished(t *testing.T) {
	v := newVendor(t, db(t))
	r := v.version("1.0.0", "the real content")
	r.Files[0].Size--
	if _, err := v.Offer(ctx, r, 100, "s"); !errors.Is(err, fault.Tampered) {
		t.Fatalf("another size: %v", err)
	}
	r.Files[0].SHA256 = strings.Repeat("0", 64)
	if _, err := v.Offer(ctx, r, 100, "s"); !errors.Is(err, fault.NotFound) {
		t.Fatalf("no such bytes: %v", err)
	}
}

func TestADatabaseOlderThanItsFolderIsRefusedAndAdopts(t *testing.T) {
	v := newVendor(t, db(t))
	v.publish("1.0.0", "one")
	dir := t.TempDir()
	must(t, v.DB.BackupTo(ctx, filepath.Join(dir, "copy.db")))
	v.publish("1.1.0", "two")
	_, err := v.Halt(ctx, "agent", "stable", "1.0.0")
	must(t, err)
	v.show(nil)
	c := v.client(v.Dir)
	seen := c.head()

	w := newVendor(t, filepath.Join(dir, "copy.db"))
	w.Dir, w.files, w.online, w.roots, w.release = v.Dir, v.files, v.online, v.roots, v.release
	w.Online = v.Online
	w.now = v.now.Add(13 * time.Hour)
	if _, err := w.Renew(ctx); !errors.Is(err, fault.Stale) {
		t.Fatalf("got %v", err)
	}
	must(t, w.Adopt(ctx))
	if h, err := w.Head(ctx, "agent", "stable"); err != nil || h.Sequence != seen.Sequence || len(h.Releases) != 2 || !h.Releases[0].Halted {
		t.Fatalf("%+v, %v", h, err)
	}
	if stage, err := w.Stage(ctx); stage != nil || err != nil {
		t.Fatalf("there is something to sign after adopting: %+v, %v", stage, err)
	}
	w.publish("1.2.0", "three")
	v.now = w.now
	h := c.head() // the same client goes on
	if len(h.Releases) != 3 || h.Releases[2].Number <= seen.Releases[1].Number || h.Sequence <= seen.Sequence {
		t.Fatalf("%+v", h)
	}
}
