package advisory

import (
	"context"
	"errors"
	"fmt"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/statement"
)

// Check reads a document and says whether it could be published now: valid by the
// standard, about what was released, and a newer version of what there is.
func (s *Service) Check(ctx context.Context, raw []byte) (*Document, error) {
	d, err := Parse(raw)
	if err != nil {
		return nil, err
	}
	if err := s.check(ctx, d); err != nil {
		return nil, err
	}
	_, err = s.next(ctx, d)
	return d, err
}

// Publish says an advisory and its VEX document, signed by the role "security".
// A version that was published gets no other content; publishing the same bytes
// again gives what there is, and puts the document where only its statement was.
func (s *Service) Publish(ctx context.Context, raw []byte, signer statement.Signer) (*Advisory, error) {
	d, err := s.Check(ctx, raw)
	if err != nil {
		return nil, fmt.Errorf("publishing the advisory: %w", err)
	}
	h := d.Head()
	old, err := s.Version(ctx, d.Slug, h.Version)
	if err == nil { // Check made sure that it is the same
		return s.keep(ctx, old, d)
	}
	if !errors.Is(err, fault.NotFound) {
		return nil, fmt.Errorf("publishing %s: %w", h.ID, err)
	}
	revision, err := s.next(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("publishing %s: %w", h.ID, err)
	}
	advisory, vex, err := s.payloads(ctx, d, revision)
	if err != nil {
		return nil, fmt.Errorf("publishing %s: %w", h.ID, err)
	}
	a, err := s.authority(ctx)
	if err != nil {
		return nil, fmt.Errorf("publishing %s: %w", h.ID, err)
	}
	err = s.DB.Write(ctx, func(tx *store.Tx) error {
		n, err := s.say(ctx, tx, a, advisory, signer)
		if err != nil {
			return err
		}
		if _, err := s.say(ctx, tx, a, vex, signer); err != nil {
			return err
		}
		return s.insert(ctx, tx, d, revision, n)
	})
	if err != nil {
		return nil, fmt.Errorf("publishing %s: %w", h.ID, err)
	}
	return s.Version(ctx, d.Slug, h.Version)
}

// next is the number of the revision that d would be. What there is of the same id
// must be older, and its history must stand in the new document as it was.
func (s *Service) next(ctx context.Context, d *Document) (int64, error) {
	h := d.Head()
	all, err := s.versions(ctx, d.Slug)
	if err != nil || len(all) == 0 {
		return 1, err
	}
	newest := all[len(all)-1]
	if newest.ID != h.ID {
		return 0, fault.Conflict.New("the ids %s and %s have the same file name; choose another", newest.ID, h.ID)
	}
	for _, old := range all {
		if old.Version == h.Version && old.SHA256 == d.SHA256 {
			return old.Revision, nil
		}
	}
	if compareVersions(h.Version, newest.Version) <= 0 {
		return 0, fault.Conflict.New("version %s of %s was published; a change is a new version with a line in its revision history, never the same one", newest.Version, h.ID)
	}
	if newest.Raw != nil {
		if err := follows(newest.Raw, d); err != nil {
			return 0, err
		}
	}
	return newest.Revision + 1, nil
}

// follows refuses a document that tells another history than the one before it.
func follows(before []byte, d *Document) error {
	old, err := Parse(before)
	if err != nil {
		return fault.Tampered.New("reading the version before: %w", err)
	}
	was, is := old.csaf.Document.Tracking, d.csaf.Document.Tracking
	if !moment(was.Initial).Equal(moment(is.Initial)) {
		return fault.Conflict.New("the initial release date was %s, and can not change", was.Initial)
	}
	if moment(is.Current).Before(moment(was.Current)) {
		return fault.Conflict.New("the current release date is before that of version %s", was.Version)
	}
	told := map[string]revision{}
	for _, r := range is.History {
		told[r.Number] = r
	}
	for _, r := range was.History {
		if told[r.Number] != r {
			return fault.Conflict.New("revision %s is missing from the revision history, or was changed", r.Number)
		}
	}
	return nil
}

