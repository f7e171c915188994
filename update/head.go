package update

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"

	"clerestory.dev/clerestory/statement"
)

// HeadType is the media type of a head.
const HeadType = "application/vnd.clerestory.head.v1+json"

// HeadLimits are the caps on a head, in one place.
var HeadLimits = struct {
	Bytes    int   // of the file
	Releases int   // offers of one channel
	Revoked  int   // withdrawn versions that it lists
	Files    int   // of one offer
	Deltas   int   // of one file
	Size     int64 // bytes of one file
	Text     int   // bytes of a reason or a seed
}{Bytes: 4 << 20, Releases: 16, Revoked: 1024, Files: 4096, Deltas: 32, Size: 64 << 30, Text: 1024}

// Head is what a channel of a product offers now: the target head.json of the
// product's TUF role. It has one encoding, the one that [Head.Format] gives.
type Head struct {
	MediaType string `json:"mediaType"`
	Product   string `json:"product"`
	Channel   string `json:"channel"`
	// Sequence grows with every change of the head; a client that saw a higher
	// one refuses a lower one.
	Sequence int64       `json:"sequence"`
	Releases []Offer     `json:"releases"` // oldest first
	Revoked  []Withdrawn `json:"revoked"`
}

// Offer is one version that clients may install.
type Offer struct {
	Version string `json:"version"`
	// Number grows with each release of the channel, rollbacks included: a client
	// never installs a smaller one than it has.
	Number int64 `json:"number"`
	Entry  int64 `json:"entry"` // the log entry of the release statement
	// Percent is the share of clients that the offer is for, 0 to 100; 0 holds it
	// back. Seed mixes the clients anew for each release.
	Percent int    `json:"percent"`
	Seed    string `json:"seed"`
	// Halted stops an offer: who has it keeps it, and nobody else gets it.
	Halted bool   `json:"halted"`
	Files  []File `json:"files"`
	// Reproducible is how many different builders got these bytes, as the files'
	// bundles prove. It tells a client what to expect; it is believed of no one.
	Reproducible int `json:"reproducible"`
}

// File is one released file.
type File struct {
	Name   string  `json:"name"`
	SHA256 string  `json:"sha256"` // hex
	Size   int64   `json:"size"`
	Deltas []Delta `json:"deltas"`
}

// Delta is a shorter way from old bytes to a file's.
type Delta struct {
	From   string `json:"from"`   // SHA-256 of the old bytes, hex
	SHA256 string `json:"sha256"` // of the delta, hex
	Size   int64  `json:"size"`   // of the delta
}

// Withdrawn is a version that must not be installed or kept.
type Withdrawn struct {
	Version string `json:"version"`
	Entry   int64  `json:"entry"` // the log entry of its release statement
	Reason  string `json:"reason"`
}

// HeadTarget names the TUF target of a channel's head.
func HeadTarget(product, channel string) string { return product + "/" + channel + "/head.json" }

// FileTarget names the TUF target of a released file.
func FileTarget(product, version, name string) string {
	return product + "/" + version + "/" + name
}

// BundleTarget names the TUF target of a released file's bundle.
func BundleTarget(product, version, name string) string {
	return FileTarget(product, version, name) + ".clerestory"
}

// DeltaTarget names the TUF target of the delta to a file from old bytes with
// this SHA-256 in hex.
func DeltaTarget(product, version, name, from string) string {
	return FileTarget(product, version, name) + ".from-" + from[:16]
}

// Includes tells whether a client is in the offer's ring: deterministic for the
// client and the release, so that nobody falls out again while the ring grows.
func (o *Offer) Includes(client string) bool {
	sum := sha256.Sum256([]byte(o.Seed + "\x00" + client))
	return binary.BigEndian.Uint64(sum[:8])%10000 < uint64(max(o.Percent, 0))*100
}

// Newest is the newest offer that a client may install, if there is one.
func (h *Head) Newest(client string) (Offer, bool) {
	for i := len(h.Releases) - 1; i >= 0; i-- {
		o := h.Releases[i]
		if _, gone := h.RevokedVersion(o.Version); !gone && !o.Halted && o.Includes(client) {
			return o, true
		}
	}
	return Offer{}, false
}

// RevokedVersion finds a version among those that were taken back.
func (h *Head) RevokedVersion(version string) (Withdrawn, bool) {
	for _, w := range h.Revoked {
		if w.Version == version {
			return w, true
		}
	}
	return Withdrawn{}, false
}

// ParseHead reads a head and refuses every encoding but the one of Format.
func ParseHead(b []byte) (*Head, error) {
	if len(b) > HeadLimits.Bytes {
		return nil, fmt.Errorf("the head has %d bytes; at most %d are allowed", len(b), HeadLimits.Bytes)
	}
	var h Head
	if err := statement.Decode(b, &h); err != nil {
		return nil, fmt.Errorf("reading the head: %w", err)
	}
	again, err := h.Format()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, b) {
		return nil, errors.New("the head is not in its one encoding")
	}
	return &h, nil
}

