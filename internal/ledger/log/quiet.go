package log

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"k8s.io/klog/v2"
)

// quietLibrary sends the log library's own messages to our logger, each text at
// most once a minute: a witness that is away makes it complain ten times a
// second. The library's logger (klog) is one setting for the whole process and
// must not be changed while it is used, so the first writer's logger gets all.
func quietLibrary(to *slog.Logger) {
	quieted.Do(func() {
		klog.SetSlogLogger(slog.New(&seldom{next: to.Handler(), heard: &heard{at: map[string]time.Time{}}}))
	})
}

var quieted sync.Once

type seldom struct {
	next slog.Handler
	*heard
}

type heard struct {
	mu sync.Mutex
	at map[string]time.Time
}

// Enabled implements slog.Handler; chatter below warnings is left out.
func (s *seldom) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && s.next.Enabled(ctx, l)
}

// Handle implements slog.Handler.
func (s *seldom) Handle(ctx context.Context, r slog.Record) error {
	s.mu.Lock()
	last, known := s.at[r.Message]
	if known && r.Time.Sub(last) < time.Minute {
		s.mu.Unlock()
		return nil
	}
	if len(s.at) > 1000 { // texts with ever new numbers must not fill the memory
		clear(s.at)
	}
	s.at[r.Message] = r.Time
	s.mu.Unlock()
	return s.next.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (s *seldom) WithAttrs(a []slog.Attr) slog.Handler { return &seldom{s.next.WithAttrs(a), s.heard} }

// WithGroup implements slog.Handler.
func (s *seldom) WithGroup(n string) slog.Handler { return &seldom{s.next.WithGroup(n), s.heard} }
