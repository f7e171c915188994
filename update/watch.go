package update

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// Watch updates again and again until ctx ends: after each span of every, plus
// or minus a tenth, so that a vendor's clients do not come all at once. After a
// failure it waits twice as long, at most 16 times. Each outcome goes to tell.
func (c *Client) Watch(ctx context.Context, every time.Duration, tell func(*Result, error)) error {
	for failures := 0; ; {
		result, err := c.Update(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		tell(result, err)
		if err == nil {
			failures = 0
		} else {
			failures = min(failures+1, 4)
		}
		wait := every << failures
		wait += time.Duration((rand.Float64() - 0.5) / 5 * float64(wait))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// HealthCommand is a Config.Health that runs a command line in a shell, in the
// version's folder, with CLERESTORY_VERSION set. An exit code other than 0, or a
// command that does not end in time, is a failure.
func HealthCommand(command string) func(ctx context.Context, folder, version string) error {
	return func(ctx context.Context, folder, version string) error {
		shell := []string{"sh", "-c"}
		if runtime.GOOS == "windows" {
			shell = []string{"cmd", "/C"}
		}
		cmd := exec.CommandContext(ctx, shell[0], shell[1], command)
		cmd.Dir, cmd.WaitDelay = folder, 2*time.Second
		cmd.Env = append(cmd.Environ(), "CLERESTORY_VERSION="+version)
		alone(cmd)
		out := &tail{}
		cmd.Stdout, cmd.Stderr = out, out
		err := cmd.Run()
		if ctx.Err() != nil && err != nil {
			err = errors.New("it did not end in time")
		}
		if text := strings.TrimSpace(string(out.b)); err != nil && text != "" {
			return fmt.Errorf("%w: %s", err, oneLine(text))
		}
		return err
	}
}

// tail keeps the end of what a command prints.
type tail struct{ b []byte }

func (t *tail) Write(b []byte) (int, error) {
	t.b = append(t.b, b...)
	if len(t.b) > 500 {
		t.b = t.b[len(t.b)-500:]
	}
	return len(b), nil
}
