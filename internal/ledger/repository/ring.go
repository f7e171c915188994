package repository

import (
	"context"
	"database/sql"
	"fmt"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/update"
)

// reader lets a database be read as a transaction is.
type reader struct{ db *store.DB }

func (r reader) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return r.db.QueryRow(ctx, query, args...)
}

// Ring changes for how many of 100 clients an offered version is. A ring only
// grows: who has a version would keep it. A halted offer is resumed first.
func (s *Service) Ring(ctx context.Context, product, channel, version string, percent int) (*update.Head, error) {
	return s.changeOffer(ctx, product, channel, version, func(_ *store.Tx, o *update.Offer) error {
		switch {
		case percent < 0 || percent > 100:
			return fault.Invalid.New("a ring is 0 to 100 percent")
		case percent < o.Percent:
			return fault.Invalid.New("the ring of %s is %d percent and only grows: halt the offer to stop it", version, o.Percent)
		case o.Halted:
			return fault.Conflict.New("%s is halted: look why, then resume it", version)
		}
		o.Percent = percent
		return nil
	})
}

// Halt stops an offer: who has it keeps it, nobody else gets it.
func (s *Service) Halt(ctx context.Context, product, channel, version string) (*update.Head, error) {
	return s.changeOffer(ctx, product, channel, version, func(_ *store.Tx, o *update.Offer) error {
		o.Halted = true
		return nil
	})
}

// Resume goes on with a halted offer; reports from before count no longer.
func (s *Service) Resume(ctx context.Context, product, channel, version string) (*update.Head, error) {
	return s.changeOffer(ctx, product, channel, version, func(tx *store.Tx, o *update.Offer) error {
		o.Halted = false
		if _, err := tx.ExecContext(ctx, "DELETE FROM repository_health WHERE product = $1 AND channel = $2 AND version = $3", product, channel, version); err != nil {
			return fmt.Errorf("forgetting reports: %w", err)
		}
		return nil
	})
}

func (s *Service) changeOffer(ctx context.Context, product, channel, version string, do func(tx *store.Tx, o *update.Offer) error) (*update.Head, error) {
	return s.change(ctx, product, channel, func(tx *store.Tx, h *head) error {
		o := h.offer(version)
		if o == nil {
			return fault.NotFound.New("%s %s is not offered in %s (clerestory repository status lists the offers)", product, version, channel)
		}
		return do(tx, o)
	})
}

// Withdraw takes a version out of a channel and tells clients that have it why:
// entry is the log entry of its release statement, which a revocation in the log
// took back. A version that is not offered (any longer) can be withdrawn too.
func (s *Service) Withdraw(ctx context.Context, product, channel, version string, entry int64, reason string) (*update.Head, error) {
	if err := checkProduct(product); err != nil {
		return nil, err
	}
	return s.change(ctx, product, channel, func(tx *store.Tx, h *head) error {
		if _, ok := h.RevokedVersion(version); ok {
			return fault.Conflict.New("%s %s is withdrawn already", product, version)
		}
		if h.Sequence == 0 {
			return fault.NotFound.New("%s has no channel %s in this repository", product, channel)
		}
		h.Revoked = append(h.Revoked, update.Withdrawn{Version: version, Entry: entry, Reason: reason})
		for i, o := range h.Releases {
			if o.Version == version {
				return s.forget(ctx, tx, h, i)
			}
		}
		return nil
	})
}

// Report is what clients told of a version, all of it so far.
type Report struct {
	OK, Failed int64
	Halted     bool // the offer is halted, by this report or before
}

// Health counts what clients report after installing a version, and halts its
// offer when too many failed (see [Stop]). The rule looks at sums only, so the
// order of reports does not matter.
func (s *Service) Health(ctx context.Context, product, channel, version string, ok, failed int64) (Report, error) {
	if ok < 0 || failed < 0 || ok > 1<<40 || failed > 1<<40 {
		return Report{}, fault.Invalid.New("reports are counted from 0")
	}
	var r Report
	err := s.DB.Write(ctx, func(tx *store.Tx) error {
		h, err := readHead(ctx, tx, product, channel)
		if err != nil {
			return err
		}
		o := h.offer(version)
		if o == nil {
			return fault.NotFound.New("%s %s is not offered in %s", product, version, channel)
		}
		err = tx.QueryRowContext(ctx, `INSERT INTO repository_health (product, channel, version, ok, failed) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (product, channel, version) DO UPDATE SET ok = repository_health.ok + excluded.ok, failed = repository_health.failed + excluded.failed
			RETURNING ok, failed`, product, channel, version, ok, failed).Scan(&r.OK, &r.Failed)
		if err != nil {
			return fmt.Errorf("counting reports: %w", err)
		}
		if r.Halted = o.Halted; r.Halted || !s.Policy.filled().Stop.halts(r.OK, r.Failed) {
			return nil
		}
		o.Halted, r.Halted = true, true
		return h.write(ctx, tx)
	})
	return r, err
}

// halts is the whole rule.
func (s Stop) halts(ok, failed int64) bool {
	return ok+failed >= s.Reports && failed*100 >= int64(s.Failed)*(ok+failed) && failed > 0
}
