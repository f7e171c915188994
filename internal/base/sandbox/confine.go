package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"clerestory.dev/clerestory/internal/base/fault"
)

// wall is one built command line with the files that it inherits.
type wall struct {
	argv   []string
	env    []string
	files  []*os.File    // of the child: the filter, the status
	status *os.File      // our end
	said   chan struct{} // closed when the status was read to its end
	inside atomic.Bool   // bubblewrap reported how the job ended: it had been built
	bare   bool          // there is no wall, by the caller's will
	write  string
}

// The job's user when we are root: one that no other process has, so that the
// limit of processes counts the job's only and its files belong to nobody.
const firstUser = 0x70000000

var jobs atomic.Uint32

// Confines tells whether this machine has what [Run] needs, and else what to install.
func Confines() error {
	for _, c := range []struct{ name, pkg string }{{"bwrap", "bubblewrap"}, {"prlimit", "util-linux"}, {"setpriv", "util-linux"}} {
		if _, err := exec.LookPath(c.name); err != nil {
			return fault.Unavailable.New("the sandbox needs the command %s: install the package %s", c.name, c.pkg)
		}
	}
	if _, err := filter(); err != nil {
		return err
	}
	return nil
}

func build(j Job) (*wall, error) {
	w := &wall{write: j.Write, said: make(chan struct{}),
		env: append([]string{"PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME=/tmp", "LANG=C.UTF-8"}, j.Env...)}
	inner := append(limited(j.Limits), j.Argv...)
	if err := Confines(); err != nil {
		if !j.UnsafeUnconfined {
			return nil, err
		}
		w.bare = true
		if _, err := exec.LookPath("prlimit"); err != nil {
			inner = j.Argv
		}
		w.argv = inner
		return w, nil
	}
	if j.UnsafeUnconfined {
		w.bare, w.argv = true, inner
		return w, nil
	}
	args, err := mounts(j)
	if err != nil {
		return nil, err
	}
	if err := w.pipes(); err != nil {
		return nil, err
	}
	argv := []string{"bwrap", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try",
		"--die-with-parent", "--new-session", "--hostname", "sandbox", "--cap-drop", "ALL", "--seccomp", "3", "--json-status-fd", "4"}
	if os.Geteuid() == 0 {
		user, err := jobUser()
		if err != nil {
			w.close()
			return nil, err
		}
		if j.Write != "" {
			if err := os.Lchown(j.Write, user, user); err != nil {
				w.close()
				return nil, fmt.Errorf("handing the folder to the job: %w", err)
			}
		}
		// The capabilities live until setpriv has changed the user and emptied every set.
		argv = append(argv, "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP")
		id := strconv.Itoa(user)
		inner = append([]string{"setpriv", "--reuid", id, "--regid", id, "--clear-groups", "--no-new-privs",
			"--inh-caps=-all", "--bounding-set=-all", "--"}, inner...)
	} else {
		argv = append(argv, "--unshare-user", "--disable-userns")
	}
	argv = append(argv, args...)
	w.argv = append(append(argv, "--"), inner...)
	return w, nil
}

// limited is the command that lowers the limits, inside: there the number of
// processes counts those of the job only.
func limited(l Limits) []string {
	seconds := max(1, int64(l.CPU.Seconds()+0.999))
	return []string{"prlimit", "--core=0", "--memlock=0", "--msgqueue=0", "--nofile=1024",
		fmt.Sprintf("--cpu=%d:%d", seconds, seconds+1), // a signal that says why, then the one that can not be caught
		fmt.Sprintf("--fsize=%d", l.FileSize),
		fmt.Sprintf("--as=%d", 2*l.Memory+1<<30),
		fmt.Sprintf("--nproc=%d", l.Processes), "--"}
}

