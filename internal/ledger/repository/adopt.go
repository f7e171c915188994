package repository

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/update"
)

// Adopt takes over what the folder publishes into a database that is older: the
// repair after a restored backup. The folder is believed as far as clients would
// believe it, whatever its age, and nothing in it changes. What the database had
// decided and the folder never showed is lost, as after every restore.
func (s *Service) Adopt(ctx context.Context) error {
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	e, err := s.readEdition()
	if err != nil {
		return fmt.Errorf("adopting the repository: %w", err)
	}
	var heads []*head
	kinds := map[string]string{} // what heads name, by path
	var found []target
	for _, f := range e.files {
		if f.file == nil {
			continue
		}
		for name, t := range f.file.Signed.Targets {
			sha := hex.EncodeToString(t.Hashes["sha256"])
			if err := s.takeBack(ctx, name, sha, t.Length); err != nil {
				return fmt.Errorf("adopting the repository: %w", err)
			}
			found = append(found, target{path: name, sha256: sha, size: t.Length})
		}
	}
	for _, t := range found {
		h, err := s.headOf(t)
		if err != nil {
			return fmt.Errorf("adopting the repository: %w", err)
		}
		if h != nil {
			heads = append(heads, h)
			noteKinds(h, kinds)
		}
	}
	return s.DB.Write(ctx, func(tx *store.Tx) error { return adopt(ctx, tx, e, heads, found, kinds) })
}

// readEdition reads and judges what the folder publishes.
func (s *Service) readEdition() (*edition, error) {
	_, roots, err := s.trust()
	if err != nil {
		return nil, err
	}
	e := &edition{roots: roots, files: map[string]*published{}}
	content, err := s.readFile(timestampFile)
	if err != nil {
		return nil, err
	}
	timestamp, err := metadata.Timestamp().FromBytes(content)
	if err != nil || timestamp.Signed.Meta["snapshot.json"] == nil {
		return nil, fault.NotFound.New("there is no repository in %s", s.Dir)
	}
	e.files[metadata.TIMESTAMP] = &published{version: timestamp.Signed.Version, expires: timestamp.Signed.Expires, content: content}
	version := timestamp.Signed.Meta["snapshot.json"].Version
	if content, err = s.readFile(metadataFile(metadata.SNAPSHOT, version)); err != nil {
		return nil, err
	}
	snapshot, err := metadata.Snapshot().FromBytes(content)
	if err != nil {
		return nil, fault.Tampered.New("reading the snapshot: %w", err)
	}
	e.files[metadata.SNAPSHOT] = &published{version: version, expires: snapshot.Signed.Expires, content: content}
	for file, m := range snapshot.Signed.Meta {
		name := file[:max(0, len(file)-len(".json"))]
		if content, err = s.readFile(metadataFile(name, m.Version)); err != nil {
			return nil, err
		}
		f, err := metadata.Targets().FromBytes(content)
		if err != nil {
			return nil, fault.Tampered.New("reading the metadata of %s: %w", name, err)
		}
		e.files[name] = &published{m.Version, f.Signed.Expires, content, f}
	}
	at := s.now()
	for _, f := range e.files {
		if f.expires.Before(at) {
			at = f.expires
		}
	}
	if err := walk(e, e.roots, at); err != nil {
		return nil, fault.Tampered.New("clients would refuse it: %w", err)
	}
	return e, nil
}

// takeBack puts a published target among the blobs, where a restored folder of
// blobs may lack it.
func (s *Service) takeBack(ctx context.Context, name, sha string, size int64) error {
	f, err := openRegular(s.Dir, targetFile(name, sha))
	if os.IsNotExist(err) {
		return fault.Tampered.New("the target %s is not in the folder", name)
	}
	if err != nil {
		return fault.Unavailable.New("reading %s: %w", name, err)
	}
	defer f.Close()
	info, err := s.Blobs.Put(ctx, f, size)
	if err == nil && info.SHA256 != sha {
		err = fault.Tampered.New("the target %s has other bytes than its hash says", name)
	}
	return err
}

// headOf reads a target that is a head; others are nil.
func (s *Service) headOf(t target) (*head, error) {
	if path.Base(t.path) != "head.json" || t.size > int64(update.HeadLimits.Bytes) {
		return nil, nil
	}
	content, err := s.read(t.sha256, t.size)
	if err != nil {
		return nil, err
	}
	h, err := update.ParseHead(content)
	if err != nil || update.HeadTarget(h.Product, h.Channel) != t.path {
		return nil, nil
	}
	// Numbers of versions that left are not listed; each offer was a change of the
	// head, so none is above its sequence.
	x := &head{Head: *h, number: h.Sequence}
	for _, o := range h.Releases {
		x.number = max(x.number, o.Number)
	}
	return x, nil
}

// noteKinds notes what kind of target each path of a head is.
func noteKinds(h *head, kinds map[string]string) {
	for _, o := range h.Releases {
		for _, f := range o.Files {
			kinds[update.FileTarget(h.Product, o.Version, f.Name)] = kindFile
			kinds[update.BundleTarget(h.Product, o.Version, f.Name)] = kindBundle
		}
		for _, p := range deltaPaths(h.Product, o) {
			kinds[p] = kindDelta
		}
	}
}

func adopt(ctx context.Context, tx *store.Tx, e *edition, heads []*head, found []target, kinds map[string]string) error {
	for name, f := range e.files {
		if _, err := tx.ExecContext(ctx, `INSERT INTO repository_role (name, version, published, expires, content) VALUES ($1, $2, $2, $3, $4)
			ON CONFLICT (name) DO UPDATE SET published = excluded.published, expires = excluded.expires, content = excluded.content,
			version = CASE WHEN repository_role.version > excluded.version THEN repository_role.version ELSE excluded.version END`,
			name, f.version, f.expires.UnixMilli(), f.content); err != nil {
			return fmt.Errorf("adopting the metadata of %s: %w", name, err)
		}
	}
	for _, h := range heads {
		old, err := readHead(ctx, tx, h.Product, h.Channel)
		if err != nil {
			return err
		}
		if old.Sequence >= h.Sequence {
			continue
		}
		h.number = max(h.number, old.number)
		h.Sequence-- // write adds it again
		if err := h.write(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE repository_target SET gone = 1 WHERE product = $1", h.Product); err != nil {
			return fmt.Errorf("adopting the targets of %s: %w", h.Product, err)
		}
	}
	for _, t := range found {
		if t.kind = kinds[t.path]; t.kind == "" {
			continue
		}
		t.product, _, _ = strings.Cut(t.path, "/")
		if err := addTarget(ctx, tx, t); err != nil {
			return err
		}
	}
	return writeStage(ctx, tx, nil)
}
