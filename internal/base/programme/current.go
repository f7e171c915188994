package programme

import (
	"context"
	"fmt"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
)

// Current reads the programme in force; there being none is NotFound. What is in
// the database must still have the digest that was stated: otherwise it is
// Tampered.
func Current(ctx context.Context, db *store.DB) (*Programme, error) {
	p, _, err := inForce(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("reading the programme in force: %w", err)
	}
	if p == nil {
		return nil, fault.NotFound.New("no programme is in force yet: run clerestory apply")
	}
	return p, nil
}

// Version is the number of the programme in force, 0 when there is none: how a
// running server notices, without reading it all, that there is a new one.
func Version(ctx context.Context, db *store.DB) (int64, error) {
	var v int64
	if err := db.QueryRow(ctx, "SELECT version FROM programme_head WHERE id = 1").Scan(&v); err != nil {
		return 0, fmt.Errorf("reading the programme's version: %w", err)
	}
	return v, nil
}

// inForce reads the programme in force, nil when there is none. One query: two
// could see two versions. Rules that came after it was applied do not unmake it.
func inForce(ctx context.Context, db *store.DB) (*Programme, Applied, error) {
	var state Applied
	rows, err := db.Query(ctx, `SELECT h.version, v.digest, v.n, f.path, f.sha256, c.content
		FROM programme_head h
		LEFT JOIN programme_version v ON v.version = h.version
		LEFT JOIN programme_file f ON f.version = v.version
		LEFT JOIN programme_content c ON c.sha256 = f.sha256
		WHERE h.id = 1 ORDER BY f.path`)
	if err != nil {
		return nil, state, err
	}
	defer rows.Close()
	var files []File
	for rows.Next() {
		var digest, path, sum *string
		var n *int64
		var content []byte
		if err := rows.Scan(&state.Version, &digest, &n, &path, &sum, &content); err != nil {
			return nil, state, err
		}
		if state.Version == 0 {
			return nil, state, rows.Err()
		}
		if digest == nil || n == nil || path == nil || sum == nil {
			return nil, state, fault.Tampered.New("version %d of the programme is not complete in the database", state.Version)
		}
		f := newFile(*path, content)
		if f.SHA256 != *sum {
			return nil, state, fault.Tampered.New("%s of version %d in the database is not the file that was applied", *path, state.Version)
		}
		state.Digest, state.Entry = *digest, *n
		files = append(files, f)
	}
	if err := rows.Err(); err != nil {
		return nil, state, err
	}
	return unpack(files, state)
}

func unpack(files []File, state Applied) (*Programme, Applied, error) {
	byPath(files) // a database may sort by its language's rules
	p := (&reader{}).assemble(files)
	if p.Digest() != state.Digest {
		return nil, state, fault.Tampered.New("version %d of the programme in the database does not have the digest that was stated", state.Version)
	}
	return p, state, nil
}
