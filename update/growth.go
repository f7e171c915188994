package update

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// ledger is the vendor's log as static files (C2SP tlog-tiles). It is the second
// line: whoever holds every key of the repository still can not show this client
// a log that others do not see.
type ledger struct {
	c      *Client
	fetch  *fetcher
	src    source // nil when no log could be reached
	policy *verify.Policy
	tiles  map[string][]byte
	head   *verify.Checkpoint // the log's own newest state; nil when it could not be read
	why    error              // why not
}

// width is how many hashes or entries a full tile has.
const width = 256

// maxTiles bounds the cache of one run: 8 MB.
const maxTiles = 1024

// openLedger reads the log's checkpoint: beside the repository, or where the
// trusted root says.
func (c *Client) openLedger(ctx context.Context, f *fetcher, trust *verify.Trust) (*ledger, error) {
	l := &ledger{c: c, fetch: f, policy: trust.Policy, tiles: map[string][]byte{}}
	var places []source
	if c.cfg.Log != "" {
		src, err := openSource(c.cfg.Log, c.cfg.HTTP)
		if err != nil {
			return nil, err
		}
		places = []source{src}
	} else {
		places = []source{below{c.repo, "log/"}}
		if u := trust.Policy.Log.URL; u != "" {
			if src, err := openSource(u, c.cfg.HTTP); err == nil {
				places = append(places, src)
			}
		}
	}
	for _, src := range places {
		raw, err := f.get(ctx, src, "checkpoint", int64(verify.Limits.Checkpoint))
		if errors.Is(err, errAbsent) {
			err = refuse(Unreachable, "there is no log at %s", src)
		}
		if err == nil {
			l.src = src
			l.head, err = l.policy.Open(raw)
			return l, fromVerify("the log", err)
		}
		if Definite(err) || CodeOf(err) == Stopped {
			return nil, err
		}
		l.why = err
	}
	return l, nil
}

// below is a folder of a source.
type below struct {
	source
	prefix string
}

func (b below) String() string { return b.source.String() + "/" + b.prefix }

func (b below) open(ctx context.Context, name string, offset int64) (io.ReadCloser, int64, error) {
	return b.source.open(ctx, b.prefix+name, offset)
}

// growth checks that a state of the log and the newest one that this client
// believes are states of one log, and believes the newer one.
func (l *ledger) growth(ctx context.Context, m *memory, c *verify.Checkpoint) error {
	last, err := m.lastLog()
	if err != nil {
		return err
	}
	if last != nil && last.Origin == c.Origin {
		older, newer := last, c
		if older.Size > newer.Size {
			older, newer = newer, older
		}
		var proof []tlog.Hash
		if older.Size > 0 && older.Size < newer.Size {
			if proof, err = l.prove(ctx, older, newer); err != nil {
				return err
			}
		}
		if err := verify.CheckGrowth(older, newer, proof); err != nil {
			kept := l.c.write("fork.txt", fmt.Appendf(nil, "This client was shown two states of the log that can not both be true.\n\n%s\n%s\n", last.Raw, c.Raw))
			return errors.Join(refuse(Fork, "the log has forked: %w (the evidence is in %s: tell the vendor and the witnesses)", err, l.c.state("fork.txt")), kept)
		}
	}
	if t := c.Time(); t.After(m.Clock) {
		m.Clock = t
	}
	if last == nil || last.Origin != c.Origin || c.Size > last.Size {
		m.Log = &logState{c.Origin, c.Size, base64.StdEncoding.EncodeToString(c.Root[:]), string(c.Raw)}
	}
	return l.c.keep(m)
}

// lastLog is the newest state of the log that this client believed.
func (m *memory) lastLog() (*verify.Checkpoint, error) {
	if m.Log == nil {
		return nil, nil
	}
	root, err := base64.StdEncoding.DecodeString(m.Log.Root)
	if err != nil || len(root) != tlog.HashSize {
		return nil, refuse(Disk, "the state of the log that this client remembers is damaged")
	}
	return &verify.Checkpoint{Origin: m.Log.Origin, Size: m.Log.Size, Root: tlog.Hash(root), Raw: []byte(m.Log.Checkpoint)}, nil
}

// newest refuses a log that is smaller than what was seen: a mirror from before.
func (l *ledger) newest(ctx context.Context, m *memory) error {
	if l.head == nil {
		return nil
	}
	if m.Log != nil && m.Log.Origin == l.head.Origin && l.head.Size < m.Log.Size {
		return refuse(Rollback, "the log shows %d entries, and this client has seen %d: a mirror from before, or entries were taken away", l.head.Size, m.Log.Size)
	}
	return l.growth(ctx, m, l.head)
}

// prove makes the consistency proof from the log's tiles. They are proven
// against the newer state as they are read, so that what does not lead from one
// to the other is a fork, and not a mirror's fault.
func (l *ledger) prove(ctx context.Context, older, newer *verify.Checkpoint) ([]tlog.Hash, error) {
	if l.src == nil {
		return nil, refuse(Unreachable, "the log could not be read, so nothing shows that its %d entries continue the %d that this client has seen: %w", newer.Size, older.Size, l.why)
	}
	proof, err := tlog.ProveTree(newer.Size, older.Size, l.hashes(ctx, newer))
	return proof, l.unfit(newer, err)
}

