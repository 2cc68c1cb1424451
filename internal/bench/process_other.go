//go:build !linux

package bench

import (
	"errors"
	"time"
)

// errNotKnown says that a figure is read on Linux only.
var errNotKnown = errors.New("processor time and memory of another process are read on Linux only")

// ProcessCPU would return the processor time that a running process has used so far.
func ProcessCPU(int) (time.Duration, error) { return 0, errNotKnown }

// Listener would return the process that listens on an address.
func Listener(string) (pid int, name string, err error) { return 0, "", errNotKnown }

// ProcessMemory would return the bytes of a running process that are resident.
func ProcessMemory(int) (int64, error) { return 0, errNotKnown }

// sleepExactly sleeps as exactly as the Go runtime does.
func sleepExactly(d time.Duration) { time.Sleep(d) }

// ownCPU is the processor time of this process so far; false where it is not known.
func ownCPU() (time.Duration, bool) { return 0, false }
