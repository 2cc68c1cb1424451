package realtime

import (
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"orderflow/internal/bus"
	"orderflow/internal/order"
)

// BenchmarkChanges measures an order's event on a node without subscribers.
func BenchmarkChanges(b *testing.B) {
	server, err := New(Options{
		App: documented(), Bus: bus.NewLocal(bus.Options{}), Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		b.Fatal(err)
	}
	for name, kind := range map[string]order.EventType{"sent": order.OrderPaid, "skipped": order.OrderProcessing} {
		b.Run(name, func(b *testing.B) {
			event := paid(100, 7)
			event.Type = kind
			messages := []bus.Message{{ID: event.ID(), Topic: bus.TopicChanges, Body: event.Append(nil)}}
			b.ReportAllocs()
			for b.Loop() {
				server.sendChanges(messages)
			}
		})
	}
}

// BenchmarkBroadcast measures queuing an event for a thousand subscribers, without writing it.
func BenchmarkBroadcast(b *testing.B) {
	server, err := New(Options{
		App: documented(), Bus: bus.NewLocal(bus.Options{}), Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		b.Fatal(err)
	}
	h := server.hub
	var conns []*conn
	for range 1000 {
		c := &conn{hub: h}
		if !h.add(c) {
			b.Fatal("not added")
		}
		h.subscribe(c, "c")
		conns = append(conns, c)
	}
	ch, frame := h.find("c"), message("e", "c", "data")
	b.ReportAllocs()
	for b.Loop() {
		for _, c := range conns {
			c.state, c.queue, c.size = idle, c.queue[:0], 0
		}
		for _, f := range h.flushers {
			f.waiting = f.waiting[:0]
		}
		h.broadcast(ch, frame, "")
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(conns)), "ns/delivery")
}
