package update

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Result is what an update came to.
type Result struct {
	Product string `json:"product"`
	Channel string `json:"channel"`
	Version string `json:"version"` // in place now; "" for none
	Before  string `json:"before,omitempty"`
	// Available is the newest version that is meant for this client and was
	// verified, when it is not the one in place.
	Available string   `json:"available,omitempty"`
	Updated   bool     `json:"updated"`
	Builders  int      `json:"builders"` // different builders that got the bytes of Version
	LogSize   int64    `json:"logSize"`  // entries of the newest log state that was believed
	Notes     []string `json:"notes"`    // what a person should know: a wrong clock, a delta that did not fit
	Traffic   Traffic  `json:"traffic"`
}

// run is one update.
type run struct {
	c       *Client
	m       *memory
	fetch   *fetcher
	repo    *repository
	log     *ledger
	said    *said
	now     time.Time
	stamp   []byte   // the timestamp.json that this run goes by
	current *Version // nil when none is in place
	result  *Result
}

// Update brings the product to the newest version that is meant for this client.
// Whatever goes wrong, the version in place before is in place after.
func (c *Client) Update(ctx context.Context) (*Result, error) { return c.run(ctx, true) }

// Check does all of Update but for downloading and installing.
func (c *Client) Check(ctx context.Context) (*Result, error) { return c.run(ctx, false) }

func (c *Client) run(ctx context.Context, install bool) (_ *Result, err error) {
	r := &run{c: c, result: &Result{Product: c.cfg.Product, Channel: c.cfg.Channel, Notes: []string{}}}
	if err := os.MkdirAll(c.state(""), 0o700); err != nil {
		return r.result, disk("making the folder", err)
	}
	held, err := lock(c.state("lock"))
	if err != nil {
		return r.result, err
	}
	defer func() {
		if e := unlock(held); err == nil {
			err = disk("unlocking the folder", e)
		}
	}()
	r.fetch = &fetcher{limits: c.cfg.Limits, traffic: &r.result.Traffic}
	err = r.steps(ctx, install)
	if r.current != nil {
		r.result.Version, r.result.Builders = r.current.Version, r.current.Builders
	}
	if r.m != nil && r.m.Log != nil {
		r.result.LogSize = r.m.Log.Size
	}
	return r.result, err
}

func (r *run) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(r.result.Notes, text) {
		r.result.Notes = append(r.result.Notes, text)
	}
}

func (r *run) steps(ctx context.Context, install bool) (err error) {
	if r.m, err = r.c.loadMemory(); err != nil {
		return err
	}
	if err := r.recover(ctx); err != nil {
		return err
	}
	if r.said, err = r.c.loadSaid(); err != nil {
		return err
	}
	r.clock()
	if err := r.poll(ctx); err != nil {
		return err
	}
	if done, err := r.unchanged(); done || err != nil {
		return err
	}
	if err := r.refresh(ctx); err != nil {
		return err
	}
	head, err := r.head(ctx)
	if err != nil {
		return err
	}
	if err := r.stop(ctx, head); err != nil {
		return err
	}
	return r.follow(ctx, head, install)
}

// poll reads the one small file that changes with everything else.
func (r *run) poll(ctx context.Context) (err error) {
	r.stamp, err = r.fetch.get(ctx, r.c.repo, "metadata/timestamp.json", r.c.cfg.Limits.Timestamp)
	if errors.Is(err, errAbsent) {
		return refuse(Unreachable, "there is no repository at %s: it has no metadata/timestamp.json", r.c.repo)
	}
	return err
}

func (r *run) clock() {
	now, note := r.m.clock(r.c.cfg.Now())
	if r.now = now; note != "" {
		r.note("%s", note)
	}
}

