package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"orderflow/internal/bench"
)

// listenerProcess is a listener in a process of its own. Its methods are for one goroutine.
type listenerProcess struct {
	command *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
}

// newListenerProcess starts a listener. It ends with close, with ctx, or with this process.
func newListenerProcess(ctx context.Context) (*listenerProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	command := exec.CommandContext(ctx, self, listen)
	command.Stderr = os.Stderr
	in, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, err
	}
	return &listenerProcess{command: command, in: in, out: bufio.NewReader(out)}, nil
}

// ask sends a request and waits for the answer. It returns an error if the process has ended.
func (p *listenerProcess) ask(r request) (counts, error) {
	line, err := json.Marshal(r)
	if err != nil {
		return counts{}, err
	}
	var h counts
	if _, err = p.in.Write(append(line, '\n')); err == nil {
		line, err = p.out.ReadBytes('\n')
	}
	if err == nil {
		err = json.Unmarshal(line, &h)
	}
	if err != nil {
		return h, fmt.Errorf("listener process: %w", err)
	}
	return h, nil
}

// processor returns the processor time of the process.
func (p *listenerProcess) processor() (time.Duration, error) {
	return bench.ProcessCPU(p.command.Process.Pid)
}

// close ends the listener and all its connections.
func (p *listenerProcess) close() error { return errors.Join(p.in.Close(), p.command.Wait()) }
