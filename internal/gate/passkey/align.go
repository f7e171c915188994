package passkey

import (
	"context"
	"fmt"
	"strings"

	"clerestory.dev/clerestory/internal/base/store"
)

// Align makes what people may do follow the programme in force: whoever it names
// has exactly the roles that it gives, and whoever it named before but names no
// more is disabled, with his sessions. People whom only an invitation made stay
// as they are. Every change is recorded; nothing to change records nothing.
func (s *Service) Align(ctx context.Context, named []Person) error {
	now := s.cfg.Now()
	known := map[string]bool{}
	return s.write(ctx, "aligning people with the programme", func(tx *store.Tx) error {
		for _, p := range named {
			p, err := s.checkPerson(Person{ID: p.ID, Name: displayName(p), Roles: p.Roles})
			if err != nil {
				return err
			}
			known[p.ID] = true
			res, err := tx.ExecContext(ctx, "UPDATE person SET roles = $1, in_programme = 1 WHERE id = $2 AND (roles <> $1 OR in_programme = 0)", strings.Join(p.Roles, ","), p.ID)
			if err != nil {
				return fmt.Errorf("giving %s the programme's roles: %w", p.ID, err)
			}
			if n, err := res.RowsAffected(); err != nil || n == 0 {
				continue // not here yet, or as the programme says already
			}
			if err := s.cfg.Guard.Note(ctx, tx, Console, "person:align", "person:"+p.ID, true); err != nil {
				return err
			}
		}
		gone, err := inProgramme(ctx, tx, known)
		if err != nil {
			return err
		}
		for _, id := range gone {
			if err := s.cfg.Guard.Note(ctx, tx, Console, "person:disable", "person:"+id, true); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, "UPDATE person SET disabled = 1, in_programme = 0 WHERE id = $1", id); err != nil {
				return fmt.Errorf("disabling %s: %w", id, err)
			}
			if _, err := tx.ExecContext(ctx, "DELETE FROM invitation WHERE person = $1 AND used_at = 0", id); err != nil {
				return fmt.Errorf("disabling %s: %w", id, err)
			}
			if err := endSessions(ctx, tx, id, now); err != nil {
				return err
			}
		}
		return nil
	})
}

func displayName(p Person) string {
	if p.Name == "" {
		return p.ID
	}
	return p.Name
}

// inProgramme lists people whom the programme named before, but not now.
func inProgramme(ctx context.Context, tx *store.Tx, known map[string]bool) ([]string, error) {
	rows, err := tx.QueryContext(ctx, "SELECT id FROM person WHERE in_programme = 1 ORDER BY id")
	if err != nil {
		return nil, fmt.Errorf("reading the people of the programme: %w", err)
	}
	defer rows.Close()
	var gone []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("reading the people of the programme: %w", err)
		}
		if !known[id] {
			gone = append(gone, id)
		}
	}
	return gone, rows.Err()
}
