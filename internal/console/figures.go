package console

import (
	"math"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// figure names a figure of a sample. Their order is that of the page's script.
type figure int

const (
	figureOrders     figure = iota // created a second
	figureAnswered                 // answers of the API a second, by kind: 2xx
	figureConflict                 // 409
	figureRefused                  // other 4xx
	figureLimited                  // 429
	figureFailed                   // 5xx
	figureBatch                    // orders in a batch, on average
	figureP50                      // ms that POST /orders took
	figureP95                      //
	figureP99                      //
	figurePaid                     // charges a second by outcome: succeeded
	figureDeclined                 // declined
	figureUnanswered               // no answer
	figureLag                      // ms from an order's creation to its claim, p95
	figureOverdue                  // ms that the order which is due longest has been due
	figureOpen                     // orders that are not finished, of the whole installation
	figureSockets                  // open WebSockets
	figureStreams                  // open event streams of the API
	figures
)

// sample is the figures of one second. NaN is one that nobody knows.
type sample struct {
	at     time.Time
	values [figures]float64
}

// counted is what a process had counted at some time.
type counted struct {
	at                                           time.Time
	orders                                       float64
	answers                                      [5]float64 // of the API, in the order of their figures
	paid, declined, unanswered, sockets, streams float64
	batch, latency, lag                          histogram
}

// count picks from families what the page shows.
func count(at time.Time, families []*dto.MetricFamily) counted {
	nan := math.NaN()
	c := counted{at: at, paid: nan, declined: nan, unanswered: nan, sockets: nan, streams: nan}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			c.add(family.GetName(), m)
		}
	}
	return c
}

func (c *counted) add(name string, m *dto.Metric) {
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

// addAnswers adds the answers of one route of the API proper with one status.
func (c *counted) addAnswers(m *dto.Metric) {
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

func (c *counted) addCalls(m *dto.Metric) {
	if label(m, "kind") != "charge" {
		return
	}
	add := func(to *float64) { // a process without the role worker has no such series, and so no figure
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

// since is the figures of the time from an earlier count to this one.
func (c *counted) since(before *counted) sample {
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

// ask adds to a sample what others had to be asked for.
func (s *sample) ask(families []*dto.MetricFamily) {
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

// gather gathers; what could not be had is missing, and shown as a gap.
func gather(from prometheus.Gatherer) []*dto.MetricFamily {
	if from == nil {
		return nil
	}
	families, _ := from.Gather() // an error says that a part is missing
	return families
}
