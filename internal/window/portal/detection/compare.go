package detection

import (
	"context"
	"errors"

	"clerestory.dev/clerestory/internal/base/fault"
	office "clerestory.dev/clerestory/internal/office/detection"
)

// compare compares two released bases rule by rule. The bytes never change, so an
// answer is good for ever. One comparison runs at a time: it holds both bases.
func (m *Room) compare(ctx context.Context, old, new *manifest) (*Rules, error) {
	key := new.Content
	if old != nil {
		key = old.Content + " " + key
	}
	m.comparing.Lock()
	defer m.comparing.Unlock()
	if kept, ok := m.diffs[key]; ok {
		again := *kept
		return &again, nil
	}
	if err := ctx.Err(); err != nil { // whoever waited has gone
		return nil, fault.Unavailable.New("comparing two bases: %w", err)
	}
	r, err := m.differ(old, new)
	if err != nil {
		return nil, err
	}
	if m.diffs == nil || len(m.diffs) >= Caps.Kept {
		m.diffs = map[string]*Rules{}
	}
	kept := *r
	m.diffs[key] = &kept
	return r, nil
}

func (m *Room) differ(old, new *manifest) (*Rules, error) {
	if size(old)+size(new) > Caps.Base {
		return &Rules{Sums: []Sum{}, Changes: []office.Change{}, Not: "The two are too large to be compared for a page: clerestory base diff does it."}, nil
	}
	after, err := m.open(new)
	if err != nil {
		return notCompared(err)
	}
	var before *office.Base
	if old != nil {
		if before, err = m.open(old); err != nil {
			return notCompared(err)
		}
	}
	d := office.Compare(before, after)
	r := &Rules{Sums: []Sum{}, Changes: d.Changes}
	for _, what := range []string{"rule", "hash", "pattern", "logical", "base"} {
		s := Sum{what, d.Count(what, office.Added), d.Count(what, office.Changed), d.Count(what, office.Renamed), d.Count(what, office.Removed)}
		if s != (Sum{What: what}) {
			r.Sums = append(r.Sums, s)
		}
	}
	return r, nil
}

// notCompared tells of bytes that are gone, or are no base to this version: the
// rest of the page is good.
func notCompared(err error) (*Rules, error) {
	if errors.Is(err, fault.NotFound) {
		return &Rules{Sums: []Sum{}, Changes: []office.Change{}, Not: "The released files of one of the two are not kept here any more."}, nil
	}
	if errors.Is(err, fault.Invalid) {
		return &Rules{Sums: []Sum{}, Changes: []office.Change{}, Not: "One of the two can not be read as a base by this version."}, nil
	}
	return nil, err
}

func size(m *manifest) (n int64) {
	if m != nil {
		for _, f := range m.Files {
			n += f.Size
		}
	}
	return n
}

// open reads a released base from the blobs; its manifest is held against it
// again.
func (m *Room) open(x *manifest) (*office.Base, error) {
	folder := memory{office.ManifestName: x.text}
	for _, f := range x.Files {
		text, err := m.read(f.SHA256, f.Size)
		if err != nil {
			return nil, err
		}
		folder[f.Name] = text
	}
	return office.Read(folder)
}
