package bench

import (
	"bufio"
	"os"
	"runtime"
	"strings"
)

// Machine is the machine, the commit and the command of a measurement.
type Machine struct {
	CPU     string `json:"cpu"`
	Cores   int    `json:"cores"`
	Kernel  string `json:"kernel"`
	Go      string `json:"go"`
	Commit  string `json:"commit,omitempty"`
	Command string `json:"command,omitempty"`
}

// ThisMachine describes this machine. The caller passes the commit and the command line.
func ThisMachine(commit, command string) Machine {
	return Machine{
		CPU: processorName(), Cores: runtime.NumCPU(), Kernel: kernelName(),
		Go: runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH, Commit: commit, Command: command,
	}
}

// processorName returns the name in Linux's /proc, or the architecture.
func processorName() string {
	file, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	defer func() { _ = file.Close() }()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		if strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func kernelName() string {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return runtime.GOOS
	}
	return "Linux " + strings.TrimSpace(string(release))
}
