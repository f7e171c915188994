package portal

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"clerestory.dev/clerestory/internal/window/portal/record"
	"clerestory.dev/clerestory/internal/window/portal/release"
)

// answerBuckets are upper bounds in seconds: 50 ms is what a page may take.
var answerBuckets = []float64{.001, .005, .02, .05, .1, .5, 2, 10}

// meter counts requests by route, never by address or person, and tells its
// figures in Prometheus' text format.
type meter struct{ set *metrics.Set }

func newMeter(read *record.Reader, updates release.Repository, now func() time.Time) *meter {
	m := &meter{set: metrics.NewSet()}
	// The published entries, or -1 when no checkpoint can be believed.
	m.set.NewGauge("clerestory_log_published_entries", func() float64 {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		status, err := read.Status(ctx)
		if err != nil {
			return -1
		}
		return float64(status.Size)
	})
	if updates == nil {
		return m
	}
	// Seconds until clients refuse the first of the update repository's documents;
	// below zero they do. 0 when it can not be read.
	m.set.NewGauge("clerestory_repository_expires_seconds", func() float64 {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		st, err := updates.Status(ctx)
		if err != nil || len(st.Expiries) == 0 {
			return 0
		}
		return st.Expiries[0].At.Sub(now()).Seconds()
	})
	return m
}

func (m *meter) write(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	m.set.WritePrometheus(w)
	metrics.WriteProcessMetrics(w)
}

// count notes an answer. Routes are patterns, so their number is bounded.
func (m *meter) count(route string, status int, took time.Duration) {
	name := fmt.Sprintf("clerestory_request_seconds{route=%q,status=\"%d\"}", route, status)
	m.set.GetOrCreatePrometheusHistogramExt(name, answerBuckets).Update(took.Seconds())
}
