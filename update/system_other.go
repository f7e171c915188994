//go:build !unix

package update

import (
	"os"
	"os/exec"
)

// syncFolder does nothing: names are durable with the files here.
func syncFolder(*os.File) error { return nil }

// lock keeps other clients out of a folder until the file is closed.
func lock(path string) (*os.File, error) {
	// A file that is open can not be removed here, so a lock whose process ended
	// gives way at once.
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, refuse(Busy, "another update of this folder is running")
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	return f, disk("locking the folder", err)
}

func unlock(f *os.File) error { return f.Close() }

// alone does nothing: only the command itself can be ended here.
func alone(*exec.Cmd) {}