// Format checks a head and encodes it.
func (h *Head) Format() ([]byte, error) {
	c := *h
	c.fill()
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("the head of %s/%s: %w", h.Product, h.Channel, err)
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(&c); err != nil {
		return nil, fmt.Errorf("encoding the head: %w", err)
	}
	if buf.Len() > HeadLimits.Bytes {
		return nil, fmt.Errorf("the head has %d bytes; at most %d are allowed", buf.Len(), HeadLimits.Bytes)
	}
	return buf.Bytes(), nil
}

// fill makes absent lists empty, without touching the caller's.
func (h *Head) fill() {
	if h.MediaType == "" {
		h.MediaType = HeadType
	}
	h.Releases = append([]Offer{}, h.Releases...)
	h.Revoked = append([]Withdrawn{}, h.Revoked...)
	for i := range h.Releases {
		o := &h.Releases[i]
		o.Files = append([]File{}, o.Files...)
		for j := range o.Files {
			o.Files[j].Deltas = append([]Delta{}, o.Files[j].Deltas...)
		}
	}
}

func (h *Head) check() error {
	if h.MediaType != HeadType {
		return fmt.Errorf("mediaType must be %q", HeadType)
	}
	if err := errors.Join(statement.CheckID("product", h.Product), statement.CheckID("channel", h.Channel)); err != nil {
		return err
	}
	if h.Sequence < 1 || h.Sequence > statement.MaxInteger {
		return errors.New("the sequence must be at least 1")
	}
	if len(h.Releases) > HeadLimits.Releases || len(h.Revoked) > HeadLimits.Revoked {
		return fmt.Errorf("at most %d releases and %d revoked versions are allowed", HeadLimits.Releases, HeadLimits.Revoked)
	}
	seen, number := map[string]bool{h.Channel: true}, int64(0) // a version named as the channel could replace the head
	for _, o := range h.Releases {
		if seen[o.Version] {
			return fmt.Errorf("version %q stands twice, or is named as the channel", o.Version)
		}
		if o.Number <= number {
			return fmt.Errorf("version %s has number %d after %d: numbers must grow", o.Version, o.Number, number)
		}
		seen[o.Version], number = true, o.Number
		if err := o.check(); err != nil {
			return fmt.Errorf("version %q: %w", o.Version, err)
		}
	}
	for _, w := range h.Revoked {
		if err := errors.Join(statement.CheckVersion(w.Version), checkLine("reason", w.Reason)); err != nil {
			return err
		}
		if w.Entry < 0 || w.Entry > statement.MaxInteger {
			return fmt.Errorf("the revoked version %s has no proper log entry", w.Version)
		}
	}
	return nil
}

func (o *Offer) check() error {
	if err := errors.Join(statement.CheckVersion(o.Version), checkLine("seed", o.Seed)); err != nil {
		return err
	}
	if o.Number > statement.MaxInteger || o.Entry < 0 || o.Entry > statement.MaxInteger {
		return errors.New("number and entry must be log positions or counts")
	}
	if o.Percent < 0 || o.Percent > 100 || o.Reproducible < 0 || o.Reproducible > 1000 {
		return errors.New("percent must be 0 to 100, reproducible a number of builders")
	}
	if len(o.Files) == 0 || len(o.Files) > HeadLimits.Files {
		return fmt.Errorf("a version has 1 to %d files", HeadLimits.Files)
	}
	targets := map[string]bool{}
	for _, f := range o.Files {
		names := []string{f.Name, f.Name + ".clerestory"}
		if err := f.check(); err != nil {
			return fmt.Errorf("file %q: %w", f.Name, err)
		}
		for _, d := range f.Deltas {
			names = append(names, f.Name+".from-"+d.From[:16])
		}
		for _, n := range names {
			if targets[n] {
				return fmt.Errorf("two files, bundles or deltas would be named %q", n)
			}
			targets[n] = true
		}
	}
	return nil
}

func (f *File) check() error {
	if err := errors.Join(statement.CheckFileName(f.Name), checkSum(f.SHA256), checkSize(f.Size)); err != nil {
		return err
	}
	if len(f.Deltas) > HeadLimits.Deltas {
		return fmt.Errorf("at most %d deltas are allowed", HeadLimits.Deltas)
	}
	for _, d := range f.Deltas {
		if err := errors.Join(checkSum(d.From), checkSum(d.SHA256), checkSize(d.Size)); err != nil {
			return err
		}
	}
	return nil
}

func checkSize(n int64) error {
	if n < 0 || n > HeadLimits.Size {
		return fmt.Errorf("%d bytes is not between 0 and %d", n, HeadLimits.Size)
	}
	return nil
}

func checkSum(s string) error {
	if raw, err := hex.DecodeString(s); err != nil || len(raw) != sha256.Size || hex.EncodeToString(raw) != s {
		return errors.New("a SHA-256 must be 64 lower-case hex digits")
	}
	return nil
}

// checkLine checks a text that is shown in one line.
func checkLine(field, s string) error {
	ok := s != "" && len(s) <= HeadLimits.Text && utf8.ValidString(s)
	for _, r := range s {
		ok = ok && unicode.IsPrint(r)
	}
	if !ok {
		return fmt.Errorf("%s must be one line of 1 to %d printable bytes", field, HeadLimits.Text)
	}
	return nil
}
