// Package fault is the few kinds of error that callers and users must be able
// to tell apart, each with its HTTP status and exit code in one table.
//
// An error gets its kind where it is first understood ([Invalid], [NotFound],
// …) and keeps it through every %w. What has no kind is internal: its text goes
// to the log, and a visitor gets a sentence without it.
package fault

import (
	"errors"
	"fmt"
	"net/http"
)

// Kind is a class of failure. It is an error itself, so that errors.Is(err,
// fault.NotFound) works at any depth.
type Kind struct {
	Name   string // stable name, as problem documents (RFC 9457) show it
	Status int    // HTTP
	Exit   int    // process
}

// Error implements error.
func (k *Kind) Error() string { return k.Name }

// The table. Exit codes: 1 it is definitely wrong, 2 the call is wrong, 3 it
// could not be done or checked now.
var (
	Invalid     = &Kind{"invalid", http.StatusBadRequest, 2}
	NotFound    = &Kind{"not found", http.StatusNotFound, 3}
	Denied      = &Kind{"denied", http.StatusForbidden, 3}
	Conflict    = &Kind{"conflict", http.StatusConflict, 3}
	Stale       = &Kind{"stale", http.StatusConflict, 3}
	Tampered    = &Kind{"tampered", http.StatusUnprocessableEntity, 1}
	Unavailable = &Kind{"unavailable", http.StatusServiceUnavailable, 3}
	internal    = &Kind{"internal", http.StatusInternalServerError, 3}
)

type failure struct {
	kind *Kind
	err  error
}

func (f *failure) Error() string   { return f.err.Error() }
func (f *failure) Unwrap() []error { return []error{f.kind, f.err} }

// New makes an error of this kind; the format is fmt.Errorf's, %w included.
func (k *Kind) New(format string, args ...any) error {
	return &failure{k, fmt.Errorf(format, args...)}
}

// KindOf finds the kind of err; what has none is internal (status 500).
func KindOf(err error) *Kind {
	if f, ok := errors.AsType[*failure](err); ok {
		return f.kind
	}
	if k, ok := errors.AsType[*Kind](err); ok {
		return k
	}
	return internal
}

// IsInternal tells whether err has no kind, so that its text is for the log only.
func IsInternal(err error) bool { return KindOf(err) == internal }
