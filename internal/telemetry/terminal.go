package telemetry

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"
)

// Terminal reports whether a person reads what is written to f.
func Terminal(f *os.File) bool {
	return term.IsTerminal(int(f.Fd()))
}

// SurviveBrokenPipes keeps the process alive when whoever read its standard output or error has gone: without it the
// Go runtime ends the process at the next write there. Call it in processes that serve, and not in those whose output is
// their purpose, which should end with their reader. It returns a function that undoes it.
//
// The signal is caught and not ignored, since what is ignored stays ignored in child processes.
func SurviveBrokenPipes() (undo func()) {
	caught := make(chan os.Signal, 1) // nobody reads it: a signal that finds no room is dropped
	signal.Notify(caught, syscall.SIGPIPE)
	return func() { signal.Stop(caught) }
}
