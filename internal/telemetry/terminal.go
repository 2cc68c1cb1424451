package telemetry

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"
)

// Terminal reports whether f is a terminal.
func Terminal(f *os.File) bool {
	return term.IsTerminal(int(f.Fd()))
}

// SurviveBrokenPipes keeps the process alive when the reader of its standard output or error has exited; otherwise the Go runtime ends
// the process at the next write. Call it in servers, but not in commands that exist for their output: these should end with their
// reader. The returned function restores the default.
//
// The signal is caught instead of ignored, because child processes inherit ignored signals.
func SurviveBrokenPipes() (undo func()) {
	caught := make(chan os.Signal, 1) // never read: further signals are dropped
	signal.Notify(caught, syscall.SIGPIPE)
	return func() { signal.Stop(caught) }
}
