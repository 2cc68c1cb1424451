// Package cli is the command line: a type per command, whose fields are its flags and whose Run executes it. Commands call
// packages app and bench and print the result; they hold no rules of their own. The file help.go holds the examples in --help.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/posener/complete"
	"github.com/willabides/kongplete"

	"orderflow/internal/config"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1 // the command failed, or the audit found a violation
	exitUsage   = 2 // an invalid flag, setting or argument
)

// Streams are the input, the outputs and the environment of a command.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	Environ  []string // NAME=value
	Version  string   // of this binary
}

// commands are all commands. Jobs is the former name of FailedJobs.
type commands struct {
	Serve      serveCommand      `cmd:"" help:"Run the server: by default all roles in one process, on an SQLite file."`
	Demo       demoCommand       `cmd:"" help:"Take a one-minute tour on a temporary database."`
	Migrate    migrateCommand    `cmd:"" help:"Migrate the database schema up or down, or show its state."`
	Seed       seedCommand       `cmd:"" help:"Add sample data; migrates first."`
	FailedJobs failedJobsCommand `cmd:"" help:"List, retry or abandon failed jobs: orders whose payment used up its attempts."`
	Token      tokenCommand      `cmd:"" help:"Create, revoke and list API tokens."`
	Audit      auditCommand      `cmd:"" help:"Verify the invariants of the database and exit with 1 when one is violated."`
	Backup     backupCommand     `cmd:"" help:"Copy an SQLite database into a new file, also while a server uses it."`
	Bench      benchCommand      `cmd:"" help:"Put load on a server and report throughput, latency and answers."`
	Health     healthCommand     `cmd:"" help:"Exit with 0 when a server is ready, for container checks."`
	Version    versionCommand    `cmd:"" help:"Print the version, as orderflow --version does."`
	Help       helpCommand       `cmd:"" help:"Print the help of a command, or list all commands."`
	Completion completionCommand `cmd:"" help:"Print the script that turns on completion in bash, zsh or fish."`
	Jobs       failedJobsCommand `cmd:"" hidden:"" help:"Same as failed-jobs."`
	Unbatched  unbatchedCommand  `cmd:"" hidden:"" help:"Run the server with one transaction per order, for bench --compare."`
	Noop       noopCommand       `cmd:"" hidden:"" help:"Run the no-op handler, for bench --ceiling."`
}

// Main runs the command line of this process and returns its exit code. version is the release, or "".
func Main(version string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() {
		<-ctx.Done()
		stop() // a second signal ends the process at once
	}()
	if version == "" {
		version = "dev"
	}
	return Run(ctx, os.Args[1:], Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Environ: os.Environ(), Version: version})
}

// Run runs one command line and returns its exit code. Errors are one line on streams.Err.
func Run(ctx context.Context, args []string, streams Streams) int {
	exited := -1
	parser, err := newParser(streams, func(code int) { exited = code })
	if err != nil {
		return fail(streams, err, exitFailure)
	}
	kongplete.Complete(parser, kongplete.WithPredictor("file", complete.PredictFiles("*")))
	if exited >= 0 { // a shell asked for completions
		return exited
	}
	switch {
	case len(args) == 0:
		args = []string{"--help"}
	case len(args) == 1 && args[0] == "--version":
		args = []string{"version"}
	}
	command, err := parser.Parse(args)
	if exited >= 0 { // --help was answered
		return exited
	}
	if err != nil {
		return fail(streams, err, exitUsage)
	}
	command.BindTo(ctx, (*context.Context)(nil))
	command.Bind(streams)
	if err := command.Run(); err != nil {
		code := exitFailure
		if _, usage := errors.AsType[usageError](err); usage {
			code = exitUsage
		}
		if errors.Is(err, errReported) {
			return code
		}
		return fail(streams, err, code)
	}
	return exitOK
}

// newParser returns the parser of the command line. It calls exit after --help.
func newParser(streams Streams, exit func(code int)) (*kong.Kong, error) {
	return kong.New(&commands{},
		kong.Name("orderflow"),
		kong.Description("Orderflow takes orders for limited stock. It never oversells, and never loses or duplicates an order."),
		kong.Writers(streams.Out, streams.Err),
		kong.Exit(exit),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		kong.PostBuild(addDetails),
		config.Option(streams.Environ),
	)
}

// errReported ends a command whose output has already reported the error.
var errReported = errors.New("already reported")

// usageError is an invalid argument that is found after parsing.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// fail prints an error as one line.
func fail(streams Streams, err error, code int) int {
	line := strings.Join(strings.Fields(err.Error()), " ")
	_, _ = fmt.Fprintln(streams.Err, "orderflow: "+line) // a failure to print cannot be reported
	return code
}

// wasSet reports whether a flag has a value from any source other than its default.
func wasSet(command *kong.Context, flag string) bool {
	for _, p := range command.Path {
		if p.Flag != nil && p.Flag.Name == flag {
			return true
		}
	}
	return false
}

type versionCommand struct{}

// Run prints the version.
func (versionCommand) Run(streams Streams) error {
	_, err := fmt.Fprintln(streams.Out, "orderflow "+streams.Version)
	return err
}

type helpCommand struct {
	Command []string `arg:"" optional:"" help:"The command, such as migrate up."`
}

// Run prints the help of a command.
func (h helpCommand) Run(ctx context.Context, streams Streams) error {
	if code := Run(ctx, append(h.Command, "--help"), streams); code != exitOK {
		return usageError{errReported}
	}
	return nil
}
