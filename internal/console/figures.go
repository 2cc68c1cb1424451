package console

import (
	"math"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// figure is the index of a figure in a sample. The page's script has the same order.
type figure int

const (
	figureOrders     figure = iota // orders created per second
	figureAnswered                 // responses of the API per second, by status: 2xx
	figureConflict                 // 409
	figureRefused                  // other 4xx
	figureLimited                  // 429
	figureFailed                   // 5xx
	figureBatch                    // orders per batch, mean
	figureP50                      // latency of POST /orders in ms
	figureP95                      //
	figureP99                      //
	figurePaid                     // charges per second, by outcome: succeeded
	figureDeclined                 // declined
	figureUnanswered               // no answer
	figureLag                      // ms from an order's creation to its claim, p95
	figureOverdue                  // age of the oldest overdue order in ms
	figureOpen                     // unfinished orders of the whole installation
	figureSockets                  // open WebSockets
	figureStreams                  // open event streams of the API
	figures
)

// sample has the figures of one second. NaN is an unknown figure.
type sample struct {
	at     time.Time
	values [figures]float64
}

// counters are the values of the process's metrics at one time.
type counters struct {
	at                                           time.Time
	orders                                       float64
	answers                                      [5]float64 // by status, in the order of their figures
	paid, declined, unanswered, sockets, streams float64
	batch, latency, lag                          histogram
}

// readCounters reads the metrics that the page shows.
func readCounters(at time.Time, families []*dto.MetricFamily) counters {
	nan := math.NaN()
	c := counters{at: at, paid: nan, declined: nan, unanswered: nan, sockets: nan, streams: nan}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			c.add(family.GetName(), m)
		}
	}
	return c
}

func (c *counters) add(name string, m *dto.Metric) {
	switch name {
	case "orderflow_orders_total":
		if label(m, "outcome") == "created" {
			c.orders += m.GetCounter().GetValue()
		}
	case "orderflow_http_request_duration_seconds":
		c.addAnswers(m)
	case "orderflow_batch_size":
		if label(m, "batch") == "create" {
			c.batch.add(m.GetHistogram())
		}
	case "orderflow_worker_calls_total":
		c.addCalls(m)
	case "orderflow_worker_queue_lag_seconds":
		c.lag.add(m.GetHistogram())
	case "orderflow_realtime_connections":
		c.sockets = m.GetGauge().GetValue()
	case "orderflow_http_streams":
		c.streams = m.GetGauge().GetValue()
	}
}

// addAnswers adds the responses of one route of the API with one status.
func (c *counters) addAnswers(m *dto.Metric) {
	route, code := label(m, "route"), label(m, "code")
	if !strings.HasPrefix(route, "/api/") {
		return
	}
	n := float64(m.GetHistogram().GetSampleCount())
	switch {
	case code == "409":
		c.answers[figureConflict-figureAnswered] += n
	case code == "429":
		c.answers[figureLimited-figureAnswered] += n
	case strings.HasPrefix(code, "4"):
		c.answers[figureRefused-figureAnswered] += n
	case strings.HasPrefix(code, "5"):
		c.answers[figureFailed-figureAnswered] += n
	default:
		c.answers[0] += n
	}
	if route == "/api/v1/orders" && label(m, "method") == "POST" {
		c.latency.add(m.GetHistogram())
	}
}

func (c *counters) addCalls(m *dto.Metric) {
	if label(m, "kind") != "charge" {
		return
	}
	add := func(to *float64) { // NaN until now: a process without the role worker has no such series
		if math.IsNaN(*to) {
			*to = 0
		}
		*to += m.GetCounter().GetValue()
	}
	switch label(m, "outcome") {
	case "succeeded":
		add(&c.paid)
	case "declined":
		add(&c.declined)
	case "no_answer":
		add(&c.unanswered)
	}
}

// since returns the figures of the time since before.
func (c *counters) since(before *counters) sample {
	s := sample{at: c.at}
	span := c.at.Sub(before.at).Seconds()
	rate := func(f figure, now, then float64) { s.values[f] = max(0, now-then) / span }
	rate(figureOrders, c.orders, before.orders)
	for i := range c.answers {
		rate(figureAnswered+figure(i), c.answers[i], before.answers[i])
	}
	rate(figurePaid, c.paid, before.paid)
	rate(figureDeclined, c.declined, before.declined)
	rate(figureUnanswered, c.unanswered, before.unanswered)
	s.values[figureBatch] = c.batch.since(before.batch).mean()
	const ms = 1000
	latency := c.latency.since(before.latency)
	s.values[figureP50], s.values[figureP95], s.values[figureP99] = ms*latency.quantile(.5), ms*latency.quantile(.95), ms*latency.quantile(.99)
	s.values[figureLag] = ms * c.lag.since(before.lag).quantile(.95)
	s.values[figureSockets], s.values[figureStreams] = c.sockets, c.streams
	s.values[figureOverdue], s.values[figureOpen] = math.NaN(), math.NaN()
	return s
}

// addScraped adds the figures of OnScrape.
func (s *sample) addScraped(families []*dto.MetricFamily) {
	for _, family := range families {
		for _, m := range family.GetMetric() {
			switch family.GetName() {
			case "orderflow_orders_open":
				if math.IsNaN(s.values[figureOpen]) {
					s.values[figureOpen] = 0
				}
				s.values[figureOpen] += m.GetGauge().GetValue()
			case "orderflow_orders_overdue_seconds":
				s.values[figureOverdue] = 1000 * m.GetGauge().GetValue()
			}
		}
	}
}

func label(m *dto.Metric, name string) string {
	for _, pair := range m.GetLabel() {
		if pair.GetName() == name {
			return pair.GetValue()
		}
	}
	return ""
}

// gather gathers metrics. A metric that fails is missing, and the page shows a gap.
func gather(from prometheus.Gatherer) []*dto.MetricFamily {
	if from == nil {
		return nil
	}
	families, _ := from.Gather() // an error means that some are missing
	return families
}