func (l *ledger) hashes(ctx context.Context, c *verify.Checkpoint) tlog.HashReader {
	return tlog.TileHashReader(tlog.Tree{N: c.Size, Hash: c.Root}, tileReader{ctx, l})
}

// unfit says what is wrong when tiles do not lead to a checkpoint.
func (l *ledger) unfit(c *verify.Checkpoint, err error) error {
	if err == nil || CodeOf(err) != "" {
		return err
	}
	return refuse(Malformed, "the log's files at %s do not fit its state with %d entries: %w", l.src, c.Size, err)
}

type tileReader struct {
	ctx context.Context
	l   *ledger
}

func (t tileReader) Height() int                     { return 8 }
func (t tileReader) SaveTiles([]tlog.Tile, [][]byte) {}
func (t tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		b, err := t.l.tile(t.ctx, tile, int64(tile.W)*tlog.HashSize)
		if err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	return all, nil
}

// tile reads a tile, or the full one in its place: partial ones may be removed.
func (l *ledger) tile(ctx context.Context, t tlog.Tile, size int64) ([]byte, error) {
	name := "tile/" + strings.TrimPrefix(t.Path(), "tile/8/")
	if b, ok := l.tiles[name]; ok {
		return b, nil
	}
	b, err := l.fetch.get(ctx, l.src, name, size)
	if errors.Is(err, errAbsent) && t.W < width {
		full := t
		full.W = width
		b, err = l.fetch.get(ctx, l.src, "tile/"+strings.TrimPrefix(full.Path(), "tile/8/"), width*tlog.HashSize)
	}
	if errors.Is(err, errAbsent) {
		return nil, refuse(Unreachable, "the log at %s lacks %s, which its state covers", l.src, name)
	}
	if err != nil {
		return nil, err
	}
	if int64(len(b)) < size {
		return nil, refuse(WrongLength, "%s of the log has %d bytes; expected %d", name, len(b), size)
	}
	if len(l.tiles) >= maxTiles {
		clear(l.tiles)
	}
	l.tiles[name] = b[:size]
	return b[:size], nil
}

// entries reads the entries from to until of the log's newest state, and proves
// each.
func (l *ledger) entries(ctx context.Context, from, until int64, each func(verify.Entry) error) error {
	for n := from / width; n*width < until; n++ {
		w := int(min(width, l.head.Size-n*width))
		raws, err := l.bundle(ctx, n, w)
		if err != nil {
			return err
		}
		indexes := make([]int64, w)
		for i := range indexes {
			indexes[i] = tlog.StoredHashIndex(0, n*width+int64(i))
		}
		hashes, err := l.hashes(ctx, l.head).ReadHashes(indexes)
		if err != nil {
			return l.unfit(l.head, err)
		}
		for i, raw := range raws {
			at := n*width + int64(i)
			if at < from || at >= until {
				continue
			}
			if tlog.RecordHash(raw) != hashes[i] {
				return refuse(NotInLog, "entry %d of %s is not the one that the log's state covers", at, l.src)
			}
			e, err := verify.ParseEntry(at, raw)
			if err != nil {
				return fromVerify("the log", err)
			}
			if err := each(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// bundle reads bundle n of w entries: each is two bytes of length and itself.
func (l *ledger) bundle(ctx context.Context, n int64, w int) ([][]byte, error) {
	most := int64(width) * (2 + int64(statement.Limits.Envelope))
	t := tlog.Tile{H: 8, L: 0, N: n, W: w}
	name := func(t tlog.Tile) string { return "tile/entries/" + strings.TrimPrefix(t.Path(), "tile/8/0/") }
	b, err := l.fetch.get(ctx, l.src, name(t), most)
	if errors.Is(err, errAbsent) && w < width {
		t.W = width
		b, err = l.fetch.get(ctx, l.src, name(t), most)
	}
	if errors.Is(err, errAbsent) {
		return nil, refuse(Unreachable, "the log at %s lacks %s, which its state covers", l.src, name(t))
	}
	var raws [][]byte
	for err == nil && len(raws) < w {
		if len(b) < 2 || len(b)-2 < int(binary.BigEndian.Uint16(b)) {
			return nil, refuse(WrongLength, "%s of the log ends too early", name(t))
		}
		size := 2 + int(binary.BigEndian.Uint16(b))
		raws, b = append(raws, b[2:size]), b[size:]
	}
	return raws, err
}

// clock is the time to judge by: a local clock that is behind what a quorum of
// witnesses is known to have signed at is wrong, and an old state would look
// fresh to it.
func (m *memory) clock(local time.Time) (now time.Time, note string) {
	if local.Before(m.Clock) {
		return m.Clock, fmt.Sprintf("this machine's clock says %s, but the log's witnesses signed at %s: theirs is used", date(local), date(m.Clock))
	}
	return local, ""
}
