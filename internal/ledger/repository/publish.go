package repository

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"clerestory.dev/clerestory/internal/base/atomicfile"
	"clerestory.dev/clerestory/internal/base/crash"
	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/statement"
)

// Moments are the points between two writes to the folder, in order: at each a
// killed process leaves a whole repository (see package crash).
var Moments = []string{
	"repository.files",     // what clients install is in place; nothing names it
	"repository.delegated", // products' metadata is in place; nothing names it
	"repository.targets",   // the list of products too
	"repository.snapshot",  // the snapshot too
	"repository.timestamp", // clients see the new state; the database does not know
	"repository.root",      // clients see the new root
}

// edition is a state of the whole repository, complete in memory before the
// first byte of it is written.
type edition struct {
	roots     [][]byte              // all versions
	files     map[string]*published // every role but the root
	fresh     []string              // roles that are new, delegated ones first
	stage     string                // id of the stage that it takes in, or ""
	late      bool                  // the root comes after the timestamp
	rootsFrom int64                 // the first root version that is not in the folder
}

// Renew makes visible what is signed, and dates the repository anew where that
// is due: it is for a loop in the server (every few minutes) and for whoever has
// the online key. It does nothing, and says so, when nothing is due.
func (s *Service) Renew(ctx context.Context) (done bool, err error) {
	if len(s.Online) == 0 {
		return false, fault.Denied.New("renewing the repository needs the online key")
	}
	unlock, err := s.lock()
	if err != nil {
		return false, err
	}
	defer unlock()
	if err := s.notBehind(ctx); err != nil {
		return false, err
	}
	e, err := s.next(ctx)
	if err != nil || e == nil {
		return false, err
	}
	if err := s.judge(e); err != nil {
		return false, err
	}
	if err := s.writeEdition(e); err != nil {
		return false, err
	}
	return true, s.commit(ctx, e)
}

// next puts the next edition together; nil when nothing is due.
func (s *Service) next(ctx context.Context) (*edition, error) {
	_, roots, err := s.trust()
	if err != nil {
		return nil, err
	}
	e := &edition{roots: roots}
	if e.files, err = s.published(ctx); err != nil {
		return nil, err
	}
	if err := s.takeStage(ctx, e); err != nil {
		return nil, err
	}
	if e.files[metadata.TARGETS] == nil {
		return nil, nil // nobody has signed anything yet
	}
	newest, err := s.newestRoot()
	if err != nil {
		return nil, err
	}
	e.rootsFrom = newest + 1
	if e.rootsFrom > 1 && !lists(roots[len(roots)-1], e.files[metadata.TARGETS].file) {
		// The new root's keys have signed nothing yet (see Stage). Until then clients
		// get along with the root that they know, rather than with nothing.
		e.roots = roots[:newest]
	}
	if err := s.stops(ctx, e); err != nil {
		return nil, err
	}
	there, err := s.readTimestamp()
	if err != nil {
		return nil, err
	}
	if err := s.date(ctx, e, there == nil || int64(len(e.roots)) > newest); err != nil || len(e.fresh) == 0 {
		return nil, err
	}
	return e, nil
}

// lists tells whether a root's keys have signed a list of products.
func lists(root []byte, f *targetsFile) bool {
	r, err := metadata.Root().FromBytes(root)
	return err == nil && r.VerifyDelegate(metadata.TARGETS, f) == nil
}

// takeStage adds what is staged, once it has all signatures and still says what
// was decided. What does not is left for people to look at.
func (s *Service) takeStage(ctx context.Context, e *edition) error {
	stage, err := s.Staged(ctx)
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	p, err := s.progress(ctx, stage)
	if err != nil || len(p.Waiting) > 0 {
		return err
	}
	// What can not be published now must not keep the rest from being renewed.
	if err := s.void(ctx, stage); errors.Is(err, fault.Stale) || errors.Is(err, fault.Conflict) {
		return nil
	} else if err != nil {
		return err
	}
	e.stage = stage.ID
	for i := range slices.Backward(stage.Documents) {
		d := &stage.Documents[i]
		f, err := d.file()
		if err != nil {
			return err
		}
		if err := e.add(d.Role, d.Version, f.Signed.Expires, f); err != nil {
			return err
		}
	}
	return nil
}

