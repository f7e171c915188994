package update

import (
	"context"
	"errors"
	"fmt"

	"clerestory.dev/clerestory/statement"
)

// StopType is the media type of a channel's stops.
const StopType = "application/vnd.clerestory.stop.v1+json"

// Stops is the target stop.json of a channel: versions whose offers are stopped
// at once, before those who release the product can come together to sign a head
// that says so. Whoever signs it can stop an offer and never make one.
type Stops struct {
	MediaType string   `json:"mediaType"`
	Product   string   `json:"product"`
	Channel   string   `json:"channel"`
	Halted    []string `json:"halted"` // versions
}

// StopTarget names the TUF target of a channel's stops. A channel that never
// stopped anything has none.
func StopTarget(product, channel string) string { return product + "/" + channel + "/stop.json" }

// ParseStops reads a channel's stops.
func ParseStops(b []byte) (*Stops, error) {
	var s Stops
	if err := statement.Decode(b, &s); err != nil {
		return nil, fmt.Errorf("reading the stops: %w", err)
	}
	if s.MediaType != StopType || len(s.Halted) > HeadLimits.Releases+HeadLimits.Revoked {
		return nil, fmt.Errorf("these are not stops: mediaType must be %q, with at most %d versions", StopType, HeadLimits.Releases+HeadLimits.Revoked)
	}
	return &s, nil
}

// Stop marks what was stopped in a head.
func (h *Head) Stop(s *Stops) {
	for _, v := range s.Halted {
		for i := range h.Releases {
			if h.Releases[i].Version == v {
				h.Releases[i].Halted = true
			}
		}
	}
}

// stop reads the channel's stops, if there are any, and minds them.
func (r *run) stop(ctx context.Context, h *Head) error {
	t, err := r.repo.find(ctx, StopTarget(h.Product, h.Channel))
	if errors.Is(err, errAbsent) {
		return nil
	}
	if err != nil {
		return err
	}
	b, err := r.small(ctx, t, int64(HeadLimits.Bytes))
	if err != nil {
		return err
	}
	s, err := ParseStops(b)
	if err != nil {
		return refuse(Malformed, "the channel's stops: %w", err)
	}
	if s.Product != h.Product || s.Channel != h.Channel {
		return refuse(MixAndMatch, "the stops of %s/%s stand in the place of %s/%s", s.Product, s.Channel, h.Product, h.Channel)
	}
	h.Stop(s)
	return nil
}
