package tile

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"clerestory.dev/clerestory/internal/base/fault"
)

// Source is where a log's files are read. What it returns is bounded in size and
// time, and otherwise unproven. What is not there is NotFound. Methods may be
// called concurrently.
type Source interface {
	Checkpoint(ctx context.Context) ([]byte, error)
	// Get reads exactly this file: a full tile does not stand in for a partial one.
	Get(ctx context.Context, r Ref) ([]byte, error)
	// String names the source for people.
	String() string
}

// Open reads a log from an http or https URL, or from a folder. client may be nil.
func Open(where string, client *http.Client) (Source, error) {
	if !strings.HasPrefix(where, "http://") && !strings.HasPrefix(where, "https://") {
		return Dir(where), nil
	}
	u, err := url.Parse(where)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fault.Invalid.New("the log's address %q must be a folder, or an http(s) URL without query", where)
	}
	if client == nil {
		client = http.DefaultClient
	}
	own := *client
	// A log's files lie where its URL says; a redirect would let one server make
	// this machine ask another.
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &HTTP{base: strings.TrimSuffix(u.String(), "/"), client: &own, Timeout: 20 * time.Second}, nil
}

// Dir is a log in a folder.
type Dir string

// String implements [Source].
func (d Dir) String() string { return string(d) }

// Checkpoint implements [Source].
func (d Dir) Checkpoint(context.Context) ([]byte, error) {
	return d.read("checkpoint", Limits.Checkpoint)
}

// Get implements [Source].
func (d Dir) Get(_ context.Context, r Ref) ([]byte, error) { return d.read(r.Path(), r.Cap()) }

func (d Dir) read(name string, limit int64) ([]byte, error) {
	f, err := openRegular(string(d), name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.NotFound.New("%s has no file %s", d, name)
	}
	if err != nil {
		return nil, fault.Unavailable.New("reading the log: %w", err)
	}
	defer f.Close()
	return readCapped(f, limit, name, d.String())
}

// openRegular opens a file and nothing else: a pipe would block for ever.
func openRegular(dir, name string) (*os.File, error) {
	path := filepath.Join(dir, filepath.FromSlash(name))
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	return os.Open(path)
}

// HTTP is a log behind a URL.
type HTTP struct {
	base    string
	client  *http.Client
	Timeout time.Duration // of one file, body included
}

// String implements [Source].
func (h *HTTP) String() string { return h.base }

// Checkpoint implements [Source].
func (h *HTTP) Checkpoint(ctx context.Context) ([]byte, error) {
	return h.read(ctx, "checkpoint", Limits.Checkpoint)
}

// Get implements [Source].
func (h *HTTP) Get(ctx context.Context, r Ref) ([]byte, error) { return h.read(ctx, r.Path(), r.Cap()) }

func (h *HTTP) read(ctx context.Context, name string, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.base+"/"+name, nil)
	if err != nil {
		return nil, fault.Invalid.New("asking for %s: %w", name, err)
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return nil, fault.Unavailable.New("asking for %s: %w", name, err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return readCapped(resp.Body, limit, name, h.base)
	case http.StatusNotFound, http.StatusGone:
		return nil, fault.NotFound.New("%s has no file %s", h.base, name)
	}
	return nil, fault.Unavailable.New("%s answered %s for %s", h.base, resp.Status, name)
}

func readCapped(r io.Reader, limit int64, name, where string) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fault.Unavailable.New("reading %s of %s: %w", name, where, err)
	}
	if int64(len(b)) > limit {
		return nil, fault.Tampered.New("%s of %s is larger than the %d bytes that it can have", name, where, limit)
	}
	return b, nil
}

// Hashes of a tile: exactly its width. Where the partial tile is gone because
// the log has grown (tlog-tiles, "Partial Tiles"), the full one answers.
func readTile(ctx context.Context, src Source, r Ref) ([]byte, error) {
	b, err := src.Get(ctx, r)
	if errors.Is(err, fault.NotFound) && r.Width < Width {
		b, err = src.Get(ctx, r.Full())
		if err == nil && len(b) == Width*tlog.HashSize {
			b = b[:r.Width*tlog.HashSize]
		}
	}
	if err == nil && len(b) != r.Width*tlog.HashSize {
		return nil, fault.Tampered.New("%s of %s has %d bytes instead of %d", r.Path(), src, len(b), r.Width*tlog.HashSize)
	}
	return b, err
}

// ReadTile reads a tile's hashes.
func ReadTile(ctx context.Context, src Source, r Ref) ([]tlog.Hash, error) {
	b, err := readTile(ctx, src, r)
	if err != nil {
		return nil, err
	}
	hashes := make([]tlog.Hash, r.Width)
	for i := range hashes {
		copy(hashes[i][:], b[i*tlog.HashSize:])
	}
	return hashes, nil
}

// ReadEntries reads a bundle; where the partial one is gone, the first entries of
// the full one answer.
func ReadEntries(ctx context.Context, src Source, r Ref) ([][]byte, error) {
	b, err := src.Get(ctx, r)
	width := r.Width
	if errors.Is(err, fault.NotFound) && width < Width {
		b, err = src.Get(ctx, r.Full())
		width = Width
	}
	if err != nil {
		return nil, err
	}
	entries, err := ParseBundle(b, width)
	if err != nil {
		return nil, fault.Tampered.New("reading %s of %s: %w", r.Path(), src, err)
	}
	return entries[:r.Width], nil
}
