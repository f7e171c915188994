package keyring

import (
	"crypto"
	"errors"
	"net"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/statement"
)

const (
	// agentMessage is the most that an SSH agent takes (OpenSSH's AGENT_MAX_LEN is
	// 256 KiB), without the request around it. Bytes.
	agentMessage = 250 << 10
	// agentWait is for a person who must find the card, and type its PIN.
	agentWait = 3 * time.Minute
)

// Agent is a running SSH agent: keys that it holds, in its memory or on a card
// behind it, sign without ever being read. A key that only signs is enough for
// every role but the log's own.
type Agent struct {
	Socket string // path of its socket, as SSH_AUTH_SOCK has it
}

// AgentKey is one key of an agent. It implements [statement.Signer].
type AgentKey struct {
	Public      statement.PublicKey
	Fingerprint string // as ssh-add -l shows it: SHA256:…
	Comment     string // the agent's own; anything may stand there
	agent       Agent
	wire        ssh.PublicKey
}

// List gives the agent's keys that can sign statements, in its order. Others,
// such as RSA keys and FIDO keys, which sign more than the message, are left out.
func (a Agent) List() ([]*AgentKey, error) {
	var found []*AgentKey
	err := a.ask(func(c agent.ExtendedAgent) error {
		keys, err := c.List()
		if err != nil {
			return err
		}
		for _, k := range keys {
			if own := a.usable(k); own != nil {
				found = append(found, own)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fault.Unavailable.New("listing the keys of the SSH agent: %w", err)
	}
	return found, nil
}

func (a Agent) usable(k *agent.Key) *AgentKey {
	wire, err := ssh.ParsePublicKey(k.Blob)
	if err != nil {
		return nil
	}
	standard, ok := wire.(ssh.CryptoPublicKey)
	if wire.Type() != ssh.KeyAlgoED25519 && wire.Type() != ssh.KeyAlgoECDSA256 || !ok {
		return nil
	}
	raw, err := statement.RawKey(crypto.PublicKey(standard.CryptoPublicKey()))
	if err != nil {
		return nil
	}
	return &AgentKey{raw, ssh.FingerprintSHA256(wire), k.Comment, a, wire}
}

// Find gives the agent's key with a fingerprint (SHA256:…) or a key id.
func (a Agent) Find(name string) (*AgentKey, error) {
	keys, err := a.List()
	if err != nil {
		return nil, err
	}
	var have []string
	for _, k := range keys {
		if k.Fingerprint == name || k.KeyID() == name {
			return k, nil
		}
		have = append(have, k.Fingerprint)
	}
	if len(have) == 0 {
		return nil, fault.NotFound.New("the SSH agent holds no Ed25519 or ECDSA P-256 key (ssh-add adds one, ssh-add -s a card)")
	}
	return nil, fault.NotFound.New("the SSH agent has no key %q; it has %s", name, strings.Join(have, ", "))
}

// KeyID implements [statement.Signer].
func (k *AgentKey) KeyID() string { return k.Public.ID() }

// Sign implements [statement.Signer]. What the agent gives is checked: a broken
// card must not make a statement that nobody believes.
func (k *AgentKey) Sign(message []byte) ([]byte, error) {
	if len(message) > agentMessage {
		return nil, fault.Invalid.New("signing with the SSH agent: it takes %d bytes at most; this has %d", agentMessage, len(message))
	}
	var given *ssh.Signature
	err := k.agent.ask(func(c agent.ExtendedAgent) (err error) {
		given, err = c.Sign(k.wire, message)
		return err
	})
	if err != nil {
		return nil, fault.Unavailable.New("signing with key %s of the SSH agent: %w", k.Fingerprint, err)
	}
	sig, err := k.raw(given)
	if err != nil {
		return nil, fault.Unavailable.New("signing with key %s of the SSH agent: %w", k.Fingerprint, err)
	}
	if !k.Public.Verify(message, sig) {
		return nil, fault.Tampered.New("signing with key %s of the SSH agent: what it gave is not a signature by that key", k.Fingerprint)
	}
	return sig, nil
}

// raw brings a signature to the form of statements: an agent gives r and s of
// ECDSA as two SSH integers (RFC 5656, section 3.1.2), with either s.
func (k *AgentKey) raw(given *ssh.Signature) ([]byte, error) {
	if given.Format != k.wire.Type() || len(given.Rest) > 0 {
		return nil, errors.New("it signed with another algorithm")
	}
	if given.Format == ssh.KeyAlgoED25519 {
		return given.Blob, nil
	}
	var rs struct{ R, S []byte }
	if err := ssh.Unmarshal(given.Blob, &rs); err != nil {
		return nil, errors.New("it gave something that is no ECDSA signature")
	}
	return k.Public.Canonical(statement.JoinP256(rs.R, rs.S)), nil
}

// ask talks to the agent over a connection of its own, so that a card that was
// pulled, or an agent that was started anew, is no lasting trouble.
func (a Agent) ask(do func(agent.ExtendedAgent) error) error {
	if a.Socket == "" {
		return errors.New("SSH_AUTH_SOCK is not set: start ssh-agent, and add the key with ssh-add")
	}
	conn, err := net.Dial("unix", a.Socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(agentWait)); err != nil {
		return err
	}
	return do(agent.NewClient(conn))
}

// AuthorizedKey is a key as ~/.ssh/authorized_keys has it: the text by which a
// public key travels, and which [ParseAuthorizedKey] reads.
func AuthorizedKey(public []byte, comment string) (string, error) {
	key, err := statement.PublicKey(public).Crypto()
	if err != nil {
		return "", fault.Invalid.New("writing a public key: %w", err)
	}
	wire, err := ssh.NewPublicKey(key)
	if err != nil {
		return "", fault.Invalid.New("writing a public key: %w", err)
	}
	return strings.TrimSuffix(string(ssh.MarshalAuthorizedKey(wire)), "\n") + " " + comment + "\n", nil
}

// ParseAuthorizedKey reads one public key of the kinds that can sign here, and
// its fingerprint.
func ParseAuthorizedKey(text []byte) (public statement.PublicKey, fingerprint string, err error) {
	wire, _, _, _, err := ssh.ParseAuthorizedKey(text)
	if err != nil {
		return nil, "", fault.Invalid.New("reading a public key: it is not a line like ssh-ed25519 AAAA…, or ecdsa-sha2-nistp256 AAAA…")
	}
	standard, ok := wire.(ssh.CryptoPublicKey)
	if !ok || wire.Type() != ssh.KeyAlgoED25519 && wire.Type() != ssh.KeyAlgoECDSA256 {
		return nil, "", fault.Invalid.New("reading a public key: %s can not sign here", wire.Type())
	}
	if public, err = statement.RawKey(standard.CryptoPublicKey()); err != nil {
		return nil, "", fault.Invalid.New("reading a public key: %w", err)
	}
	return public, ssh.FingerprintSHA256(wire), nil
}
