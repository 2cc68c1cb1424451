package app

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// drainLog writes a line when the server begins to stop, and one when it has stopped, with the work that was finished between.
type drainLog struct {
	server *Server
	began  time.Time
	before map[string]float64
}

// drainReason returns why the server stops. cause is the error of the stage that failed; nil when ctx has ended.
func drainReason(ctx context.Context, cause error) string {
	switch {
	case cause != nil:
		return cause.Error()
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return "--max-time"
	}
	return "signal"
}

// logDrain writes the first line.
func (s *Server) logDrain(ctx context.Context, reason string) drainLog {
	d := drainLog{server: s, began: time.Now(), before: s.counts()}
	s.log.Logger().InfoContext(ctx, "The server is stopping: it finishes its current work and takes no new work.", "event", "server.draining",
		"reason", reason, "connections", int64(d.before["orderflow_http_connections"]), "queued", int64(d.before["orderflow_batch_queued"]),
		"charges", int64(d.before["orderflow_worker_in_flight"]))
	return d
}

// end writes the second line.
func (d drainLog) end(ctx context.Context, err error) {
	after := d.server.counts()
	done := func(name string) int64 { return int64(after[name] - d.before[name]) }
	attrs := []slog.Attr{
		slog.String("event", "server.stopped"), slog.String("took", time.Since(d.began).Round(time.Millisecond).String()),
		slog.Int64("orders", done("orderflow_orders_total created")), slog.Int64("cancels", done("orderflow_cancels_total cancelled")),
		slog.Int64("calls", done("orderflow_worker_calls_total")-done("orderflow_worker_calls_total handed_back")),
		slog.Int64("handed_back", done("orderflow_worker_calls_total handed_back")),
		slog.Int64("published", done("orderflow_outbox_published_total")),
	}
	if err != nil {
		d.server.log.Logger().LogAttrs(ctx, slog.LevelWarn, "The server has stopped with errors.",
			append(attrs, slog.String("error", err.Error()))...)
		return
	}
	d.server.log.Logger().LogAttrs(ctx, slog.LevelInfo, "The server has stopped. Its work is finished or handed back.", attrs...)
}

// counts returns the counters and gauges of this process: by name, as the sum of all labels, and by name and outcome.
func (s *Server) counts() map[string]float64 {
	counts := map[string]float64{}
	families, err := s.registry.Gather()
	if err != nil {
		return counts // the lines have no figures
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			value := metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
			counts[family.GetName()] += value
			for _, label := range metric.GetLabel() {
				if label.GetName() == "outcome" {
					counts[family.GetName()+" "+label.GetValue()] += value
				}
			}
		}
	}
	return counts
}