// add takes a role's new metadata into the edition.
func (e *edition) add(name string, version int64, expires time.Time, f interface{ ToBytes(bool) ([]byte, error) }) error {
	content, err := f.ToBytes(false)
	if err != nil {
		return fmt.Errorf("encoding the metadata of %s: %w", name, err)
	}
	p := &published{version: version, expires: expires, content: content}
	p.file, _ = f.(*targetsFile)
	e.files[name], e.fresh = p, append(e.fresh, name)
	return nil
}

// date makes snapshot and timestamp where they are due; else there is no edition.
func (s *Service) date(ctx context.Context, e *edition, changed bool) error {
	p, now := s.Policy.filled(), s.now()
	due := func(name string, life time.Duration) bool {
		old := e.files[name]
		return old == nil || len(e.fresh) > 0 || changed || old.expires.Sub(now) < life/2
	}
	if due(metadata.SNAPSHOT, p.Snapshot) {
		snapshot := metadata.Snapshot(now.Add(p.Snapshot))
		for name, f := range e.files {
			if name != metadata.SNAPSHOT && name != metadata.TIMESTAMP {
				snapshot.Signed.Meta[name+".json"] = metadata.MetaFile(f.version)
			}
		}
		var err error
		if snapshot.Signed.Version, err = s.take(ctx, metadata.SNAPSHOT); err != nil {
			return err
		}
		if snapshot.Signatures, err = s.signOnline(snapshot.Signed); err != nil {
			return err
		}
		if err := e.add(metadata.SNAPSHOT, snapshot.Signed.Version, snapshot.Signed.Expires, snapshot); err != nil {
			return err
		}
	}
	if !due(metadata.TIMESTAMP, p.Timestamp) {
		return nil
	}
	timestamp := metadata.Timestamp(now.Add(p.Timestamp))
	snapshot := e.files[metadata.SNAPSHOT]
	sum, err := hex.DecodeString(statement.HashOf(snapshot.content))
	if err != nil {
		return err
	}
	timestamp.Signed.Meta["snapshot.json"] = &metadata.MetaFiles{Length: int64(len(snapshot.content)), Hashes: metadata.Hashes{"sha256": sum}, Version: snapshot.version}
	if timestamp.Signed.Version, err = s.take(ctx, metadata.TIMESTAMP); err != nil {
		return err
	}
	if timestamp.Signatures, err = s.signOnline(timestamp.Signed); err != nil {
		return err
	}
	return e.add(metadata.TIMESTAMP, timestamp.Signed.Version, timestamp.Signed.Expires, timestamp)
}

// take takes the next number of a role that is signed here.
func (s *Service) take(ctx context.Context, name string) (n int64, err error) {
	err = s.DB.Write(ctx, func(tx *store.Tx) error {
		n, err = s.number(ctx, tx, name)
		return err
	})
	return n, err
}

func (s *Service) signOnline(signed any) ([]metadata.Signature, error) {
	text, err := cjson.EncodeCanonical(signed)
	if err != nil {
		return nil, fmt.Errorf("encoding metadata: %w", err)
	}
	var all []metadata.Signature
	for _, k := range s.Online {
		sig, err := k.Sign(text)
		if err != nil {
			return nil, fault.Unavailable.New("signing with the online key: %w", err)
		}
		all = append(all, metadata.Signature{KeyID: k.KeyID(), Signature: sig})
	}
	return all, nil
}

