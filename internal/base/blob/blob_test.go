package blob_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clerestory.dev/clerestory/internal/base/blob"
	"clerestory.dev/clerestory/internal/base/fault"
)

func TestPutThenOpen(t *testing.T) {
	d, err := blob.NewDisk(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time it is there already
		info, err := d.Put(context.Background(), strings.NewReader("hello"), 5)
		if err != nil || info.Size != 5 || info.SHA256 != "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824" {
			t.Fatalf("got %+v, %v", info, err)
		}
		f, err := d.Open(info.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := io.ReadAll(f); string(b) != "hello" {
			t.Fatalf("got %q", b)
		}
		f.Close()
	}
}

func TestDamagedBlobIsNotHandedOut(t *testing.T) {
	dir := t.TempDir()
	d, _ := blob.NewDisk(dir)
	info, err := d.Put(context.Background(), strings.NewReader("hello"), 100)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, info.SHA256[:2], info.SHA256)
	os.Chmod(path, 0o600)
	os.WriteFile(path, []byte("hellO"), 0o600)
	if _, err := d.Open(info.SHA256); !errors.Is(err, fault.Tampered) {
		t.Fatalf("got %v", err)
	}
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	d, _ := blob.NewDisk(dir)
	ctx, stop := context.WithCancel(context.Background())
	stop()
	_, tooBig := d.Put(context.Background(), strings.NewReader("hello"), 4)
	_, stopped := d.Put(ctx, strings.NewReader("hello"), 100)
	_, path := d.Open("../../etc/passwd")
	_, missing := d.Open(strings.Repeat("0", 64))
	for i, c := range []struct{ got, want error }{{tooBig, fault.Invalid}, {stopped, fault.Unavailable}, {path, fault.Invalid}, {missing, fault.NotFound}} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("case %d: got %v, want %v", i, c.got, c.want)
		}
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "incoming")); len(left) != 0 {
		t.Errorf("refused files were left behind: %v", left)
	}
}
