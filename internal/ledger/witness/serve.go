package witness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
)

const plain = "text/plain; charset=utf-8"

// Handler answers
//
//	POST /add-checkpoint             tlog-witness: a cosignature, or why not
//	GET  /checkpoint/<sha256 of origin, hex>  the last cosigned checkpoint
//	GET  /                           a page for people
func (w *Witness) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /add-checkpoint", w.serveAdd)
	mux.HandleFunc("GET /checkpoint/{id}", w.serveCheckpoint)
	mux.HandleFunc("GET /{$}", w.serveIndex)
	return mux
}

func (w *Witness) serveAdd(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, w.limits.Body))
	if err != nil {
		// Not 413: to the specification every request out of form is a 400.
		w.refuse(rw, fault.Invalid.New("reading the request (at most %d bytes): %w", w.limits.Body, err))
		return
	}
	line, err := w.add(body)
	if err != nil {
		w.refuse(rw, err)
		return
	}
	answer(rw, http.StatusOK, plain, line)
}

func (w *Witness) serveCheckpoint(rw http.ResponseWriter, r *http.Request) {
	readableAnywhere(rw)
	kept := w.latest(r.PathValue("id"))
	if kept == nil {
		w.refuse(rw, fault.NotFound.New("this witness has cosigned no log whose origin has this SHA-256"))
		return
	}
	answer(rw, http.StatusOK, plain, kept)
}

func (w *Witness) serveIndex(rw http.ResponseWriter, _ *http.Request) {
	readableAnywhere(rw)
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s is a transparency log witness (c2sp.org/tlog-witness).\n\nverifier key\n  %s\n\nlogs\n", w.key.Name(), w.key.VKey())
	for _, origin := range slices.Sorted(maps.Keys(w.logs)) {
		l := w.logs[origin]
		l.mu.Lock()
		size, kept, forked := l.last.size, l.last.note != nil, l.forked
		l.mu.Unlock()
		fmt.Fprintf(&b, "  %s\n", origin)
		if kept {
			fmt.Fprintf(&b, "    size %d, checkpoint/%s\n", size, l.id)
		} else {
			fmt.Fprintf(&b, "    nothing cosigned yet\n")
		}
		if forked {
			fmt.Fprintf(&b, "    FORK: the log has signed two different trees of one size; the proof is kept in %s\n", forkName(l.id))
		}
	}
	answer(rw, http.StatusOK, plain, b.Bytes())
}

// readableAnywhere lets a page of any site compare a log's checkpoint with the
// witness's own copy. Nothing here is private, and no cookie is ever read.
func readableAnywhere(rw http.ResponseWriter) {
	rw.Header().Set("Access-Control-Allow-Origin", "*")
	rw.Header().Set("Cache-Control", "no-cache")
}

func (w *Witness) refuse(rw http.ResponseWriter, err error) {
	if stale, ok := errors.AsType[*staleError](err); ok {
		answer(rw, http.StatusConflict, "text/x.tlog.size", fmt.Appendf(nil, "%d\n", stale.size))
		return
	}
	text := err.Error()
	if fault.IsInternal(err) {
		w.logger.Error("witness request failed", "error", err)
		text = "the witness could not do this now; its operator finds the reason in its log"
	}
	answer(rw, fault.KindOf(err).Status, plain, []byte(text+"\n"))
}

func answer(rw http.ResponseWriter, status int, contentType string, body []byte) {
	rw.Header().Set("Content-Type", contentType)
	rw.Header().Set("X-Content-Type-Options", "nosniff")
	rw.WriteHeader(status)
	rw.Write(body)
}

// Serve answers until ctx ends, then lets requests in progress finish. Its
// timeouts are short, because every honest request fits into a few packets.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      20 * time.Second,
		IdleTimeout:       2 * time.Minute, // logs keep their connection (tlog-witness: keep-alive)
		MaxHeaderBytes:    16 << 10,
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serving the witness: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		return fmt.Errorf("stopping the witness: %w", errors.Join(err, srv.Close()))
	}
	return nil
}
