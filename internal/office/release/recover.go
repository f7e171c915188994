package release

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/ledger/keyring"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// unknown stands for who proposed a release of which only the statement is left.
const unknown = "unknown"

// Recover makes this room's tables agree with the statements: after a restored
// database has adopted what its log holds, releases and revocations since the
// backup are statements without rows, and a version must not be published again
// with another content. It returns how many rows it made or changed; with nothing
// to do it changes nothing. Who proposed is not in a statement, and the sizes of
// files whose blobs are gone are not either.
func (s *Service) Recover(ctx context.Context) (int, error) {
	a, err := s.authority(ctx)
	if err != nil {
		return 0, err
	}
	changed := 0
	for _, kind := range []string{"release", "revocation"} {
		err := keyring.Each(ctx, s.DB, kind, func(e verify.Entry) error {
			if _, err := a.Believe(e); err != nil {
				return nil // nobody believes it: it is no release
			}
			return s.DB.Write(ctx, func(tx *store.Tx) error {
				did, err := s.recover(ctx, tx, a, e)
				if did {
					changed++
				}
				return err
			})
		})
		if err != nil {
			return changed, fmt.Errorf("recovering releases from their statements: %w", err)
		}
	}
	return changed, nil
}

func (s *Service) recover(ctx context.Context, tx *store.Tx, a *verify.Authority, e verify.Entry) (bool, error) {
	if e.Statement.PredicateType == statement.RevocationType {
		r, err := statement.As(e.Statement, &statement.Revocation{})
		if err != nil {
			return false, fault.Tampered.New("reading revocation %d: %w", e.Index, err)
		}
		rel, err := s.saidAs(ctx, tx, r.Entry)
		if errors.Is(err, fault.NotFound) {
			return false, nil // of another kind, or of nothing here
		}
		if err != nil || rel.State == Revoked {
			return false, err
		}
		return true, s.step(ctx, tx, rel, Revoked, itself, "found in the log", func() error { return revokedBy(ctx, tx, rel, e.Index) })
	}
	rel, err := statement.As(e.Statement, &statement.Release{})
	if err != nil {
		return false, fault.Tampered.New("reading release %d: %w", e.Index, err)
	}
	var id string
	var entry sql.NullInt64
	err = tx.QueryRowContext(ctx, "SELECT id, entry FROM release WHERE product = $1 AND version = $2", rel.Product, rel.Version).Scan(&id, &entry)
	switch {
	case errors.Is(err, sql.ErrNoRows):
	case err != nil:
		return false, fmt.Errorf("looking for release %d: %w", e.Index, err)
	case entry.Valid:
		return false, nil
	default: // a proposal from before it was published: the statement is what counts
		if err := drop(ctx, tx, id); err != nil {
			return false, err
		}
	}
	return true, s.insertSaid(ctx, tx, a, e, rel)
}

// saidAs is the release that a log entry is.
func (s *Service) saidAs(ctx context.Context, tx *store.Tx, entry int64) (*Release, error) {
	var product, version string
	err := tx.QueryRowContext(ctx, "SELECT product, version FROM release WHERE entry = $1", entry).Scan(&product, &version)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fault.NotFound.New("no release is entry %d", entry)
	}
	if err != nil {
		return nil, fmt.Errorf("looking for release %d: %w", entry, err)
	}
	return s.read(ctx, tx.QueryContext, product, version)
}

func (s *Service) insertSaid(ctx context.Context, tx *store.Tx, a *verify.Authority, e verify.Entry, rel *statement.Release) error {
	id, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("making an id: %w", err)
	}
	at, err := time.Parse(time.RFC3339, rel.At)
	if err != nil {
		return fault.Tampered.New("reading release %d: %w", e.Index, err)
	}
	hash := statement.HashOf(e.Envelope.Payload)
	if _, err := tx.ExecContext(ctx, `INSERT INTO release (id, product, version, channel, state, payload, payload_hash, proposed_by, proposed_at, entry, published_at, emergency)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $9, $11)`,
		id.String(), rel.Product, rel.Version, rel.Channel, Logged, e.Envelope.Payload, hash, unknown, at.UnixMilli(), e.Index, flag(rel.Emergency.Why != "")); err != nil {
		return fmt.Errorf("writing release %d: %w", e.Index, err)
	}
	if rel.Manifest.Files <= statement.InlineFiles {
		for _, sub := range e.Statement.Subject {
			if _, err := tx.ExecContext(ctx, "INSERT INTO release_file (release_id, name, sha256, size) VALUES ($1, $2, $3, $4)",
				id.String(), sub.Name, sub.Digest["sha256"], s.sizeOf(sub.Digest["sha256"])); err != nil {
				return fmt.Errorf("writing the files of release %d: %w", e.Index, err)
			}
		}
	}
	for _, by := range a.Signers(e) {
		for _, sig := range e.Envelope.Signatures {
			if by.Role != "approver" || sig.KeyID != by.KeyID {
				continue
			}
			if _, err := tx.ExecContext(ctx, "INSERT INTO release_approval (release_id, holder, keyid, payload_hash, sig, at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
				id.String(), by.Holder, by.KeyID, hash, sig.Sig, at.UnixMilli()); err != nil {
				return fmt.Errorf("writing the approvals of release %d: %w", e.Index, err)
			}
		}
	}
	return nil
}

// sizeOf is a blob's size, or 0 when it is not here.
func (s *Service) sizeOf(sha string) int64 {
	f, err := s.Blobs.Open(sha)
	if err != nil {
		return 0
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}
