package main

import (
	"context"
	"log/slog"
	"time"

	"clerestory.dev/clerestory/internal/office/release"
)

// settleReleases notes, within a second, that witnesses cover a release: then it
// is published, and the one before it superseded.
func settleReleases(ctx context.Context, s *release.Service, logger *slog.Logger) {
	failed := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
		_, err := s.Settle(ctx)
		switch {
		case err == nil:
			failed = ""
		case err.Error() != failed && ctx.Err() == nil: // once, not every second
			failed = err.Error()
			logger.Error("noting which releases the log covers", "err", err)
		}
	}
}
