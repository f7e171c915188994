package repository

import (
	"context"
	"fmt"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"clerestory.dev/clerestory/internal/base/fault"
)

// judge asks go-tuf, as a client that has the oldest root and one that has the
// root which is in the folder, whether it would believe the edition: what a
// stranger would refuse is not written.
func (s *Service) judge(e *edition) error {
	if err := walk(e, e.roots, s.now()); err != nil {
		return fault.Denied.New("clients would refuse the repository: %w", err)
	}
	// Clients that have not seen the new root yet must not be shown anything that
	// only its keys have signed, if it can be helped.
	e.late = e.rootsFrom > 1 && e.rootsFrom <= int64(len(e.roots)) && walk(e, e.roots[:e.rootsFrom-1], s.now()) == nil
	return nil
}

// walk is the client's workflow (TUF 1.0, section 5) over the whole edition.
func walk(e *edition, roots [][]byte, now time.Time) error {
	t, err := trustedmetadata.New(roots[0])
	if err != nil {
		return fmt.Errorf("root version 1: %w", err)
	}
	t.RefTime = now
	for i, r := range roots[1:] {
		if _, err := t.UpdateRoot(r); err != nil {
			return fmt.Errorf("root version %d: %w", i+2, err)
		}
	}
	if _, err := t.UpdateTimestamp(e.files[metadata.TIMESTAMP].content); err != nil {
		return fmt.Errorf("the timestamp: %w", err)
	}
	if _, err := t.UpdateSnapshot(e.files[metadata.SNAPSHOT].content, false); err != nil {
		return fmt.Errorf("the snapshot: %w", err)
	}
	if _, err := t.UpdateTargets(e.files[metadata.TARGETS].content); err != nil {
		return fmt.Errorf("the list of products: %w", err)
	}
	return walkDelegations(t, e, metadata.TARGETS)
}

func walkDelegations(t *trustedmetadata.TrustedMetadata, e *edition, delegator string) error {
	d := t.Targets[delegator].Signed.Delegations
	if d == nil {
		return nil
	}
	var names []string
	for _, r := range d.Roles {
		names = append(names, r.Name)
	}
	if d.SuccinctRoles != nil {
		names = append(names, d.SuccinctRoles.GetRoles()...)
	}
	for _, name := range names {
		f, ok := e.files[name]
		if !ok {
			return fmt.Errorf("%s delegates to %s, which has no metadata", delegator, name)
		}
		if _, err := t.UpdateDelegatedTargets(f.content, name, delegator); err != nil {
			return fmt.Errorf("the metadata of %s: %w", name, err)
		}
		if err := walkDelegations(t, e, name); err != nil {
			return err
		}
	}
	return nil
}

// notBehind refuses to go on with a database that is older than its folder: it
// would show clients an older state, and they would refuse it.
func (s *Service) notBehind(ctx context.Context) error {
	t, err := s.readTimestamp()
	if t == nil || err != nil {
		return err
	}
	before, err := s.published(ctx)
	if err != nil {
		return err
	}
	known := before[metadata.TIMESTAMP]
	var given int64
	if known == nil || known.version < t.Signed.Version {
		// Killed between the timestamp and the database, the number was given.
		if err := s.DB.QueryRow(ctx, "SELECT version FROM repository_role WHERE name = $1", metadata.TIMESTAMP).Scan(&given); err != nil || given < t.Signed.Version {
			return fault.Stale.New("the repository in %s is at timestamp %d, but the database knows nothing of it: the database was restored from before; take over what is published with clerestory repository adopt", s.Dir, t.Signed.Version)
		}
	}
	return nil
}
