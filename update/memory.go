package update

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"clerestory.dev/clerestory/statement"
)

// memory is what a client must not forget, or it could be led back: the file
// state/memory.json. It is replaced whole, so a crash leaves the old one or the
// new one. One that can not be read is an error, never a fresh start.
type memory struct {
	Product string `json:"product"`
	// Client is this installation's random id. It never leaves the machine: it
	// only decides in which ring it is.
	Client   string             `json:"client"`
	Channels map[string]channel `json:"channels"`
	// Log is the newest state of the log that this client believed.
	Log *logState `json:"log,omitempty"`
	// Clock is the latest time that a quorum of witnesses is known to have signed
	// at: it was not earlier than that, whatever the local clock says.
	Clock    time.Time           `json:"clock,omitzero"`
	Versions map[string]*Version `json:"versions"` // what is or was in versions/
	// Trial is a version that was put in place and whose health is not known yet.
	Trial *trial `json:"trial,omitempty"`
	// Failed is the newest offer whose health check failed here.
	Failed *failure `json:"failed,omitempty"`
	// Settled names the timestamp.json after which nothing was left to do.
	Settled string `json:"settled,omitempty"`
}

// channel is what was seen of a channel.
type channel struct {
	Sequence int64  `json:"sequence"`
	Head     string `json:"head"`   // SHA-256 of the head with that sequence
	Number   int64  `json:"number"` // of the newest offer that was ever put in place
}

type logState struct {
	Origin     string `json:"origin"`
	Size       int64  `json:"size"`
	Root       string `json:"root"` // base64
	Checkpoint string `json:"checkpoint"`
}

// Version is one that was put in place.
type Version struct {
	Version  string            `json:"version"`
	Channel  string            `json:"channel"`
	Number   int64             `json:"number"`
	Entry    int64             `json:"entry"`    // log entry of its release
	Builders int               `json:"builders"` // different builders that got its bytes
	Files    map[string]string `json:"files"`    // name to SHA-256
}

type trial struct {
	Version string `json:"version"`
	Before  string `json:"before"` // "" for the first version
}

type failure struct {
	Channel string `json:"channel"`
	Number  int64  `json:"number"`
	Version string `json:"version"`
	Why     string `json:"why"`
}

// loadMemory reads the memory, or starts one.
func (c *Client) loadMemory() (*memory, error) {
	b, err := os.ReadFile(c.state("memory.json"))
	if errors.Is(err, fs.ErrNotExist) {
		m := &memory{Product: c.cfg.Product, Client: rand.Text(), Channels: map[string]channel{}, Versions: map[string]*Version{}}
		return m, c.keep(m)
	}
	if err != nil {
		return nil, disk("reading what this client has seen", err)
	}
	var m memory
	if err := statement.Decode(b, &m); err != nil {
		return nil, refuse(Disk, "%s is damaged: without it this client could be led back to old versions; restore it, or remove %s after finding out why: %w", c.state("memory.json"), c.cfg.Dir, err)
	}
	if m.Product != c.cfg.Product {
		return nil, refuse(Disk, "%s belongs to the product %s, not to %s", c.cfg.Dir, m.Product, c.cfg.Product)
	}
	if m.Channels == nil {
		m.Channels = map[string]channel{}
	}
	if m.Versions == nil {
		m.Versions = map[string]*Version{}
	}
	return &m, nil
}

// keep replaces the memory.
func (c *Client) keep(m *memory) error {
	b, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return err
	}
	return c.write("memory.json", append(b, '\n'))
}

// state is the path of a file that is the client's own.
func (c *Client) state(name string) string { return filepath.Join(c.cfg.Dir, "state", name) }

// write replaces a file of the state, durably; the same bytes are left alone.
func (c *Client) write(name string, b []byte) error {
	path := c.state(name)
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, b) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return disk("keeping "+name, err)
	}
	err := writeSynced(path+".new", b, 0o600)
	if err == nil {
		c.at("state-written")
		err = os.Rename(path+".new", path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	return disk("keeping "+name, err)
}

func writeSynced(path string, b []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncDir makes names in a folder durable.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(syncFolder(d), d.Close())
}
