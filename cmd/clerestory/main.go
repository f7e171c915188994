// Command clerestory runs a software vendor's transparency programme, and checks
// one: everything that a person does, here or at the vendor, is a subcommand.
//
// Each file holds one group of commands. A command reads its flags, asks a room
// or a public package to act, and prints; it decides nothing.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/verify"
)

type cli struct {
	Dir            string        `short:"C" env:"CLERESTORY_DIR" type:"path" help:"The vendor's folder, as made by init or demo (default: the current one, else the demo's)."`
	PassphraseFile string        `env:"CLERESTORY_PASSPHRASE_FILE" type:"path" help:"File with the passphrase of the keys; otherwise it is asked for."`
	Wait           time.Duration `default:"30s" help:"How long a command that says something waits until witnesses have cosigned it."`
	// UnsafeKeyCost makes new key files cheap to make, and to guess: for tests,
	// which would otherwise spend a second of computing on each key.
	UnsafeKeyCost int `name:"unsafe-key-cost" env:"CLERESTORY_UNSAFE_KEY_COST" hidden:"" help:"Cost of guessing the passphrase of new keys (log2; 0 is the safe default)."`

	Demo demoCmd `cmd:"" group:"Start" help:"Publish Clerestory's own source and binary, verify them as a stranger, serve the portal."`
	Init initCmd `cmd:"" group:"Start" help:"Start a vendor's folder: programme, keys, root of trust."`

	Verify  verifyCmd  `cmd:"" group:"Check" help:"Check a file: who released it, from which source, approved by whom, revoked or not."`
	Trust   trustCmd   `cmd:"" group:"Check" help:"Show a trusted root, or make it the default."`
	Log     logCmd     `cmd:"" group:"Check" help:"Read, check and mirror a log."`
	Monitor monitorCmd `cmd:"" group:"Check" help:"Follow a log: print new statements, shout on a fork."`
	Witness witnessCmd `cmd:"" group:"Check" help:"Run a witness that cosigns logs which only grow."`
	Update  updateCmd  `cmd:"" group:"Check" help:"Install and update a product, after checking everything that its vendor promises."`

	Apply      applyCmd      `cmd:"" group:"Run" help:"Check the programme folder, show what changes, put it in force."`
	Serve      serveCmd      `cmd:"" group:"Run" help:"Run the portal, and write the log."`
	Release    releaseCmd    `cmd:"" group:"Run" help:"Propose, approve, publish and revoke releases."`
	Advisory   advisoryCmd   `cmd:"" group:"Run" help:"Publish security advisories, account for reports of weaknesses, open a report."`
	Base       baseCmd       `cmd:"" group:"Run" help:"Check, pack, compare and try detection bases."`
	Sign       signCmd       `cmd:"" group:"Run" help:"Answer a signing request, offline: shows what is signed, and signs with a key file or an SSH agent."`
	Repository repositoryCmd `cmd:"" group:"Run" help:"The update repository: offer releases in rings, sign by threshold, publish, halt, withdraw."`
	Key        keyCmd        `cmd:"" group:"Run" help:"Create, list, rotate and revoke signing keys."`
	Person     personCmd     `cmd:"" group:"Run" help:"Invite people to the portal."`
	Backup     backupCmd     `cmd:"" group:"Run" help:"Copy a running vendor's folder to an archive."`
	Restore    restoreCmd    `cmd:"" group:"Run" help:"Make a vendor's folder from a backup, and check it against its log."`

	Completion completionCmd `cmd:"" group:"Other" help:"Print a completion script for bash, zsh or fish."`
	Man        manCmd        `cmd:"" group:"Other" help:"Print the manual page, or write one per command."`
	Version    versionCmd    `cmd:"" group:"Other" help:"Print the version and how it was built."`
}

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run is the whole program: arguments in, exit code out.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var c cli
	exited := -1
	parser, err := kong.New(&c, kong.Name("clerestory"),
		kong.Description("A software vendor's transparency programme as software, and the tool that checks one."),
		kong.Writers(stdout, stderr), kong.Vars{"trust": defaultTrust()}, kong.Exit(func(code int) { exited = code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 96, NoExpandSubcommands: true}),
		kong.ExplicitGroups([]kong.Group{{Key: "Start", Title: "Start"}, {Key: "Check", Title: "Check a vendor"}, {Key: "Run", Title: "Run a programme"}, {Key: "Other", Title: "Other"}}))
	if err != nil {
		fmt.Fprintln(stderr, "clerestory:", err)
		return 2
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	cmd, err := parser.Parse(args)
	if exited >= 0 { // --help has printed and asked to exit
		return exited
	}
	if err != nil {
		fmt.Fprintf(stderr, "clerestory: %s (clerestory --help lists the commands)\n", plain(err.Error()))
		return 2
	}
	t := &terminal{in: stdin, out: stdout, err: stderr}
	cmd.BindTo(ctx, (*context.Context)(nil))
	err = cmd.Run(&c, t)
	if code, ok := errors.AsType[exitCode](err); ok {
		return int(code)
	}
	if err != nil {
		fmt.Fprintf(stderr, "clerestory: %s\n", plain(err.Error()))
		if fault.IsInternal(err) && verify.CodeOf(err) != "" { // a refusal is a definite no
			return fault.Tampered.Exit
		}
		return fault.KindOf(err).Exit
	}
	return 0
}

// keyCost is the cost of guessing a new key's passphrase; a low one is told.
func (c *cli) keyCost(t *terminal) int {
	if c.UnsafeKeyCost != 0 {
		t.note("clerestory: new keys are cheap to guess: --unsafe-key-cost %d", c.UnsafeKeyCost)
	}
	return c.UnsafeKeyCost
}

// exitCode ends the program without another word: the command has said it all.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }
