package release

import (
	"context"
	"slices"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/statement"
)

// warned adds the advisories that speak of a release to what its bundle holds. VEX
// documents are found by the release's files; the advisory that one was derived from
// stands right before it, and newer versions of that advisory bear the same name.
func (s *Service) warned(ctx context.Context, rel *Release, need map[int64]bool) error {
	subjects := []string{rel.Statement.Product + "@" + rel.Statement.Version}
	for _, f := range rel.Files {
		if len(subjects) == 4 {
			break // a VEX document names all files of a release, or none
		}
		subjects = append(subjects, f.SHA256)
	}
	var names []string
	for _, subject := range subjects {
		found, err := s.DB.Find(ctx, store.Filter{Kind: "vex", Subject: subject, Limit: 50})
		if err != nil {
			return err
		}
		for _, vex := range found {
			name, err := s.advisoryBefore(ctx, vex.N)
			if err != nil {
				return err
			}
			if name != "" && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	for _, name := range names {
		versions, err := s.DB.Find(ctx, store.Filter{Kind: "advisory", Subject: name, Limit: 2})
		if err != nil {
			return err
		}
		for _, v := range versions {
			need[v.N] = true
		}
	}
	return nil
}

// advisoryBefore is the name of the document of the advisory at the entry before n,
// or "" when something else stands there.
func (s *Service) advisoryBefore(ctx context.Context, n int64) (string, error) {
	if n == 0 {
		return "", nil
	}
	said, err := s.DB.SaidAt(ctx, n-1)
	if err != nil || said.Kind != "advisory" {
		return "", err
	}
	e, err := statement.ParseEnvelope(said.Envelope)
	if err != nil {
		return "", fault.Tampered.New("reading entry %d: %w", n-1, err)
	}
	st, err := statement.Parse(e.Payload)
	if err != nil {
		return "", fault.Tampered.New("reading entry %d: %w", n-1, err)
	}
	return st.Subject[0].Name, nil
}
