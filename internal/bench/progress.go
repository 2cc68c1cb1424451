package bench

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// Display is where a run tells how far it is: a bar on a terminal, one plain line a load elsewhere, nothing when Out is
// nil.
type Display struct {
	Out      io.Writer
	Terminal bool
}

// load announces a load and returns what Load.Progress is to be, and what to call when it has ended.
func (d Display) load(what string, takes time.Duration) (progress func(time.Duration), over func()) {
	if d.Out == nil {
		return nil, func() {}
	}
	if !d.Terminal {
		d.say("%s, %s", what, takes)
		return nil, func() {}
	}
	bar := progressbar.NewOptions64(takes.Milliseconds(),
		progressbar.OptionSetWriter(d.Out),
		progressbar.OptionSetDescription(fmt.Sprintf("  %-52s", what)),
		progressbar.OptionSetWidth(24),
		progressbar.OptionSetElapsedTime(false),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetTheme(progressbar.Theme{Saucer: "━", SaucerHead: "━", SaucerPadding: " ", BarStart: "", BarEnd: ""}),
	)
	// A bar that cannot be drawn is no reason to stop measuring.
	return func(since time.Duration) { _ = bar.Set64(since.Milliseconds()) }, func() { _ = bar.Finish() }
}

// say prints a line about what is being done, where there is no bar that says it.
func (d Display) say(format string, args ...any) {
	if d.Out != nil && !d.Terminal {
		_, _ = fmt.Fprintf(d.Out, format+"\n", args...)
	}
}
