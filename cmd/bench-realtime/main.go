// Command bench-realtime measures the deliveries per second of the real-time server, their delay and the memory of a connection,
// beside socket.io 4 on the same machine in the same run:
//
//	go run ./cmd/bench-realtime --markdown
//
// Each server is a process of its own, and so are the subscribers (see listener). This process publishes over HTTP, in the same way to
// both servers: over a few connections, each with up to ten messages in a request, and with the next request after the response. It
// reads /proc and runs on Linux only.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"orderflow/internal/bench"
	"orderflow/test/servers"
)

// listen is the only argument of a listener process.
const listen = "listen"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if slices.Equal(os.Args[1:], []string{listen}) {
		err = runListener(ctx, os.Stdin, os.Stdout)
	} else {
		err = runCommand(ctx, os.Args[1:], os.Stdout, os.Stderr)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-realtime:", err)
		stop()
		os.Exit(1)
	}
}

// Parts of the measurement.
const (
	partFanout = "fanout"
	partIdle   = "idle"
	partOrders = "orders"
)

// settings are the flags.
type settings struct {
	Binary      string        `help:"The binary of the product." default:"bin/orderflow"`
	SocketIO    string        `name:"socketio" help:"The folder of the socket.io server, after npm ci." default:"cmd/bench-realtime/socketio"`
	Subjects    []string      `help:"Servers to measure." enum:"orderflow,socket.io" default:"orderflow,socket.io"`
	Parts       []string      `help:"Parts: fan-out at full speed and paced, memory of idle connections, delay of orders." enum:"fanout,idle,orders" default:"fanout,idle,orders"`
	Subscribers []int         `help:"Numbers of subscribers for the fan-out." default:"1000,5000"`
	Channels    []int         `help:"Numbers of channels for each number of subscribers." default:"1,100"`
	Duration    time.Duration `help:"Duration of one load, once a round." default:"5s"`
	WarmUp      time.Duration `help:"Duration of the same load before it." default:"1s"`
	Rounds      int           `help:"Rounds; the servers alternate." default:"2"`
	Pace        int           `help:"Deliveries per second of the paced load." default:"10000"`
	Idle        int           `help:"Number of idle connections." default:"15000"`
	Markdown    bool          `help:"Print the table as Markdown."`
	Commit      string        `help:"The measured commit, for the report." placeholder:"HASH"`
}

// Validate is called by the parser.
func (s *settings) Validate() error {
	for _, n := range slices.Concat(s.Subscribers, s.Channels, []int{s.Rounds, s.Pace, s.Idle}) {
		if n < 1 || n > 1_000_000 {
			return fmt.Errorf("%d is not between 1 and 1,000,000", n)
		}
	}
	if s.Duration < 100*time.Millisecond || s.Duration > time.Minute || s.WarmUp < 0 || s.WarmUp > time.Minute {
		return fmt.Errorf("--duration %s must be 100ms to 1m, --warm-up %s 0s to 1m", s.Duration, s.WarmUp)
	}
	return nil
}

func runCommand(ctx context.Context, args []string, out, progress io.Writer) (err error) {
	s := &settings{}
	parser, err := kong.New(s, kong.Name("bench-realtime"), kong.Description("Measures fan-out over WebSockets beside socket.io 4."))
	if err != nil {
		return err
	}
	if _, err := parser.Parse(args); err != nil {
		return err
	}
	if s.Binary, err = filepath.Abs(s.Binary); err != nil {
		return err
	}
	if s.SocketIO, err = filepath.Abs(s.SocketIO); err != nil {
		return err
	}
	dir, err := servers.Folder()
	if err != nil {
		return err
	}
	defer func() {
		if removed := os.RemoveAll(dir); err == nil {
			err = removed
		}
	}()
	r := &report{machine: bench.ThisMachine(s.Commit, "go run ./cmd/bench-realtime")}
	m := &measurement{settings: s, dir: dir, progress: progress, report: r}
	if err := m.run(ctx); err != nil {
		return err
	}
	_, err = io.WriteString(out, r.text(s.Markdown))
	return err
}
