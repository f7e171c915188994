package detection

import (
	"context"
	"errors"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	office "clerestory.dev/clerestory/internal/office/detection"
	"clerestory.dev/clerestory/statement"
)

// Draft is a proposal that may be a base update.
type Draft struct {
	Release  statement.Release
	Files    map[string]string // SHA-256 by name
	Proposed time.Time
}

// Is tells whether files, by name, are a base: then it has pages here.
func (m *Room) Is(files map[string]string) bool {
	_, err := m.manifest(files[office.ManifestName])
	return err == nil
}

// Draft tells of a proposal what [Update] tells of an update; nil when it is no
// base.
func (m *Room) Draft(ctx context.Context, d Draft) (*Update, error) {
	x, err := m.manifest(d.Files[office.ManifestName])
	if errors.Is(err, fault.Invalid) || errors.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	u := &Update{Product: d.Release.Product, Version: d.Release.Version, Channel: d.Release.Channel, State: "proposed", At: d.Proposed, Entry: -1,
		Counts: x.Counts, Content: x.Content, Approvals: []string{}}
	var before *said
	err = m.each(ctx, d.Release.Product, nil, func(s said) bool {
		if s.release.Channel == d.Release.Channel && s.Revoked == nil {
			before = &s
		}
		return before == nil
	})
	if err != nil {
		return nil, err
	}
	if u.Rules, err = m.against(ctx, before, x); err != nil {
		return nil, err
	}
	var sums []string
	for _, sum := range d.Files {
		if sum != d.Release.SBOM.SHA256 {
			sums = append(sums, sum)
		}
	}
	if u.Tests, err = m.tests(ctx, d.Release.Product, x.sum, sums); err != nil {
		return nil, err
	}
	return u, m.told(ctx, u, contentOf(before))
}
