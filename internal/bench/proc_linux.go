package bench

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ProcessCPU returns the processor time, user and system, of a running process and all its threads, to the nanosecond. It reads the
// clock of clock_getcpuclockid(3), since /proc/PID/stat has steps of 10 ms.
func ProcessCPU(pid int) (time.Duration, error) {
	const scheduled = 2 // CPUCLOCK_SCHED: the scheduler's count
	var used unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduled), &used); err != nil {
		return 0, fmt.Errorf("processor time of process %d: %w", pid, err)
	}
	return time.Duration(used.Nano()), nil
}

// Listener returns the process of this machine that listens on a loopback address, HOST:PORT, and its name: the owner of the socket that
// /proc/net/tcp (proc(5)) has for the port. Processes of other users are visible only with their rights.
func Listener(address string) (pid int, name string, err error) {
	addr, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return 0, "", err
	}
	if !addr.IP.IsLoopback() {
		return 0, "", fmt.Errorf("%s is not on this machine", address)
	}
	sockets, err := listening(addr.Port)
	if err != nil {
		return 0, "", err
	}
	holders, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return 0, "", err
	}
	for _, fd := range holders {
		socket, err := os.Readlink(fd)
		if err != nil || !sockets[socket] { // the process has ended, or belongs to another user
			continue
		}
		process := filepath.Dir(filepath.Dir(fd))
		comm, err := os.ReadFile(filepath.Join(process, "comm"))
		if err != nil {
			return 0, "", err
		}
		pid, err := strconv.Atoi(filepath.Base(process))
		return pid, string(bytes.TrimSpace(comm)), err
	}
	return 0, "", fmt.Errorf("no visible process listens on %s", address)
}

// listening returns the sockets that listen on a port, as links of /proc/PID/fd name them.
func listening(port int) (map[string]bool, error) {
	const local, state, inode, listen = 1, 3, 9, "0A" // fields of a line, and the number of LISTEN
	sockets := map[string]bool{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		lines, err := os.ReadFile(table)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) { // a kernel without IPv6
				continue
			}
			return nil, err
		}
		for line := range bytes.Lines(lines) {
			fields := strings.Fields(string(line))
			if len(fields) > inode && fields[state] == listen && strings.HasSuffix(fields[local], fmt.Sprintf(":%04X", port)) {
				sockets["socket:["+fields[inode]+"]"] = true
			}
		}
	}
	return sockets, nil
}

// ProcessMemory returns the resident bytes of a running process: field 2 of /proc/PID/statm (proc(5)).
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

// sleepExactly sleeps with the system's timer, to within 0.1 ms. It blocks a thread.
func sleepExactly(d time.Duration) {
	wait := syscall.NsecToTimespec(d.Nanoseconds())
	for syscall.Nanosleep(&wait, &wait) == syscall.EINTR {
	}
}

// ownCPU returns the processor time of this process; false when it is unknown.
func ownCPU() (time.Duration, bool) {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0, false
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()), true
}
