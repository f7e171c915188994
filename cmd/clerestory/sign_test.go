package main

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"clerestory.dev/clerestory/internal/ledger/keyring"
	"clerestory.dev/clerestory/internal/ledger/signing"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify/verifytest"
)

// request FILE EXPIRES REASON KEYID…: a signing request for a revocation, as the
// vendor's server makes one. EXPIRES is how far from now, such as 1h or -1h.
func makeRequest(ts *testscript.TestScript, neg bool, args []string) {
	payload, err := statement.New([]statement.Subject{{Name: "entry:7", Digest: map[string]string{"sha256": verifytest.SHA256("x")}}},
		&statement.Revocation{Entry: 7, Kind: "release", Product: "agent", Reason: args[2], At: verifytest.At})
	ts.Check(err)
	in, err := time.ParseDuration(args[1])
	ts.Check(err)
	r := &signing.Request{Purpose: signing.DSSE, What: "Please sign \x1b[2J this", PayloadType: statement.PayloadType, Payload: payload,
		Keys: args[3:], Threshold: len(args) - 3, Expires: time.Now().Add(in).UTC().Format(time.RFC3339)}
	file, err := r.Format()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), file, 0o644))
}

// assembled REQUEST KEYS RESPONSE…: whoever asked puts the responses together;
// KEYS is a file with the public keys that count, one a line.
func assembled(ts *testscript.TestScript, neg bool, args []string) {
	read := func(name string) []byte { return []byte(ts.ReadFile(name)) }
	req, err := signing.ParseRequest(read(args[0]))
	ts.Check(err)
	var parties []signing.Party
	for text := range strings.Lines(string(read(args[1]))) {
		public, _, err := keyring.ParseAuthorizedKey([]byte(text))
		ts.Check(err)
		parties = append(parties, signing.Party{Public: public})
	}
	var answers []*signing.Response
	for _, name := range args[2:] {
		a, err := signing.ParseResponse(read(name))
		ts.Check(err)
		answers = append(answers, a)
	}
	e, err := signing.Assemble(req, answers, parties, time.Now())
	if neg && err == nil {
		ts.Fatalf("an envelope was made: %+v", e)
	}
	if !neg {
		ts.Check(err)
		_, err = e.Format()
		ts.Check(err)
	}
}

// ssh-agent: starts Debian's agent, with an ECDSA P-256 key, for this script; the
// key's fingerprint is in FINGERPRINT, and its public part in card.pub.
func startAgent(ts *testscript.TestScript, neg bool, args []string) {
	dir, err := os.MkdirTemp("", "agent") // a socket's path must be short
	ts.Check(err)
	ts.Defer(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "ssh-agent", "-D", "-a", socket)
	ts.Check(cmd.Start())
	ts.Defer(func() {
		stop()
		cmd.Wait()
	})
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(deadline) {
			ts.Check(errors.Join(errors.New("ssh-agent does not listen"), err))
		}
	}
	ts.Setenv("SSH_AUTH_SOCK", socket)
	ts.Check(ts.Exec("ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-C", "card", "-f", ts.MkAbs("card")))
	ts.Check(ts.Exec("ssh-add", "-q", ts.MkAbs("card")))
	ts.Check(os.Remove(ts.MkAbs("card"))) // only the agent has it now
	keys, err := keyring.Agent{Socket: socket}.List()
	ts.Check(err)
	ts.Setenv("FINGERPRINT", keys[0].Fingerprint)
	ts.Setenv("KEYID", keys[0].KeyID())
}
