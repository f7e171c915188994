package programme

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/statement"
)

// Saying is how the statement about a programme is made.
type Saying struct {
	At time.Time
	// Sign signs exactly this payload with the role "programme". It is called
	// before the transaction, at most once, and may wait for a person.
	Sign func(payload []byte) (*statement.Envelope, error)
}

// Applied is what putting a programme in force did.
type Applied struct {
	Version   int64 // from 1
	Digest    string
	Entry     int64 // the number of the statement, and of its log entry
	Changes   []Change
	Unchanged bool // this very folder was in force already: nothing was done
}

// Apply puts a programme in force and says so, in one transaction. When another
// one came into force since this one was compared, it is a Conflict and nothing
// is done. The vendor's id and the log's origin never change: that is Invalid.
func Apply(ctx context.Context, db *store.DB, new *Programme, saying Saying) (Applied, error) {
	old, state, err := inForce(ctx, db)
	if err != nil {
		return Applied{}, fmt.Errorf("applying the programme: %w", err)
	}
	if old != nil && state.Digest == new.Digest() {
		state.Unchanged = true
		return state, nil
	}
	if err := canFollow(old, new, saying.At); err != nil {
		return Applied{}, fmt.Errorf("applying the programme: %w", err)
	}
	changes := Plan(old, new)
	payload, err := Payload(new, changes, saying.At)
	if err != nil {
		return Applied{}, fmt.Errorf("applying the programme: %w", err)
	}
	envelope, err := saying.Sign(payload)
	if err != nil {
		return Applied{}, fmt.Errorf("signing the programme statement: %w", err)
	}
	if envelope == nil || !bytes.Equal(envelope.Payload, payload) {
		return Applied{}, fault.Tampered.New("signing the programme statement: another text was signed than was asked for")
	}
	done := Applied{Version: state.Version + 1, Digest: new.Digest(), Changes: changes}
	err = db.Write(ctx, func(tx *store.Tx) (err error) {
		if err := keep(ctx, tx, state.Version, new); err != nil {
			return err
		}
		if done.Entry, err = tx.Say(ctx, envelope, saying.At); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO programme_version (version, digest, n, applied_at) VALUES ($1, $2, $3, $4)",
			done.Version, done.Digest, done.Entry, saying.At.UnixMilli())
		return err
	})
	if err != nil {
		return Applied{}, fmt.Errorf("applying the programme: %w", err)
	}
	return done, nil
}

// canFollow refuses what would cut the new programme off from what was said
// under the old one.
func canFollow(old, new *Programme, at time.Time) error {
	if old != nil && old.Vendor.ID != "" && old.Vendor.ID != new.Vendor.ID {
		return fault.Invalid.New("%s: vendor.id changed from %s to %s: statements bear it for ever; set it back, or start a new programme with its own log", Main, old.Vendor.ID, new.Vendor.ID)
	}
	if old != nil && old.Log.Origin != "" && old.Log.Origin != new.Log.Origin {
		return fault.Invalid.New("%s: log.origin changed from %s to %s: it is the log's identity; set it back, or start a new programme with its own log", Main, old.Log.Origin, new.Log.Origin)
	}
	return new.CheckAt(at)
}

// Payload is the text of the statement that says that p is in force since at.
func Payload(p *Programme, changes []Change, at time.Time) ([]byte, error) {
	return statement.New(
		[]statement.Subject{{Name: "programme:" + p.Vendor.ID, Digest: map[string]string{"sha256": p.Digest()}}},
		&statement.Programme{
			Vendor: p.Vendor.ID, Name: p.Vendor.Name, Files: fileList(p.Files),
			Changes: lines(changes), At: at.UTC().Format(time.RFC3339),
		})
}

// keep writes the files of the version after old, unless that one is no longer
// in force.
func keep(ctx context.Context, tx *store.Tx, old int64, p *Programme) error {
	res, err := tx.ExecContext(ctx, "UPDATE programme_head SET version = version + 1 WHERE id = 1 AND version = $1", old)
	if err != nil {
		return fmt.Errorf("numbering the version: %w", err)
	}
	if rows, err := res.RowsAffected(); err != nil || rows != 1 {
		return fault.Conflict.New("another programme came into force meanwhile: look at the plan again")
	}
	for _, f := range p.Files {
		if _, err := tx.ExecContext(ctx, "INSERT INTO programme_content (sha256, content) VALUES ($1, $2) ON CONFLICT DO NOTHING", f.SHA256, nonNil(f.Content)); err != nil {
			return fmt.Errorf("keeping %s: %w", f.Path, err)
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO programme_file (version, path, sha256) VALUES ($1, $2, $3)", old+1, f.Path, f.SHA256); err != nil {
			return fmt.Errorf("keeping %s: %w", f.Path, err)
		}
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM programme_content
		WHERE sha256 IN (SELECT sha256 FROM programme_file WHERE path = $1)
		  AND sha256 NOT IN (SELECT sha256 FROM programme_file WHERE version = $2)`, Main, old+1)
	if err != nil {
		return fmt.Errorf("forgetting the older %s: %w", Main, err)
	}
	return nil
}

// nonNil keeps an empty file from becoming NULL.
func nonNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
