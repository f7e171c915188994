package release

import (
	"context"
	"fmt"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/statement"
)

// Rollback drafts a new version with the content of an older one: a version
// never goes down. The older one must have been published and not be revoked;
// its source and build are what the new one names. The result can be changed,
// and goes the way of every release once it is proposed.
func (s *Service) Rollback(ctx context.Context, product, to, version, by, why string) (Draft, error) {
	what := fmt.Sprintf("going back to %s", label(product, to))
	old, err := s.Show(ctx, product, to)
	if err != nil {
		return Draft{}, fmt.Errorf("%s: %w", what, err)
	}
	if old.State != Published && old.State != Superseded {
		return Draft{}, fault.Conflict.New("%s: it is %s; only what was published and not taken back can be restored", what, old.State)
	}
	if version == to {
		return Draft{}, fault.Invalid.New("%s: give it a new version; a version never goes down", what)
	}
	if why == "" {
		return Draft{}, fault.Invalid.New("%s: say why; everybody will read it", what)
	}
	d := Draft{
		Product: product, Version: version, Channel: old.Statement.Channel, Files: old.Files, By: by, Restores: to,
		Notes: fmt.Sprintf("Restores the content of %s: %s", to, why),
	}
	for _, f := range old.Files {
		if f.SHA256 == old.Statement.SBOM.SHA256 && f.Name == old.Statement.SBOM.Name {
			d.SBOM = f
		}
		if r, err := s.Blobs.Open(f.SHA256); err != nil {
			return Draft{}, fmt.Errorf("%s: finding %s: %w", what, f.Name, err)
		} else {
			r.Close()
		}
	}
	if d.SBOM.Name == "" {
		return Draft{}, fault.Unavailable.New("%s: its bill of materials (%s) is not among its files any more", what, old.Statement.SBOM.Name)
	}
	for _, x := range []struct {
		hash string
		said *Said
	}{{old.Statement.Source, &d.Source}, {old.Statement.Build, &d.Build}} {
		said, err := s.DB.SaidByHash(ctx, x.hash)
		if err != nil {
			return Draft{}, fmt.Errorf("%s: %w", what, err)
		}
		*x.said = Said{said.N, statement.HashOf(said.Envelope)}
	}
	return d, nil
}
