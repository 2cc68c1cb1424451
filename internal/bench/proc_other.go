//go:build !linux

package bench

import (
	"errors"
	"time"
)

// errNotKnown is returned on systems other than Linux.
var errNotKnown = errors.New("processor time and memory of another process are read on Linux only")

// ProcessCPU is implemented on Linux only.
func ProcessCPU(int) (time.Duration, error) { return 0, errNotKnown }

// Listener is implemented on Linux only.
func Listener(string) (pid int, name string, err error) { return 0, "", errNotKnown }

// ProcessMemory is implemented on Linux only.
func ProcessMemory(int) (int64, error) { return 0, errNotKnown }

// sleepExactly sleeps with the Go runtime's timer.
func sleepExactly(d time.Duration) { time.Sleep(d) }

// ownCPU is implemented on Linux only.
func ownCPU() (time.Duration, bool) { return 0, false }
