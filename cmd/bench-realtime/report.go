package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"orderflow/internal/bench"
)

// report is the table of a run.
type report struct {
	machine bench.Machine
	rows    []row
	notes   []string
}

// row is one figure of both servers.
type row struct {
	figure string
	unit   string
	ours   string // "" if not measured
	theirs string
	ratio  string // ours to theirs
	bar    string // floor and goal
}

// values is a figure by subject, without those that were not measured.
type values map[string]float64

// add adds a figure with this number of decimals.
func (r *report) add(figure, unit, bar string, digits int, v values) {
	shown := func(name string) string {
		value, known := v[name]
		if !known {
			return ""
		}
		return grouped(value, digits)
	}
	out := row{figure: figure, unit: unit, ours: shown(orderflow), theirs: shown(socketIO), bar: bar}
	if ours, theirs := v[orderflow], v[socketIO]; out.ours != "" && theirs > 0 {
		out.ratio = strconv.FormatFloat(ours/theirs, 'f', 2, 64) + " ×"
	}
	r.rows = append(r.rows, out)
}

func (r *report) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// fanout adds the figures of one number of subscribers. results are by kind of load, then by subject; all and end are by subject.
func (r *report) fanout(s *settings, subscribers, channels int, all []*watched, kinds []kind, results [][]*load, end []counts) {
	where := fmt.Sprintf("%s subscribers, %s", grouped(float64(subscribers), 0), plural(channels, "channel"))
	var ofRate, ofDelay string
	if subscribers == 5000 && channels == 1 {
		ofRate, ofDelay = "≥ 2 ×; goal 3.5 ×", "≤ 0.9 ×; goal 0.5 ×"
	}
	for k, kind := range kinds {
		of := func(figure func(*load) float64) values {
			v := values{}
			for i, w := range all {
				v[w.name] = figure(results[k][i])
			}
			return v
		}
		quantile := func(q float64) func(*load) float64 {
			return func(l *load) float64 { return float64(l.delay.ValueAtQuantile(q)) / 1000 }
		}
		each := func(spent func(*load) time.Duration) func(*load) float64 {
			return func(l *load) float64 { return float64(spent(l).Nanoseconds()) / 1000 / float64(max(l.deliveries, 1)) }
		}
		bar := ""
		if k == 0 {
			bar = ofRate
		}
		r.add(where+", "+kind.name, "deliveries/s", bar, 0, of(func(l *load) float64 { return float64(l.deliveries) / l.elapsed.Seconds() }))
		if kind.rate == 0 {
			r.add("server's processor", "µs a delivery", "", 2, of(each(func(l *load) time.Duration { return l.server })))
			r.add("driver's processor", "µs a delivery", "", 2, of(each(func(l *load) time.Duration { return l.driver })))
			r.add("p99", "ms", "", 0, of(quantile(99)))
			continue
		}
		r.add("p50", "ms", "", 2, of(quantile(50)))
		r.add("p99", "ms", ofDelay, 2, of(quantile(99)))
		r.add("max", "ms", "", 2, of(func(l *load) float64 { return float64(l.delay.Max()) / 1000 }))
	}
	for i, w := range all {
		h := end[i]
		if h.Lost+h.Repeated > 0 || h.Closed > 0 {
			r.note("%s, %s: %d messages lost and %d repeated at open connections; %d connections closed (%s)",
				w.name, where, h.Lost, h.Repeated, h.Closed, h.Error)
		}
		if n := w.publishers.refused.Load(); n > 0 {
			r.note("%s, %s: %d requests to publish were answered with 503 and repeated: %s", w.name, where, n, *w.publishers.reason.Load())
		}
	}
	if !slices.ContainsFunc(end, func(h counts) bool { return h.Lost+h.Repeated > 0 || h.Closed > 0 }) {
		r.note("%s: no message lost or repeated and no connection closed, in %s of %s for each of the three loads",
			where, plural(s.Rounds, "round"), s.Duration)
	}
}

// idle adds the memory of idle connections.
func (r *report) idle(subjects []string, results []idleResult) {
	count, memory := values{}, values{}
	for i, name := range subjects {
		count[name], memory[name] = float64(results[i].connected), results[i].bytes/1000
		if results[i].firstError != "" {
			r.note("%s: %d idle connections; the next one failed: %s", name, results[i].connected, results[i].firstError)
		}
	}
	r.add("idle connections, each subscribed", "", "", 0, count)
	r.add("memory of the server", "KB each", "≤ 10; goal 6", 1, memory)
}

// orders adds the time from commit to arrival.
func (r *report) orders(full, half arrivals) {
	r.add("orders at half load, commit to WebSocket: p50", "ms", "", 2, values{orderflow: float64(half.delay.ValueAtQuantile(50)) / 1000})
	r.add("p95", "ms", "< 20", 2, values{orderflow: float64(half.delay.ValueAtQuantile(95)) / 1000})
	r.add("p99", "ms", "", 2, values{orderflow: float64(half.delay.ValueAtQuantile(99)) / 1000})
	r.note("orders: %s events at %s per second; at full speed %s orders were paid per second", grouped(float64(half.orders), 0),
		grouped(half.perSecond(), 0), grouped(full.perSecond(), 0))
}

// text returns the table, aligned for a terminal or as Markdown, with the notes.
func (r *report) text(markdown bool) string {
	lines := [][]string{{"figure", "unit", "Orderflow", "socket.io 4", "ratio", "bar"}}
	for _, w := range r.rows {
		lines = append(lines, []string{w.figure, w.unit, dash(w.ours), dash(w.theirs), dash(w.ratio), w.bar})
	}
	var b strings.Builder
	if markdown {
		for i, line := range lines {
			b.WriteString("| " + strings.Join(line, " | ") + " |\n")
			if i == 0 {
				b.WriteString("|---|---|---:|---:|---:|---|\n")
			}
		}
	} else {
		align(&b, lines)
	}
	b.WriteByte('\n')
	for _, note := range r.notes {
		b.WriteString("- " + note + "\n")
	}
	fmt.Fprintf(&b, "\nMeasured on %s, %d cores, %s, %s", r.machine.CPU, r.machine.Cores, r.machine.Kernel, r.machine.Go)
	if r.machine.Commit != "" {
		fmt.Fprintf(&b, ", commit `%s`", r.machine.Commit)
	}
	fmt.Fprintf(&b, ", by `%s`. Servers, subscribers and publishers share the cores.\n", r.machine.Command)
	return b.String()
}

// align writes columns of equal width, numbers to the right.
func align(b *strings.Builder, lines [][]string) {
	width := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, cell := range line {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for _, line := range lines {
		var out strings.Builder
		for i, cell := range line {
			space := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if number := i >= 2 && i <= 4; number {
				out.WriteString(space + cell + "  ")
			} else {
				out.WriteString(cell + space + "  ")
			}
		}
		b.WriteString(strings.TrimRight(out.String(), " ") + "\n")
	}
}

func dash(cell string) string {
	if cell == "" {
		return "–"
	}
	return cell
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return grouped(float64(n), 0) + " " + what + "s"
}

// grouped formats a number with thousands separators.
func grouped(value float64, digits int) string {
	whole, rest, _ := strings.Cut(strconv.FormatFloat(value, 'f', digits, 64), ".")
	for i := len(whole) - 3; i > 0 && whole[i-1] != '-'; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if rest != "" {
		whole += "." + rest
	}
	return whole
}
