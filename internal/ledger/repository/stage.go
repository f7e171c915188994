package repository

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/ledger/signing"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/update"
	"clerestory.dev/clerestory/verify"
)

// askFor is how long people have to sign; then the state is staged again.
const askFor = 14 * 24 * time.Hour

// Stage is what waits for signatures.
type Stage struct {
	ID        string
	At        time.Time
	Documents []Document
}

// Document is one file of metadata that people sign.
type Document struct {
	Role      string
	Delegator string
	Version   int64
	Signed    json.RawMessage
	Request   []byte // the signing request's file (see package signing), with the canonical form of Signed
	// Signatures are those that came so far, at most one a key.
	Signatures []statement.Signature
	// Formerly, in a list of products that is signed across a change of root keys,
	// is the root version whose keys may sign as well.
	Formerly int64
}

// published is a role's metadata that clients get now.
type published struct {
	version int64
	expires time.Time
	content []byte
	file    *targetsFile // nil for snapshot and timestamp
}

// Stage computes the metadata that people must sign, from all that was decided,
// and gives each a number of its own. It replaces what was staged before. With
// nothing to sign there is no stage (nil).
func (s *Service) Stage(ctx context.Context) (*Stage, error) {
	now := s.now()
	stage := &Stage{ID: uuid.Must(uuid.NewV7()).String(), At: now}
	due, heads, err := s.due(ctx)
	if err != nil {
		return nil, err
	}
	trust, roots, err := s.trust()
	if err != nil {
		return nil, err
	}
	if len(due) == 0 {
		return nil, s.DB.Write(ctx, func(tx *store.Tx) error { return writeStage(ctx, tx, nil) })
	}
	if err := s.putHeads(ctx, heads, due); err != nil {
		return nil, err
	}
	err = s.DB.Write(ctx, func(tx *store.Tx) error {
		stage.Documents = nil
		for _, r := range due {
			d, err := s.document(ctx, tx, r, trust, roots, now)
			if err != nil {
				return err
			}
			stage.Documents = append(stage.Documents, d)
		}
		return writeStage(ctx, tx, stage)
	})
	return stage, err
}

// due lists the roles whose metadata must be signed anew, and the heads that it
// follows from.
func (s *Service) due(ctx context.Context) ([]role, []*update.Head, error) {
	trust, roots, err := s.trust()
	if err != nil {
		return nil, nil, err
	}
	before, err := s.published(ctx)
	if err != nil {
		return nil, nil, err
	}
	heads, err := s.Heads(ctx)
	if err != nil || len(heads) == 0 {
		return nil, nil, err
	}
	roles, err := s.wanted(ctx, trust, heads, before)
	if err != nil {
		return nil, nil, err
	}
	root, err := metadata.Root().FromBytes(roots[len(roots)-1])
	if err != nil {
		return nil, nil, fault.Tampered.New("reading the root: %w", err)
	}
	var due []role
	delegators := map[string]*targetsFile{}
	for _, r := range roles {
		delegators[r.name] = r.want
		if !current(r, before[r.name], root, delegators[r.delegator], s.now()) {
			due = append(due, r)
		}
	}
	return due, heads, nil
}

// current tells whether what is published says what it should, by the keys that
// should say it, for long enough.
func current(r role, p *published, root *metadata.Metadata[metadata.RootType], delegator *targetsFile, now time.Time) bool {
	if p == nil || !same(p.file, r.want) || p.expires.Sub(now) < r.life/3 {
		return false
	}
	if r.delegator == metadata.ROOT {
		return root.VerifyDelegate(r.name, p.file) == nil
	}
	return delegator.VerifyDelegate(r.name, p.file) == nil
}

// putHeads stores the heads that a stage will publish among the blobs.
func (s *Service) putHeads(ctx context.Context, heads []*update.Head, due []role) error {
	for _, h := range heads {
		if !slices.ContainsFunc(due, func(r role) bool { return r.product == h.Product }) {
			continue
		}
		content, err := h.Format()
		if err != nil {
			return fault.Tampered.New("%w", err)
		}
		if _, err := s.Blobs.Put(ctx, bytes.NewReader(content), int64(update.HeadLimits.Bytes)); err != nil {
			return err
		}
	}
	return nil
}