// payloads makes the two statements.
func (s *Service) payloads(ctx context.Context, d *Document, revision int64) (advisory, vex []byte, err error) {
	h := d.Head()
	p, err := s.Programme(ctx)
	if err != nil {
		return nil, nil, err
	}
	st := &statement.Advisory{
		ID: h.ID, Version: h.Version, Title: h.Title, Status: h.Status, TLP: h.TLP, Severity: h.Severity,
		Document: statement.Digest{Name: d.Slug + ".json", SHA256: d.SHA256, Size: int64(len(d.Raw))},
		Released: stamp(moment(h.Current)), At: s.stamp(),
	}
	for _, v := range d.csaf.Vulnerabilities {
		st.Vulnerabilities = append(st.Vulnerabilities, statement.Vulnerability{ID: v.id(), Title: clip(v.Title), Products: d.impacts(v)})
	}
	subject := []statement.Subject{{Name: st.Document.Name, Digest: map[string]string{"sha256": d.SHA256}}}
	if advisory, err = statement.New(subject, st); err != nil {
		return nil, nil, fault.Invalid.New("its statement: %w", err)
	}
	files, err := s.subjects(ctx, d)
	if err != nil {
		return nil, nil, err
	}
	if vex, err = statement.New(files, d.VEX(p.Vendor.ID, p.Vendor.Name, s.URL+"/advisories/"+d.Slug+"/vex.json", revision)); err != nil {
		return nil, nil, fault.Invalid.New("its VEX statement: %w", err)
	}
	return advisory, vex, nil
}

// impacts are the versions of each product by their state.
func (d *Document) impacts(v vulnerability) []statement.Impact {
	states, _ := d.states(v)
	var all []statement.Impact
	for _, version := range d.Versions() { // sorted by product
		state, ok := states[version]
		if !ok {
			continue
		}
		if len(all) == 0 || all[len(all)-1].Product != version.Product {
			all = append(all, statement.Impact{Product: version.Product})
		}
		p := &all[len(all)-1]
		list := map[string]*[]string{statement.Affected: &p.Affected, statement.Fixed: &p.Fixed, statement.NotAffected: &p.NotAffected,
			statement.UnderInvestigation: &p.UnderInvestigation}[state]
		*list = append(*list, version.Version)
	}
	return all
}

func (s *Service) insert(ctx context.Context, tx *store.Tx, d *Document, revision, entry int64) error {
	// Statements were said first: from then on others wait for this transaction, and
	// two who publish the same revision can not both find the place free.
	var last int64
	if err := tx.QueryRowContext(ctx, "SELECT COALESCE(max(revision), 0) FROM advisory WHERE slug = $1", d.Slug).Scan(&last); err != nil {
		return fmt.Errorf("looking for other versions of the advisory: %w", err)
	}
	if last != revision-1 {
		return fault.Conflict.New("another version was published at the same time; look at it first")
	}
	h := d.Head()
	_, err := tx.ExecContext(ctx, `INSERT INTO advisory (slug, revision, tracking, version, title, sha256, document, entry, year, released_at, published_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		d.Slug, revision, h.ID, h.Version, h.Title, d.SHA256, d.Raw, entry, moment(h.Initial).Year(), moment(h.Current).UnixMilli(), s.Now().UnixMilli())
	if err != nil {
		return fmt.Errorf("writing the advisory: %w", err)
	}
	return insertProducts(ctx, tx, d.Slug, revision, d.Versions())
}

func insertProducts(ctx context.Context, tx *store.Tx, slug string, revision int64, versions []Version) error {
	for _, v := range versions {
		if _, err := tx.ExecContext(ctx, "INSERT INTO advisory_product (slug, revision, product, version) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
			slug, revision, v.Product, v.Version); err != nil {
			return fmt.Errorf("writing what the advisory speaks of: %w", err)
		}
	}
	return nil
}

// keep puts the document to a version that has none.
func (s *Service) keep(ctx context.Context, old *Advisory, d *Document) (*Advisory, error) {
	if old.Raw != nil {
		return old, nil
	}
	err := s.DB.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE advisory SET document = $1, year = $2 WHERE slug = $3 AND revision = $4 AND sha256 = $5",
			d.Raw, moment(d.Head().Initial).Year(), old.Slug, old.Revision, d.SHA256)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("keeping the document of %s: %w", old.ID, err)
	}
	return s.Version(ctx, old.Slug, old.Version)
}
