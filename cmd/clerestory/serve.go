package main

import (
	"context"

	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/ledger/log"
)

func serve(ctx context.Context, h *home, db *store.DB, w *log.Writer, t *terminal) error {
	<-ctx.Done()
	return nil
}
