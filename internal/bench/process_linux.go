package bench

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

// ticksPerSecond is Linux's USER_HZ: 100 on every architecture that Go runs on.
const ticksPerSecond = 100

// ProcessCPU returns the processor time, user and system, that a running process has used so far, in steps of 10 ms:
// fields 14 and 15 of /proc/PID/stat (proc(5)).
func ProcessCPU(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, field 2, may hold anything; what follows its last bracket is regular.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has too few fields", pid)
	}
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond, nil
}

// ProcessMemory returns the bytes of a running process that are resident: field 2 of /proc/PID/statm (proc(5)).
func ProcessMemory(pid int) (int64, error) {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(statm)
	if len(fields) < 2 {
		return 0, fmt.Errorf("/proc/%d/statm has too few fields", pid)
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("/proc/%d/statm: %w", pid, err)
	}
	return pages * int64(os.Getpagesize()), nil
}

// sleepExactly sleeps by the system's timer, to within a tenth of a millisecond. It keeps a thread.
func sleepExactly(d time.Duration) {
	wait := syscall.NsecToTimespec(d.Nanoseconds())
	for syscall.Nanosleep(&wait, &wait) == syscall.EINTR { //nolint:errorlint // a number of the system's, as it gives it
	}
}

// ownCPU is the processor time of this process so far; false where it is not known.
func ownCPU() (time.Duration, bool) {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0, false
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()), true
}
