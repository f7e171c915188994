package main

import (
	"log/slog"
	"os"
)

// quietLogger tells only what needs attention: for commands whose output a
// person reads. The server has a logger that tells more.
func quietLogger() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}
