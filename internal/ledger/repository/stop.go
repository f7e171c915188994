package repository

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/update"
)

// stops brings the online role to what was decided (see [update.Stops]): every
// halted offer of every channel, and every version that was withdrawn. Where
// nothing was ever stopped the role lists nothing.
func (s *Service) stops(ctx context.Context, e *edition) error {
	p, now := s.Policy.filled(), s.now()
	heads, err := s.Heads(ctx)
	if err != nil {
		return err
	}
	want, old := metadata.Targets(now.Add(p.Snapshot)), e.files[stopRole]
	for _, h := range heads {
		stops := update.Stops{MediaType: update.StopType, Product: h.Product, Channel: h.Channel, Halted: []string{}}
		for _, o := range h.Releases {
			if o.Halted {
				stops.Halted = append(stops.Halted, o.Version)
			}
		}
		for _, w := range h.Revoked { // a head that offers them may still be in force
			stops.Halted = append(stops.Halted, w.Version)
		}
		name := update.StopTarget(h.Product, h.Channel)
		// Once listed it stays: a client that saw one asks for it again.
		if len(stops.Halted) == 0 && (old == nil || old.file.Signed.Targets[name] == nil) {
			continue
		}
		content, err := json.Marshal(stops)
		if err != nil {
			return fmt.Errorf("encoding the stops of %s/%s: %w", h.Product, h.Channel, err)
		}
		if _, err := s.Blobs.Put(ctx, bytes.NewReader(content), int64(update.HeadLimits.Bytes)); err != nil {
			return err
		}
		want.Signed.Targets[name] = describe(statement.HashOf(content), int64(len(content)))
	}
	top := e.files[metadata.TARGETS].file
	if old != nil && same(old.file, want) && old.expires.Sub(now) >= p.Snapshot/2 && top.VerifyDelegate(stopRole, old.file) == nil {
		return nil
	}
	if want.Signed.Version, err = s.take(ctx, stopRole); err != nil {
		return err
	}
	if want.Signatures, err = s.signOnline(want.Signed); err != nil {
		return err
	}
	// Written before the list of products, as all that is delegated.
	if err := e.add(stopRole, want.Signed.Version, want.Signed.Expires, want); err != nil {
		return err
	}
	return nil
}