// mounts shows the job the system's programs and its inputs. Nothing else of the
// host is there: a unix socket under a bound root would be reachable.
func mounts(j Job) ([]string, error) {
	args := []string{"--ro-bind", "/usr", "/usr"}
	for _, dir := range []string{"/bin", "/sbin", "/lib", "/lib32", "/lib64"} {
		if target, err := os.Readlink(dir); err == nil {
			args = append(args, "--symlink", target, dir)
		} else if _, err := os.Stat(dir); err == nil {
			args = append(args, "--ro-bind", dir, dir)
		}
	}
	args = append(args, "--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache", "--ro-bind-try", "/etc/alternatives", "/etc/alternatives",
		"--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev", // with /dev/shm, which the size of /tmp would not bound
		"--perms", "1777", "--size", strconv.FormatInt(j.Scratch, 10), "--tmpfs", "/tmp")
	seen := map[string]bool{"/out": true} // no bind lies in, above or on another: what is inside is said once
	for _, b := range j.Binds {
		if !filepath.IsAbs(b.Host) || !path.IsAbs(b.Inside) || path.Clean(b.Inside) != b.Inside || seen[b.Inside] || reserved(b.Inside) {
			return nil, fault.Invalid.New("the job can not see %q as %q", b.Host, b.Inside)
		}
		if _, err := os.Stat(b.Host); err != nil {
			return nil, fault.NotFound.New("an input of the job: %w", err)
		}
		for i := 1; i < len(b.Inside); i++ { // bubblewrap would make the folders above for itself only
			if above := b.Inside[:i]; b.Inside[i] == '/' && !seen[above] {
				seen[above] = true
				args = append(args, "--dir", above)
			}
		}
		seen[b.Inside] = true
		args = append(args, "--ro-bind", b.Host, b.Inside)
	}
	if j.Write != "" {
		if st, err := os.Lstat(j.Write); err != nil || !st.IsDir() || !filepath.IsAbs(j.Write) {
			return nil, fault.Invalid.New("the job may write into a folder only, and %q is none", j.Write)
		}
		args = append(args, "--bind", j.Write, "/out", "--chdir", "/out")
	} else {
		args = append(args, "--chdir", "/tmp")
	}
	return append(args, "--remount-ro", "/"), nil
}

func reserved(inside string) bool {
	top, _, _ := strings.Cut(inside[1:], "/")
	return slices.Contains([]string{"", "usr", "bin", "sbin", "lib", "lib32", "lib64", "etc", "proc", "dev", "sys", "tmp", "out"}, top)
}

// jobUser picks a user for this job among those that our own user namespace has.
func jobUser() (int, error) {
	want := int64(firstUser) + int64(os.Getpid()%4096)*4096 + int64(jobs.Add(1)%4096)
	m, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return 0, fault.Unavailable.New("reading our own users: %w", err)
	}
	for _, id := range []int64{want, 65534} {
		for line := range strings.Lines(string(m)) {
			var inside, outside, count int64
			if n, _ := fmt.Sscan(line, &inside, &outside, &count); n == 3 && id >= inside && id < inside+count {
				return int(id), nil
			}
		}
	}
	return 0, fault.Unavailable.New("no unprivileged user is mapped here: run as another user than root")
}

// pipes makes what bubblewrap reads the filter from and says its status to.
func (w *wall) pipes() error {
	program, err := filter()
	if err != nil {
		return err
	}
	fr, fw, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("making a pipe: %w", err)
	}
	sr, sw, err := os.Pipe()
	if err != nil {
		fr.Close()
		fw.Close()
		return fmt.Errorf("making a pipe: %w", err)
	}
	if _, err := fw.Write(program); err != nil { // well under a pipe's 64 KiB
		err = fmt.Errorf("writing the filter: %w", err)
		fr.Close()
		fw.Close()
		sr.Close()
		sw.Close()
		return err
	}
	fw.Close()
	w.files, w.status = []*os.File{fr, sw}, sr
	return nil
}

// started lets go of the child's files, and listens.
func (w *wall) started() {
	for _, f := range w.files {
		f.Close()
	}
	w.files = nil
	if w.status == nil {
		close(w.said)
		return
	}
	go func() {
		defer close(w.said)
		b, _ := io.ReadAll(io.LimitReader(w.status, 64<<10))
		for d := json.NewDecoder(bytes.NewReader(b)); ; {
			var s struct {
				Exit *int `json:"exit-code"`
			}
			if d.Decode(&s) != nil {
				return
			}
			if s.Exit != nil {
				w.inside.Store(true)
			}
		}
	}()
}

// entered tells whether the job was started inside its wall.
func (w *wall) entered() bool {
	<-w.said
	return w.bare || w.inside.Load()
}

// tidy takes the folder back.
func (w *wall) tidy() {
	if w.write != "" && !w.bare && os.Geteuid() == 0 {
		_ = os.Lchown(w.write, 0, os.Getegid())
	}
}

func (w *wall) close() {
	for _, f := range w.files {
		f.Close()
	}
	if w.status != nil {
		w.status.Close()
	}
}
