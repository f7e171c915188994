// Package crash names the moments at which a killed process would leave the
// most interesting state behind, so that tests can kill it exactly there.
//
// Without the environment variable CLERESTORY_CRASH a [Point] does nothing.
// With CLERESTORY_CRASH=name the process kills itself (SIGKILL: no deferred
// call, no flush) the first time it gets to that point; name:3 means the third.
package crash

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// Points are the moments that every statement meets, in their order. Rooms have
// their own beside them: "release.signed" is between a release's last signature
// and the log.
var Points = []string{
	"store.before-commit", // domain row and statement written, not committed
	"store.committed",     // durable, caller not told yet
	"log.before-add",      // drainer has read the row
	"log.added",           // in the log's tree, drainer has not noted it
	"log.published",       // covered by a witnessed checkpoint, waiters not told
}

var name, after = parse(os.Getenv("CLERESTORY_CRASH"))
var passed atomic.Int64

func parse(s string) (string, int64) {
	name, count, _ := strings.Cut(s, ":")
	n, err := strconv.ParseInt(count, 10, 64)
	if err != nil {
		n = 1
	}
	return name, n
}

// Point kills the process if it is the armed moment.
func Point(at string) {
	if name == "" || at != name || passed.Add(1) != after {
		return
	}
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // the signal arrives asynchronously; nothing more may happen
}
