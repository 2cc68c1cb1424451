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

// audience is a listener, seen from the process that started it. Its methods are for one goroutine.
type audience struct {
	command *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
}

// newAudience starts a listener. It ends with close, with ctx, or with this process.
func newAudience(ctx context.Context) (*audience, error) {
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
	return &audience{command: command, in: in, out: bufio.NewReader(out)}, nil
}

// ask asks, and waits for the answer. A listener that is gone is an error.
func (a *audience) ask(what ask) (heard, error) {
	line, err := json.Marshal(what)
	if err != nil {
		return heard{}, err
	}
	var h heard
	if _, err = a.in.Write(append(line, '\n')); err == nil {
		line, err = a.out.ReadBytes('\n')
	}
	if err == nil {
		err = json.Unmarshal(line, &h)
	}
	if err != nil {
		return h, fmt.Errorf("the process that subscribes: %w", err)
	}
	return h, nil
}

// processor is the processor time that the listener has used.
func (a *audience) processor() (time.Duration, error) { return bench.ProcessCPU(a.command.Process.Pid) }

// close ends the listener and all its connections.
func (a *audience) close() error { return errors.Join(a.in.Close(), a.command.Wait()) }