// settlement names the timestamp.json together with what else decided that there
// was nothing left to do.
func (r *run) settlement() string {
	version := ""
	if r.current != nil {
		version = r.current.Version
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%d\n%v\n%s", r.c.cfg.Channel, version, r.c.cfg.Policy.Builders, r.c.cfg.Policy.UnsafeUnreproducible, r.stamp))
	return hex.EncodeToString(sum[:])
}

// unchanged tells that nothing can have changed: the timestamp has the bytes that
// were believed before, and all they led to was done. So a check costs one small
// request. A new version of the root shows at the latest when this timestamp
// expires, which is soon.
func (r *run) unchanged() (bool, error) {
	if r.m.Settled != r.settlement() || !bytes.Equal(r.stamp, r.c.kept("timestamp")) {
		return false, nil
	}
	repo, err := r.c.openRepository(r.fetch, r.now)
	if err != nil {
		return false, err
	}
	t, err := metadata.Timestamp().FromBytes(r.stamp)
	if err != nil || t.Signed.IsExpired(r.now) || repo.tuf.Root.Signed.IsExpired(r.now) {
		return false, nil // the root may have been renewed since; then the timestamp counts again, or says why not
	}
	r.tellFailure()
	return true, nil
}

// refresh believes the repository's newest state, and the log's.
func (r *run) refresh(ctx context.Context) (err error) {
	if r.repo, err = r.c.openRepository(r.fetch, r.now); err != nil {
		return err
	}
	changed, err := r.repo.roots(ctx)
	if err != nil {
		return err
	}
	if changed { // the timestamp may have been signed anew meanwhile
		if err := r.poll(ctx); err != nil {
			return err
		}
	}
	if r.log, err = r.c.openLedger(ctx, r.fetch, r.repo.trust); err != nil {
		return err
	}
	if err := r.log.newest(ctx, r.m); err != nil {
		return err
	}
	r.clock()
	r.repo.tuf.RefTime = r.now
	if err := r.repo.timestamp(r.stamp); err != nil {
		return err
	}
	r.c.at("timestamp-believed")
	if err := r.repo.snapshot(ctx); err != nil {
		return err
	}
	r.c.at("snapshot-believed")
	_, err = r.repo.role(ctx, metadata.TARGETS, metadata.ROOT)
	return err
}

// head reads what the channel offers, and refuses to go back in it.
func (r *run) head(ctx context.Context) (*Head, error) {
	cfg := r.c.cfg
	t, err := r.repo.find(ctx, HeadTarget(cfg.Product, cfg.Channel))
	if errors.Is(err, errAbsent) {
		return nil, refuse(NotOffered, "the vendor offers no channel %s of a product %s", cfg.Channel, cfg.Product)
	}
	if err != nil {
		return nil, err
	}
	b, err := r.small(ctx, t, min(cfg.Limits.Metadata, int64(HeadLimits.Bytes)))
	if err != nil {
		return nil, err
	}
	h, err := ParseHead(b)
	if err != nil {
		return nil, refuse(Malformed, "the channel's head: %w", err)
	}
	if h.Product != cfg.Product || h.Channel != cfg.Channel {
		return nil, refuse(MixAndMatch, "the head of %s/%s stands in the place of %s/%s", h.Product, h.Channel, cfg.Product, cfg.Channel)
	}
	seen := r.m.Channels[cfg.Channel]
	if h.Sequence < seen.Sequence {
		return nil, refuse(Rollback, "the channel's head has sequence %d, and this client has seen %d", h.Sequence, seen.Sequence)
	}
	if h.Sequence == seen.Sequence && t.sha256 != seen.Head {
		return nil, refuse(MixAndMatch, "the channel has two different heads with sequence %d", h.Sequence)
	}
	seen.Sequence, seen.Head = h.Sequence, t.sha256
	r.m.Channels[cfg.Channel] = seen
	return h, r.c.keep(r.m)
}

// follow does what the head says for this client.
func (r *run) follow(ctx context.Context, h *Head, install bool) error {
	offer, ok, err := r.choose(h)
	if err != nil {
		return err
	}
	if !ok {
		if err := r.stillGood(ctx, h); err != nil {
			return err
		}
		r.m.Settled = r.settlement()
		return r.c.keep(r.m)
	}
	if bad, gone := h.RevokedVersion(offer.Version); gone {
		return refuse(Revoked, "version %s was revoked: %s", offer.Version, bad.Reason)
	}
	builders, err := r.judge(ctx, offer)
	if err != nil {
		return err
	}
	r.result.Available = offer.Version
	if !install {
		return nil
	}
	v := &Version{Version: offer.Version, Channel: h.Channel, Number: offer.Number, Entry: offer.Entry, Builders: builders, Files: map[string]string{}}
	for _, f := range offer.Files {
		v.Files[f.Name] = f.SHA256
	}
	if err := r.download(ctx, offer); err != nil {
		return err
	}
	if err := r.install(ctx, offer, v); err != nil {
		return err
	}
	r.result.Updated, r.result.Available = true, ""
	r.m.Settled = r.settlement()
	return r.c.keep(r.m)
}

// choose finds the offer that this client should go to, if it is not there.
func (r *run) choose(h *Head) (Offer, bool, error) {
	o, ok := h.Newest(r.m.Client)
	if !ok {
		return o, false, nil
	}
	seen := r.m.Channels[h.Channel]
	cur := r.current
	if cur != nil && cur.Channel == h.Channel {
		if o.Number == cur.Number && o.Version != cur.Version {
			return o, false, refuse(MixAndMatch, "the channel has two versions with number %d: %s, which is installed, and %s", o.Number, cur.Version, o.Version)
		}
		if o.Number <= cur.Number {
			return o, false, nil
		}
	}
	if o.Number < seen.Number {
		return o, false, refuse(Rollback, "the channel offers %s with number %d, and this client has had number %d", o.Version, o.Number, seen.Number)
	}
	if f := r.m.Failed; f != nil && f.Channel == h.Channel && f.Number == o.Number {
		r.tellFailure()
		return o, false, nil
	}
	return o, true, nil
}

// tellFailure reminds of an offer that failed here and is not tried again.
func (r *run) tellFailure() {
	if f := r.m.Failed; f != nil && f.Channel == r.c.cfg.Channel {
		r.note("version %s is offered, but failed its health check here and is not tried again: %s", f.Version, f.Why)
	}
}

// stillGood refuses to be content with a version that was taken back.
func (r *run) stillGood(ctx context.Context, h *Head) error {
	if r.current == nil {
		return nil // the channel offers nothing to this client yet
	}
	if w, gone := h.RevokedVersion(r.current.Version); gone && w.Entry == r.current.Entry {
		return refuse(Revoked, "version %s, which is installed, was revoked: %s; nothing newer is offered to this client yet", r.current.Version, w.Reason)
	}
	if err := r.listen(ctx, r.current.Entry); err != nil {
		return err
	}
	why, err := r.takenBack(r.current.Entry, nil)
	if err == nil && why != "" {
		err = refuse(Revoked, "version %s, which is installed, was revoked in the log: %s; nothing newer is offered to this client yet", r.current.Version, why)
	}
	return err
}

// small reads a target that fits into memory.
func (r *run) small(ctx context.Context, t target, most int64) ([]byte, error) {
	if t.size > most {
		return nil, refuse(EndlessData, "%s has %d bytes; at most %d are accepted", t.path, t.size, most)
	}
	b, err := r.fetch.get(ctx, r.c.repo, t.remote, t.size)
	if errors.Is(err, errAbsent) {
		return nil, refuse(Unreachable, "the repository lacks %s, which it names: a mirror in the middle of a copy?", t.remote)
	}
	if err != nil {
		return nil, err
	}
	if int64(len(b)) < t.size {
		return nil, refuse(WrongLength, "%s has %d bytes; expected %d", t.path, len(b), t.size)
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != t.sha256 {
		return nil, refuse(WrongHash, "%s does not have the hash that the vendor signed", t.path)
	}
	return b, nil
}

// versions is where a version's files are.
func (c *Client) versions(version string) string {
	return filepath.Join(c.cfg.Dir, "versions", version)
}
