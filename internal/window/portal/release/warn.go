package release

import (
	"context"

	"clerestory.dev/clerestory/internal/office/advisory"
	office "clerestory.dev/clerestory/internal/office/release"
	"clerestory.dev/clerestory/internal/window/portal/frame"
	"clerestory.dev/clerestory/internal/window/portal/record"
	"clerestory.dev/clerestory/statement"
)

// Advisories finds what was said about a version; *advisory.Service does.
type Advisories interface {
	Touching(ctx context.Context, product, version string) ([]*advisory.Advisory, error)
}

// Warning is what an advisory says about the release.
type Warning struct {
	ID       string            `json:"id"`
	Slug     string            `json:"slug"` // of its address
	Version  string            `json:"version"`
	Title    string            `json:"title"`
	Entry    int64             `json:"entry"`
	Affected bool              `json:"affected"`
	Touches  []statement.Touch `json:"touches"`
}

// warnings are the advisories that name a release. The table only finds them: what
// they say, and whether the role security says it, is read from the log.
func warnings(r *frame.Request, from Advisories, read *record.Reader, rel *office.Release) ([]Warning, error) {
	list := []Warning{}
	if from == nil {
		return list, nil
	}
	found, err := from.Touching(r.Ctx(), rel.Statement.Product, rel.Statement.Version)
	if err != nil {
		return nil, err
	}
	for _, a := range found {
		said, err := read.At(r.Ctx(), a.Entry)
		if err != nil {
			return nil, err
		}
		w := Warning{ID: a.ID, Slug: a.Slug, Version: a.Version, Title: a.Title, Entry: a.Entry}
		for _, s := range said.Signers {
			if s.Role != "security" || said.Said == nil || len(w.Touches) > 0 {
				continue
			}
			st, err := statement.As(said.Said, &statement.Advisory{})
			if err != nil {
				return nil, err
			}
			w.Touches = st.On(rel.Statement.Product, rel.Statement.Version)
		}
		for _, t := range w.Touches {
			w.Affected = w.Affected || t.Status == statement.Affected
		}
		if len(w.Touches) > 0 {
			list = append(list, w)
		}
	}
	return list, nil
}

func touchTone(status string) string {
	switch status {
	case statement.Affected:
		return "bad"
	case statement.UnderInvestigation:
		return "warn"
	}
	return "ok"
}

func anyAffected(list []Warning) bool {
	for _, w := range list {
		if w.Affected {
			return true
		}
	}
	return false
}