// document numbers a role's metadata and makes the request for it.
func (s *Service) document(ctx context.Context, tx *store.Tx, r role, trust *verify.Trust, roots [][]byte, now time.Time) (Document, error) {
	d := Document{Role: r.name, Delegator: r.delegator}
	var err error
	if d.Version, err = s.number(ctx, tx, r.name); err != nil {
		return d, err
	}
	r.want.Signed.Version, r.want.Signed.Expires = d.Version, now.Add(r.life)
	payload, err := cjson.EncodeCanonical(r.want.Signed)
	if err != nil {
		return d, fmt.Errorf("encoding the metadata of %s: %w", r.name, err)
	}
	if d.Signed, err = json.Marshal(r.want.Signed); err != nil {
		return d, fmt.Errorf("encoding the metadata of %s: %w", r.name, err)
	}
	keys := r.keys.ids()
	if r.delegator == metadata.ROOT {
		// Signed by the keys of the root that clients have as well, the new list is
		// good before and after they learn of the new root: no moment is without one.
		former, version, err := s.formerKeys(trust, roots)
		if err != nil {
			return d, err
		}
		for _, id := range former {
			if !slices.Contains(keys, id) {
				keys, d.Formerly = append(keys, id), version
			}
		}
	}
	q := &signing.Request{Purpose: signing.TUF, What: signing.Printable(fmt.Sprintf("Version %d of %s. %s", d.Version, r.name, r.what), signing.Limits.What-64),
		PayloadType: signing.TUFPayload, Payload: payload, Keys: keys, Threshold: r.keys.Threshold, Expires: now.Add(askFor).Format(time.RFC3339)}
	d.Request, err = q.Format()
	return d, err
}

// formerKeys are the targets keys of the newest root in the folder, where that is
// an earlier one.
func (s *Service) formerKeys(trust *verify.Trust, roots [][]byte) ([]string, int64, error) {
	version, err := s.newestRoot()
	if err != nil || version < 1 || version >= trust.Root.Version || int(version) > len(roots) {
		return nil, 0, err
	}
	old, err := verify.ParseTrust(roots[version-1])
	if err != nil {
		return nil, 0, err
	}
	keys, err := rootKeys(old, metadata.TARGETS)
	return keys.ids(), version, err
}

// Staged is what waits for signatures; NotFound when nothing does.
func (s *Service) Staged(ctx context.Context) (*Stage, error) {
	var content []byte
	err := s.DB.QueryRow(ctx, "SELECT content FROM repository_stage").Scan(&content)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fault.NotFound.New("nothing is staged (clerestory repository stage asks for signatures)")
	}
	if err != nil {
		return nil, fmt.Errorf("reading what is staged: %w", err)
	}
	stage := &Stage{}
	if err := json.Unmarshal(content, stage); err != nil {
		return nil, fault.Tampered.New("reading what is staged: %w", err)
	}
	return stage, nil
}

func writeStage(ctx context.Context, tx *store.Tx, stage *Stage) error {
	_, err := tx.ExecContext(ctx, "DELETE FROM repository_stage")
	if err == nil && stage != nil {
		var content []byte
		if content, err = json.Marshal(stage); err == nil {
			_, err = tx.ExecContext(ctx, "INSERT INTO repository_stage (id, content) VALUES ($1, $2)", stage.ID, content)
		}
	}
	if err != nil {
		return fmt.Errorf("writing what is staged: %w", err)
	}
	return nil
}

// number gives a role's metadata its next number. One that was given is never
// given again, even when the file was not published, or the database lost it:
// two contents of one number could both be signed.
func (s *Service) number(ctx context.Context, tx *store.Tx, role string) (int64, error) {
	floor, err := s.newestFile(role)
	if err != nil {
		return 0, err
	}
	var n int64
	err = tx.QueryRowContext(ctx, `INSERT INTO repository_role (name, version, published, expires, content) VALUES ($1, $2, 0, 0, $3)
		ON CONFLICT (name) DO UPDATE SET version = CASE WHEN repository_role.version + 1 > $2 THEN repository_role.version + 1 ELSE $2 END
		RETURNING version`, role, floor+1, []byte{}).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("numbering the metadata of %s: %w", role, err)
	}
	return n, nil
}

// published reads what clients get now, by role.
func (s *Service) published(ctx context.Context) (map[string]*published, error) {
	rows, err := s.DB.Query(ctx, "SELECT name, published, expires, content FROM repository_role WHERE published > 0")
	if err != nil {
		return nil, fmt.Errorf("reading the published metadata: %w", err)
	}
	defer rows.Close()
	all := map[string]*published{}
	for rows.Next() {
		var name string
		var expires int64
		p := &published{}
		if err := rows.Scan(&name, &p.version, &expires, &p.content); err != nil {
			return nil, fmt.Errorf("reading the published metadata: %w", err)
		}
		p.expires = time.UnixMilli(expires).UTC()
		if name != metadata.SNAPSHOT && name != metadata.TIMESTAMP {
			if p.file, err = metadata.Targets().FromBytes(p.content); err != nil {
				return nil, fault.Tampered.New("the stored metadata of %s was changed: %w", name, err)
			}
		}
		all[name] = p
	}
	return all, rows.Err()
}
