package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/ledger/repository"
	"clerestory.dev/clerestory/statement"
)

// keepEvery is how often the server looks whether the update repository has to be
// dated anew; what was assembled elsewhere becomes visible as soon.
const keepEvery = time.Minute

// serveUpdates opens the update repository. Where the online key is in this folder
// it is kept from expiring until ctx ends; where not, somebody runs repository renew.
func (h *home) serveUpdates(ctx context.Context, db *store.DB, passphrase []byte, logger *slog.Logger) (*repository.Service, error) {
	var online []statement.Signer
	key, err := h.keys().Unlock("online", passphrase)
	switch {
	case err == nil:
		online = append(online, key)
	case !errors.Is(err, fault.NotFound):
		return nil, err
	}
	s, err := h.repository(db, online...)
	if err != nil {
		return nil, err
	}
	if len(online) > 0 {
		go s.Keep(ctx, keepEvery, func(err error) { logger.Error("the update repository", "err", err) })
	}
	return s, nil
}