// writeEdition puts an edition into the folder. Everything but the timestamp has
// a name of its own, so nothing that clients see changes before it does. The
// root comes last where clients of both roots believe the edition, and else just
// before the timestamp.
//
// What an earlier edition has put there is looked for, too: a folder that lost
// files, or all of them, is whole again.
func (s *Service) writeEdition(e *edition) error {
	dirs := map[string]bool{}
	for name := range inForce(e.files) {
		for target, t := range e.files[name].file.Signed.Targets {
			sha := hex.EncodeToString(t.Hashes["sha256"])
			to := targetFile(target, sha)
			placed, err := s.place(to, sha, t.Length)
			if err != nil {
				return err
			}
			// What a killed writer placed for this edition may not be synced yet.
			if placed || slices.Contains(e.fresh, name) {
				dirs[path.Dir(to)] = true
			}
		}
	}
	for dir := range dirs {
		if err := atomicfile.SyncDir(s.file(dir)); err != nil {
			return fault.Unavailable.New("publishing: %w", err)
		}
	}
	crash.Point("repository.files")
	for _, group := range []struct {
		moment string
		in     func(name string) bool
	}{
		{"repository.delegated", func(n string) bool { return n != metadata.TARGETS && n != metadata.SNAPSHOT && n != metadata.TIMESTAMP }},
		{"repository.targets", func(n string) bool { return n == metadata.TARGETS }},
		{"repository.snapshot", func(n string) bool { return n == metadata.SNAPSHOT }},
	} {
		for name, f := range e.files {
			to := metadataFile(name, f.version)
			if !group.in(name) || !slices.Contains(e.fresh, name) && s.isThere(to, len(f.content)) {
				continue
			}
			if err := s.write(to, f.content); err != nil {
				return err
			}
		}
		crash.Point(group.moment)
	}
	first, last := s.writeRoots, s.writeTimestamp
	if e.late {
		first, last = last, first
	}
	if err := first(e); err != nil {
		return err
	}
	return last(e)
}

func (s *Service) writeTimestamp(e *edition) error {
	if slices.Contains(e.fresh, metadata.TIMESTAMP) {
		if err := s.write(timestampFile, e.files[metadata.TIMESTAMP].content); err != nil {
			return err
		}
	}
	crash.Point("repository.timestamp")
	return nil
}

func (s *Service) writeRoots(e *edition) error {
	for v := e.rootsFrom; v <= int64(len(e.roots)); v++ {
		if err := s.write(metadataFile(metadata.ROOT, v), e.roots[v-1]); err != nil {
			return err
		}
	}
	crash.Point("repository.root")
	return nil
}

// commit notes what clients see now, and what they will not need for long.
func (s *Service) commit(ctx context.Context, e *edition) error {
	before, err := s.published(ctx)
	if err != nil {
		return err
	}
	now := s.now().UnixMilli()
	return s.DB.Write(ctx, func(tx *store.Tx) error {
		for _, name := range e.fresh {
			p := e.files[name]
			if _, err := tx.ExecContext(ctx, "UPDATE repository_role SET published = $2, expires = $3, content = $4 WHERE name = $1", name, p.version, p.expires.UnixMilli(), p.content); err != nil {
				return fmt.Errorf("noting what is published: %w", err)
			}
		}
		used := e.paths()
		for name := range paths(before) {
			if used[name] {
				continue
			}
			if _, err := tx.ExecContext(ctx, "INSERT INTO repository_stale (path, since) VALUES ($1, $2) ON CONFLICT (path) DO NOTHING", name, now); err != nil {
				return fmt.Errorf("noting what is published: %w", err)
			}
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM repository_stage WHERE id = $1", e.stage); err != nil {
			return fmt.Errorf("noting what is published: %w", err)
		}
		return nil
	})
}

func (e *edition) paths() map[string]bool { return paths(e.files) }

// inForce are the roles that clients come to from the list of products. Others
// only stand in the snapshot, which must not forget them: bins of a smaller
// number, say.
func inForce(files map[string]*published) map[string]bool {
	all := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		f := files[name]
		if f == nil || f.file == nil || all[name] {
			return
		}
		all[name] = true
		d := f.file.Signed.Delegations
		if d == nil {
			return
		}
		for _, r := range d.Roles {
			visit(r.Name)
		}
		if d.SuccinctRoles != nil {
			for _, bin := range d.SuccinctRoles.GetRoles() {
				visit(bin)
			}
		}
	}
	visit(metadata.TARGETS)
	return all
}

// paths are the files of the folder that a state needs.
func paths(files map[string]*published) map[string]bool {
	all, live := map[string]bool{}, inForce(files)
	for name, p := range files {
		if name != metadata.TIMESTAMP {
			all[metadataFile(name, p.version)] = true
		}
		if !live[name] {
			continue
		}
		for target, t := range p.file.Signed.Targets {
			all[targetFile(target, hex.EncodeToString(t.Hashes["sha256"]))] = true
		}
	}
	return all
}
