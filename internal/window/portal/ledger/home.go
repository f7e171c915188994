package ledger

import (
	"errors"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/window/portal/frame"
	"clerestory.dev/clerestory/internal/window/portal/record"
	"clerestory.dev/clerestory/statement"
)

// Overview is the first page as data.
type Overview struct {
	Vendor      string         `json:"vendor"`
	Fingerprint string         `json:"fingerprint"` // of the trusted root
	Log         *record.Status `json:"log"`         // null while there is no witnessed checkpoint
	Releases    []Release      `json:"releases"`    // the latest
}

// Release is a release in the overview.
type Release struct {
	Entry   int64     `json:"entry"`
	Product string    `json:"product"`
	Version string    `json:"version"`
	Channel string    `json:"channel"`
	At      time.Time `json:"at"`
	Revoked bool      `json:"revoked"`
}

// home is the first page: what is claimed, how to check it, and the log's pulse.
type home struct {
	Overview
	url string
	now time.Time
}

func (m *Room) home(r *frame.Request) (*frame.Answer, error) {
	trust, err := m.Read.Trust()
	if err != nil {
		return nil, err
	}
	data := Overview{Vendor: m.Vendor(), Fingerprint: trust.Fingerprint(), Releases: []Release{}}
	data.Log, err = m.Read.Status(r.Ctx())
	if err != nil && !errors.Is(err, fault.Unavailable) {
		return nil, err
	}
	latest, err := m.Read.List(r.Ctx(), store.Filter{Kind: "release", Limit: 6})
	if err != nil {
		return nil, err
	}
	for _, s := range latest {
		if s.Said == nil {
			continue
		}
		rel, err := statement.As(s.Said, &statement.Release{})
		if err != nil {
			continue // the explorer shows it as broken
		}
		data.Releases = append(data.Releases, Release{s.N, rel.Product, rel.Version, rel.Channel, moment(rel.At), s.Revoked != nil})
	}
	return &frame.Answer{Title: "Overview", Section: "/", Data: data, Body: homePage(home{data, m.URL, r.Now})}, nil
}

// bundleURL is where the newest release's proof would be got from.
func bundleURL(h home) string {
	if len(h.Releases) > 0 {
		return h.url + "/releases/" + h.Releases[0].Product + "/" + h.Releases[0].Version + "/bundles/FILE.clerestory"
	}
	return h.url + "/releases/PRODUCT/VERSION/bundles/FILE.clerestory"
}
