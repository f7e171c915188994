package portal

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"clerestory.dev/clerestory/internal/window/portal/record"
)

// meter counts requests by route, never by address or person.
type meter struct {
	handler http.Handler
	took    *prometheus.HistogramVec
}

func newMeter(read *record.Reader) *meter {
	registry := prometheus.NewRegistry()
	m := &meter{
		handler: promhttp.HandlerFor(registry, promhttp.HandlerOpts{}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "clerestory_request_seconds",
			Help: "Time that answering took, by route and status.", Buckets: []float64{.001, .005, .02, .05, .1, .5, 2, 10}}, []string{"route", "status"}),
	}
	size := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "clerestory_log_published_entries",
		Help: "Entries that the newest witnessed checkpoint covers; -1 when there is none that can be believed."}, func() float64 {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		status, err := read.Status(ctx)
		if err != nil {
			return -1
		}
		return float64(status.Size)
	})
	registry.MustRegister(m.took, size, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *meter) count(route string, status int, took time.Duration) {
	m.took.WithLabelValues(route, strconv.Itoa(status)).Observe(took.Seconds())
}
