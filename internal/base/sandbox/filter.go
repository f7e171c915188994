package sandbox

import (
	"bytes"
	"encoding/binary"
	"maps"
	"runtime"
	"slices"
	"syscall"

	"clerestory.dev/clerestory/internal/base/fault"
)

// instruction is one step of a classic BPF program (linux/filter.h).
type instruction struct {
	Code   uint16
	Jt, Jf uint8
	K      uint32
}

const (
	load   = 0x20 // BPF_LD | BPF_W | BPF_ABS
	equal  = 0x15 // BPF_JMP | BPF_JEQ | BPF_K
	above  = 0x35 // BPF_JMP | BPF_JGE | BPF_K
	anyBit = 0x45 // BPF_JMP | BPF_JSET | BPF_K
	ret    = 0x06 // BPF_RET | BPF_K

	allow = 0x7fff0000 // SECCOMP_RET_ALLOW
	fail  = 0x00050000 // SECCOMP_RET_ERRNO
	kill  = 0x80000000 // SECCOMP_RET_KILL_PROCESS

	namespaces = 0x7e020080 // every CLONE_NEW… flag
)

// machine is how a processor numbers what jobs may not call.
type machine struct {
	arch   uint32
	clone  uint32
	denied map[string]uint32
}

// Sockets are denied as a whole: the network is gone already, and a unix socket
// in a bound folder must not be a way out.
var machines = map[string]machine{
	"amd64": {0xc000003e, 56, map[string]uint32{
		"socket": 41, "socketpair": 53, "ptrace": 101, "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161,
		"unshare": 272, "setns": 308, "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250,
		"perf_event_open": 298, "open_by_handle_at": 304, "name_to_handle_at": 303, "process_vm_readv": 310, "process_vm_writev": 311,
		"bpf": 321, "userfaultfd": 323, "init_module": 175, "finit_module": 313, "shmget": 29, "msgget": 68, "semget": 64}},
	"arm64": {0xc00000b7, 220, generic}, "riscv64": {0xc00000f3, 220, generic}, "loong64": {0xc0000102, 220, generic},
}

var generic = map[string]uint32{
	"socket": 198, "socketpair": 199, "ptrace": 117, "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51,
	"unshare": 97, "setns": 268, "kexec_load": 104, "add_key": 217, "request_key": 218, "keyctl": 219,
	"perf_event_open": 241, "open_by_handle_at": 265, "name_to_handle_at": 264, "process_vm_readv": 270, "process_vm_writev": 271,
	"bpf": 280, "userfaultfd": 282, "init_module": 105, "finit_module": 273, "shmget": 194, "msgget": 186, "semget": 190}

// newer calls have one number everywhere.
var newer = map[string]uint32{"io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
	"open_tree": 428, "move_mount": 429, "fsopen": 430, "fsmount": 432, "fspick": 433, "pidfd_getfd": 438, "mount_setattr": 442,
	"memfd_secret": 447}

const clone3 = 435

// filter is the program for this processor, as bubblewrap reads it.
func filter() ([]byte, error) {
	m, ok := machines[runtime.GOARCH]
	if !ok || runtime.GOOS != "linux" {
		return nil, fault.Unavailable.New("the sandbox does not know %s on %s", runtime.GOARCH, runtime.GOOS)
	}
	p := []instruction{
		{load, 0, 0, 4}, // the architecture: numbers mean something else on another
		{equal, 1, 0, m.arch},
		{ret, 0, 0, kill},
		{load, 0, 0, 0}, // the number
	}
	if runtime.GOARCH == "amd64" { // x32 has numbers of its own
		p = append(p, instruction{above, 0, 1, 0x40000000}, instruction{ret, 0, 0, kill})
	}
	numbers := slices.Concat(slices.Collect(maps.Values(m.denied)), slices.Collect(maps.Values(newer)))
	slices.Sort(numbers)
	for _, n := range numbers {
		p = append(p, instruction{equal, 0, 1, n}, instruction{ret, 0, 0, fail | uint32(syscall.EPERM)})
	}
	p = append(p,
		// clone3 hides its flags behind a pointer: say that it does not exist, and libc uses clone.
		instruction{equal, 0, 1, clone3}, instruction{ret, 0, 0, fail | uint32(syscall.ENOSYS)},
		instruction{equal, 0, 3, m.clone}, instruction{load, 0, 0, 16},
		instruction{anyBit, 0, 1, namespaces}, instruction{ret, 0, 0, fail | uint32(syscall.EPERM)},
		instruction{ret, 0, 0, allow})
	var b bytes.Buffer
	if err := binary.Write(&b, binary.NativeEndian, p); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
