package outbox

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"orderflow/internal/bus"
)

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		registry := prometheus.NewPedanticRegistry()
		p := NewPublisher(PublisherOptions{Bus: env.bus, Marker: env.store, Queue: 4, Registerer: registry})
		r := NewRelay(RelayOptions{Bus: env.bus, Store: env.store, Registerer: registry})
		env.bus.set(bus.TopicJobs, bus.ErrFull)
		p.Publish(env.create(3))
		p.Publish(env.create(2)) // does not fit
		if n := testutil.CollectAndCount(registry, "orderflow_outbox_waiting"); n != 1 {
			t.Errorf("%d series of the queue's length, want 1", n)
		}
		stop := start(t, p.Run)
		synctest.Wait()
		stop()
		env.bus.set(bus.TopicJobs, nil)
		time.Sleep(relayAge)
		if _, err := r.runOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			got  prometheus.Collector
			want float64
		}{
			"refused by the publisher":    {p.metrics.refused.WithLabelValues(bus.TopicJobs), 3},
			"dropped by the publisher":    {p.metrics.dropped, 2},
			"published by the relay":      {r.metrics.published.WithLabelValues(bus.TopicJobs), 5},
			"rows published by the relay": {r.metrics.relayed, 2},
			"found by the relay":          {r.metrics.overdue, 2},
			"refused by the relay":        {r.metrics.refused.WithLabelValues(bus.TopicJobs), 0},
		} {
			if got := testutil.ToFloat64(c.got); got != c.want {
				t.Errorf("%s: %v, want %v", name, got, c.want)
			}
		}
	})
}
