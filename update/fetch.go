package update

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// source is a tree of static files. A source is not trusted: who reads caps
// what comes and checks it.
type source interface {
	// open reads a file from an offset on; errAbsent means that there is none. The
	// body may start earlier than asked for, at from.
	open(ctx context.Context, name string, offset int64) (body io.ReadCloser, from int64, err error)
	String() string
}

// errAbsent says that a source has no such file.
var errAbsent = errors.New("not there")

// openSource reads an address: http(s)://…, file://… or a folder.
func openSource(where string, client *http.Client) (source, error) {
	u, err := url.Parse(where)
	if err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" {
		return &web{u, client}, nil
	}
	if err == nil && u.Scheme == "file" {
		if u.Host != "" && u.Host != "localhost" {
			return nil, fmt.Errorf("%s: a file URL names a folder of this machine", where)
		}
		where = filepath.FromSlash(u.Path)
	} else if strings.Contains(where, "://") {
		return nil, fmt.Errorf("%s: expected http://, https://, file:// or a folder", where)
	}
	dir, err := filepath.Abs(where)
	return folder(dir), err
}

// folder is a mirror on this machine's disk.
type folder string

func (f folder) String() string { return string(f) }

func (f folder) open(_ context.Context, name string, offset int64) (io.ReadCloser, int64, error) {
	local, err := filepath.Localize(name)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %s is no name here", errAbsent, name)
	}
	path := filepath.Join(string(f), local)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() { // a pipe would hang
		return nil, 0, errAbsent
	}
	if err != nil {
		return nil, 0, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, offset, nil
}

// web is a mirror behind HTTP.
type web struct {
	base   *url.URL
	client *http.Client
}

func (w *web) String() string { return w.base.Redacted() }

func (w *web) open(ctx context.Context, name string, offset int64) (io.ReadCloser, int64, error) {
	u := w.base.JoinPath(strings.Split(escape(name), "/")...)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Accept-Encoding", "identity") // hashes and lengths are of the bytes as they are stored
	req.Header.Set("User-Agent", "clerestory-update")
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	res, err := w.client.Do(req)
	if err != nil {
		return nil, 0, err
	}
	switch res.StatusCode {
	case http.StatusOK:
		return res.Body, 0, nil
	case http.StatusPartialContent:
		start, _, _ := strings.Cut(strings.TrimPrefix(res.Header.Get("Content-Range"), "bytes "), "-")
		if from, err := strconv.ParseInt(start, 10, 64); err == nil && from == offset {
			return res.Body, from, nil
		}
		err = errors.New("the server sent another part than was asked for")
	case http.StatusNotFound, http.StatusForbidden, http.StatusGone: // object stores answer 403 for what is not there
		err = errAbsent
	default:
		err = fmt.Errorf("the server answered %s", res.Status)
	}
	return nil, 0, errors.Join(err, res.Body.Close())
}

func escape(name string) string {
	parts := strings.Split(name, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}

// Traffic is what an update cost.
type Traffic struct {
	Requests int64 `json:"requests"`
	Bytes    int64 `json:"bytes"` // of bodies
}

// fetcher reads sources within the limits.
type fetcher struct {
	limits  Limits
	traffic *Traffic
}

// get reads a whole small file of at most most bytes.
func (f *fetcher) get(ctx context.Context, src source, name string, most int64) ([]byte, error) {
	var b []byte
	err := f.read(ctx, src, name, 0, func(_ int64, body io.Reader) error {
		var err error
		b, err = io.ReadAll(io.LimitReader(body, most+1))
		return err
	})
	if err == nil && int64(len(b)) > most {
		return nil, refuse(EndlessData, "%s is longer than the %d bytes that it may have: endless data", name, most)
	}
	return b, err
}

// read opens a file and gives its body to use, while it watches the speed.
func (f *fetcher) read(ctx context.Context, src source, name string, offset int64, use func(from int64, body io.Reader) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	p := &paced{traffic: f.traffic}
	done := make(chan struct{})
	defer close(done)
	go p.watch(done, f.limits, func(err error) { stop(err) }, name)
	f.traffic.Requests++
	body, from, err := src.open(ctx, name, offset)
	if err == nil {
		p.body = body
		p.open.Store(true)
		err = use(from, p)
		if e := body.Close(); err == nil && e != nil {
			err = e
		}
	}
	if cause := context.Cause(ctx); cause != nil && err != nil {
		if CodeOf(cause) != "" {
			return cause
		}
		return refuse(Stopped, "stopped while reading %s: %w", name, cause)
	}
	if err == nil || CodeOf(err) != "" || errors.Is(err, errAbsent) {
		return err
	}
	return refuse(Unreachable, "reading %s from %s: %w", name, src, err)
}

// paced counts what comes through.
type paced struct {
	body    io.Reader
	traffic *Traffic
	n       atomic.Int64
	open    atomic.Bool
}

func (p *paced) Read(b []byte) (int, error) {
	n, err := p.body.Read(b)
	p.n.Add(int64(n))
	p.traffic.Bytes += int64(n)
	return n, err
}

// watch ends a read that is slower than the limit, over each span of patience.
func (p *paced) watch(done <-chan struct{}, l Limits, end func(error), name string) {
	tick := time.NewTicker(l.Patience)
	defer tick.Stop()
	need := int64(l.Patience.Seconds() * float64(l.MinSpeed))
	for before := int64(0); ; {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		now := p.n.Load()
		if !p.open.Load() {
			end(refuse(Unreachable, "%s: no answer within %s", name, l.Patience))
		} else if now-before < need {
			end(refuse(Slow, "%s came with less than %d bytes a second for %s: at that speed the update would never end", name, l.MinSpeed, l.Patience))
		}
		before = now
	}
}
