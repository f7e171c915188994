package log

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store/storetest"
)

func TestAFullDiskStopsTheLogAndLosesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=512k"); err != nil {
		t.Skipf("a small disk can only be mounted by root: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	v := newVendor(t, dir)
	db := storetest.Open(t, filepath.Join(t.TempDir(), "db"))
	w, err := v.open(db)
	if err != nil {
		t.Fatal(err)
	}
	var n int64
	for i := 0; i < 4000 && !w.Status(soon(t)).Stopped; i++ {
		n, _ = v.say(t, db, fmt.Sprintf("statement %d", i))
	}
	s := w.Status(soon(t))
	if !s.Stopped || !errors.Is(s.Err, fault.Unavailable) || s.Pending == 0 {
		t.Fatalf("the disk is full, and the status is %+v", s)
	}
	if _, err := w.Wait(soon(t), n); !errors.Is(err, fault.Unavailable) {
		t.Errorf("waiting on a full disk: %v", err)
	}
	w.Close()

	// A restart before there is space: refused, or stopped again, nothing worse.
	if w, err := v.open(db); err == nil {
		for begun := time.Now(); !w.Status(soon(t)).Stopped && time.Since(begun) < 5*time.Second; {
			time.Sleep(10 * time.Millisecond)
		}
		err = w.Status(soon(t)).Err
		w.Close()
		if !errors.Is(err, fault.Unavailable) {
			t.Errorf("started on a full disk: %v", err)
		}
	} else if !errors.Is(err, fault.Unavailable) {
		t.Errorf("starting on a full disk: %v", err)
	}

	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	w = v.write(t, db)
	if _, err := w.Wait(soon(t), n); err != nil {
		t.Fatal(err)
	}
	allEntriesAreRows(t, dir, db)
}
