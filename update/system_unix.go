//go:build unix

package update

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

func syncFolder(d *os.File) error { return d.Sync() }

// lock keeps other clients out of a folder until the file is closed, or this
// process ends, however it ends.
func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, disk("locking the folder", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return f, nil
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = refuse(Busy, "another update of this folder is running")
	}
	return nil, errors.Join(disk("locking the folder", err), f.Close())
}

// unlock lets others in. Closing alone would not, while a process that is just
// being started elsewhere in this one still holds a copy of the file.
func unlock(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}

// alone lets a command be ended with everything that it started.
func alone(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
