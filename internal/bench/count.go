package bench

import (
	"fmt"

	"github.com/schollz/progressbar/v3"
)

// Count shows how far a long piece of work is that counts something: a bar on a terminal, nothing elsewhere.
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
	// A bar that cannot be drawn is no reason to stop the work.
	return func(done int64) { _ = bar.Set64(done) }, func() { _ = bar.Finish() }
}
