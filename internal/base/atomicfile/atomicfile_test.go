package atomicfile_test

import (
	"os"
	"path/filepath"
	"testing"

	"clerestory.dev/clerestory/internal/base/atomicfile"
)

func TestWriteReplacesAndLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "f")
	for _, content := range []string{"first, and longer", "second"} {
		if err := atomicfile.Write(name, []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(name); string(b) != content || err != nil {
			t.Fatalf("got %q, %v", b, err)
		}
	}
	info, _ := os.Stat(name)
	if left, _ := os.ReadDir(dir); len(left) != 1 || info.Mode().Perm() != 0o640 {
		t.Fatalf("%v, mode %v", left, info.Mode())
	}
}

func TestAFailedWriteLeavesTheOldContent(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "f")
	if err := os.MkdirAll(filepath.Join(name, "in the way"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Write(name, []byte("x"), 0o600); err == nil {
		t.Fatal("a folder was replaced by a file")
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Fatalf("left behind: %v", left)
	}
}
