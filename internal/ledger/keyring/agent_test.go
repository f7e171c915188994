package keyring_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/ledger/keyring"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// need finds a program of Debian's, or skips the test that wants it.
func need(t *testing.T, program, from string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		if os.Getenv("CLERESTORY_TEST_ALL") == "1" {
			t.Fatalf("%s is missing, and CLERESTORY_TEST_ALL=1 asks for every test", program)
		}
		t.Skipf("%s is not installed; apt-get install %s to run this test", program, from)
	}
	return path
}

// shell runs a program with an environment of its own.
func shell(t *testing.T, env []string, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// sshAgent starts Debian's ssh-agent on a private socket.
func sshAgent(t *testing.T, env ...string) keyring.Agent {
	t.Helper()
	program := need(t, "ssh-agent", "openssh-client")
	dir, err := os.MkdirTemp("", "agent") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	cmd := exec.Command(program, "-D", "-a", socket, "-P", "/usr/lib/*,/usr/lib/*/*,/usr/lib/*/*/*")
	cmd.Env = append(os.Environ(), env...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	for range 100 {
		if conn, err := net.Dial("unix", socket); err == nil {
			conn.Close()
			return keyring.Agent{Socket: socket}
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("ssh-agent does not listen")
	return keyring.Agent{}
}

func TestAKeyInARealAgentSigns(t *testing.T) {
	a := sshAgent(t)
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		path := filepath.Join(t.TempDir(), kind)
		shell(t, nil, need(t, "ssh-keygen", "openssh-client"), "-q", "-t", kind, "-N", "", "-C", "of "+kind, "-f", path)
		shell(t, []string{"SSH_AUTH_SOCK=" + a.Socket}, "ssh-add", "-q", path)
	}
	keys, err := a.List()
	if err != nil || len(keys) != 2 { // RSA is left out
		t.Fatalf("%v, %v", keys, err)
	}
	shown := shell(t, []string{"SSH_AUTH_SOCK=" + a.Socket}, "ssh-add", "-l")
	for _, k := range keys {
		if !strings.Contains(shown, k.Fingerprint) {
			t.Errorf("ssh-add does not know %s:\n%s", k.Fingerprint, shown)
		}
		signs(t, a, k)
	}
	if _, err := a.Find("SHA256:nobody"); !errors.Is(err, fault.NotFound) {
		t.Errorf("a key that is not there: %v", err)
	}
	if _, err := keys[0].Sign(make([]byte, 1<<20)); !errors.Is(err, fault.Invalid) {
		t.Errorf("more than an agent takes: %v", err)
	}
	if _, err := (keyring.Agent{}).List(); !errors.Is(err, fault.Unavailable) {
		t.Errorf("no agent: %v", err)
	}
	if _, err := (keyring.Agent{Socket: a.Socket + "x"}).List(); !errors.Is(err, fault.Unavailable) {
		t.Errorf("an agent that is gone: %v", err)
	}
}

// signs signs a few envelopes with an agent's key and checks them as everybody
// would: ECDSA comes with either s, and is brought to the smaller one.
func signs(t *testing.T, a keyring.Agent, k *keyring.AgentKey) {
	t.Helper()
	for _, name := range []string{k.Fingerprint, k.KeyID()} {
		found, err := a.Find(name)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 8 {
			e, err := statement.Sign([]byte(strings.Repeat("x", i+1)), found)
			if err != nil {
				t.Fatal(err)
			}
			if !e.SignedBy(k.Public, e.Signatures[0]) {
				t.Errorf("%s: the signature is not good", k.Public.Algorithm())
			}
			if _, err := e.Format(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestAKeyOnACardSigns puts SoftHSM, a PKCS#11 token in software, behind a real
// ssh-agent: the way that cards and security modules take.
func TestAKeyOnACardSigns(t *testing.T) {
	softhsm := need(t, "softhsm2-util", "softhsm2")
	tool := need(t, "pkcs11-tool", "opensc")
	module := ""
	for _, path := range []string{"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so", "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so"} {
		if _, err := os.Stat(path); err == nil {
			module = path
		}
	}
	// The agent compares its list with the path behind all links.
	module, err := filepath.EvalSymlinks(module)
	if err != nil {
		t.Skipf("SoftHSM's PKCS#11 library was not found: %v", err)
	}
	dir := t.TempDir()
	conf, ask := filepath.Join(dir, "conf"), filepath.Join(dir, "ask")
	for path, text := range map[string]string{
		conf: "directories.tokendir = " + dir + "/tokens\nobjectstore.backend = file\n", ask: "#!/bin/sh\necho 123456\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "tokens"), 0o700); err != nil {
		t.Fatal(err)
	}
	env := []string{"SOFTHSM2_CONF=" + conf}
	shell(t, env, softhsm, "--init-token", "--free", "--label", "clerestory", "--pin", "123456", "--so-pin", "123456")
	shell(t, env, tool, "--module", module, "--login", "--pin", "123456", "--keypairgen", "--key-type", "EC:prime256v1", "--label", "release", "--id", "01")
	a := sshAgent(t, env...)
	shell(t, append(env, "SSH_AUTH_SOCK="+a.Socket, "SSH_ASKPASS="+ask, "SSH_ASKPASS_REQUIRE=force"), need(t, "ssh-add", "openssh-client"), "-s", module)
	keys, err := a.List()
	if err != nil || len(keys) != 1 || keys[0].Public.Algorithm() != "ecdsa-sha2-nistp256" {
		t.Fatalf("%v, %v", keys, err)
	}
	signs(t, a, keys[0])
}

// lyingAgent serves one connection after another with an agent of the test's.
func lyingAgent(t *testing.T, a agent.Agent) keyring.Agent {
	t.Helper()
	dir, err := os.MkdirTemp("", "agent")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				agent.ServeAgent(a, conn)
			}()
		}
	}()
	return keyring.Agent{Socket: l.Addr().String()}
}

// liar gives a signature of its own choice.
type liar struct {
	agent.Agent
	sig *ssh.Signature
}

func (l liar) Sign(ssh.PublicKey, []byte) (*ssh.Signature, error) { return l.sig, nil }

func TestALyingAgentMakesNoSignature(t *testing.T) {
	ring := agent.NewKeyring()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(ring.Add(agent.AddedKey{PrivateKey: private}), ring.Add(agent.AddedKey{PrivateKey: other})); err != nil {
		t.Fatal(err)
	}
	public, _ := ssh.NewPublicKey(private.Public())
	over, err := ring.Sign(public, []byte("something else"))
	if err != nil {
		t.Fatal(err)
	}
	for name, sig := range map[string]*ssh.Signature{
		"a signature over something else": over,
		"another algorithm":               {Format: "ssh-ed25519", Blob: make([]byte, 64)},
		"no signature":                    {Format: "ecdsa-sha2-nistp256", Blob: []byte("x")},
		"endless integers":                {Format: "ecdsa-sha2-nistp256", Blob: ssh.Marshal(struct{ R, S []byte }{make([]byte, 5000), []byte{1}})},
		"zeros":                           {Format: "ecdsa-sha2-nistp256", Blob: ssh.Marshal(struct{ R, S []byte }{nil, nil})},
		"more behind it":                  {Format: over.Format, Blob: over.Blob, Rest: []byte{1}},
	} {
		a := lyingAgent(t, liar{ring, sig})
		keys, err := a.List()
		if err != nil || len(keys) != 1 {
			t.Fatalf("%v, %v", keys, err)
		}
		if got, err := keys[0].Sign([]byte("message")); err == nil {
			t.Errorf("%s was taken: %x", name, got)
		}
	}
}

func TestAKeyFileCanNameAKeyOfAnAgent(t *testing.T) {
	held := agent.NewKeyring()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := held.Add(agent.AddedKey{PrivateKey: private}); err != nil {
		t.Fatal(err)
	}
	r := ring(t)
	r.Agent = lyingAgent(t, held)
	keys, err := r.Agent.List()
	if err != nil {
		t.Fatal(err)
	}
	k, err := r.Adopt("card", "release", "ada", keys[0].Fingerprint)
	if err != nil || k.KeyID() != keys[0].KeyID() || k.Public.Agent != keys[0].Fingerprint {
		t.Fatalf("%+v, %v", k, err)
	}
	if _, err := r.Adopt("card", "release", "ada", keys[0].Fingerprint); !errors.Is(err, fault.Conflict) {
		t.Errorf("over another key: %v", err)
	}
	again, err := r.Unlock("card", nil)
	if err != nil {
		t.Fatal(err)
	}
	e, err := statement.Sign([]byte("x"), again)
	if err != nil || !e.SignedBy(k.Public.Public, e.Signatures[0]) {
		t.Fatal("the key file does not sign", err)
	}
	if _, _, err := again.Note("example.org/log"); !errors.Is(err, fault.Invalid) {
		t.Errorf("a log key of an agent: %v", err)
	}
	if err := r.Rename("card", "card-2"); err != nil {
		t.Fatal(err)
	}
	if found, err := r.Find("card-2"); err != nil || found.Agent == "" {
		t.Fatalf("%+v, %v", found, err)
	}
	if err := held.RemoveAll(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Unlock("card-2", nil); !errors.Is(err, fault.NotFound) {
		t.Errorf("the card was pulled: %v", err)
	}
}

// Root keys can be on cards too: the root is signed, rotated and believed.
func TestARootOfKeysOnCards(t *testing.T) {
	r := ring(t)
	trust, roots, plan := vendor(t, r)
	held := agent.NewKeyring()
	var fresh []*keyring.Key
	for _, name := range []string{"card-1", "card-2"} {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if err := held.Add(agent.AddedKey{PrivateKey: private, Comment: name}); err != nil {
			t.Fatal(err)
		}
	}
	r.Agent = lyingAgent(t, held)
	keys, err := r.Agent.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		c, err := r.Adopt(k.Comment, "root", k.Comment, k.Fingerprint)
		if err != nil {
			t.Fatal(err)
		}
		fresh = append(fresh, c)
	}
	plan.ReleaseKeys = []verify.ReleaseRule{{Product: "*", Holders: 2, From: 9}}
	file, err := keyring.RotateRoot(trust, plan, keyring.PublicOf(fresh), append(roots[:2:2], fresh...), 1)
	if err != nil {
		t.Fatal(err)
	}
	next, err := trust.Rotate(file)
	if err != nil || next.ReleaseHolders("lantern", 8) != 1 || next.ReleaseHolders("lantern", 9) != 2 {
		t.Fatalf("%v, %v", next, err)
	}
	// And from cards to files again: the cards are then in "formerly".
	file, err = keyring.RotateRoot(next, plan, keyring.PublicOf(roots[:2]), append(fresh, roots[:2]...), 12)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := next.Rotate(file); err != nil {
		t.Fatal(err)
	}
}
