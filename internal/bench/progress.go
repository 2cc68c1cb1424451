package bench

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// Display shows the progress of a run: a bar on a terminal, one line per load elsewhere, nothing when Out is nil.
type Display struct {
	Out      io.Writer
	Terminal bool
}

// load shows a load. It returns the function for Load.Progress, and one to call at the end.
func (d Display) load(what string, duration time.Duration) (progress func(time.Duration), over func()) {
	if d.Out == nil {
		return nil, func() {}
	}
	if !d.Terminal {
		d.status("%s, %s", what, duration)
		return nil, func() {}
	}
	bar := progressbar.NewOptions64(duration.Milliseconds(),
		progressbar.OptionSetWriter(d.Out),
		progressbar.OptionSetDescription(fmt.Sprintf("  %-52s", what)),
		progressbar.OptionSetWidth(24),
		progressbar.OptionSetElapsedTime(false),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetTheme(progressbar.Theme{Saucer: "━", SaucerHead: "━", SaucerPadding: " ", BarStart: "", BarEnd: ""}),
	)
	// An error of drawing does not stop the measurement.
	return func(since time.Duration) { _ = bar.Set64(since.Milliseconds()) }, func() { _ = bar.Finish() }
}

// status prints a line, unless bars are drawn.
func (d Display) status(format string, args ...any) {
	if d.Out != nil && !d.Terminal {
		_, _ = fmt.Fprintf(d.Out, format+"\n", args...)
	}
}

// Count shows the progress of long work with a count: a bar on a terminal, nothing elsewhere.
func (d Display) Count(what string, total int64) (set func(done int64), over func()) {
	if d.Out == nil || !d.Terminal {
		return func(int64) {}, func() {}
	}
	bar := progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(d.Out),
		progressbar.OptionSetDescription(fmt.Sprintf("  %-12s", what)),
		progressbar.OptionSetWidth(24),
		progressbar.OptionShowCount(),
		progressbar.OptionShowIts(),
		progressbar.OptionClearOnFinish(),
	)
	// An error of drawing does not stop the work.
	return func(done int64) { _ = bar.Set64(done) }, func() { _ = bar.Finish() }
}
