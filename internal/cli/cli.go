// Package cli is the command line: a type a verb, whose fields are its flags and whose Run does it. Verbs say what is to
// be done in the words of packages app, audit, bench, store and worker, and print what came of it; nothing is decided
// here.
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
	exitFailure = 1 // what was asked for could not be done, or the books are wrong
	exitUsage   = 2 // a wrong flag, setting or argument
)

// Streams are what a verb reads and prints, and the environment that it is run in.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	Environ  []string // NAME=value
	Version  string   // what this binary calls itself
}

// verbs are all verbs of the command line.
type verbs struct {
	Serve      serve          `cmd:"" help:"Run the server: everything in one process on embedded defaults."`
	Demo       demo           `cmd:"" help:"Take a one-minute tour on a private temporary database."`
	Migrate    migrate        `cmd:"" help:"Bring the database's schema up to date, or take it back."`
	Seed       seed           `cmd:"" help:"Add sample data, migrating first."`
	Jobs       jobs           `cmd:"" help:"Deal with dead-lettered payments."`
	Token      tokens         `cmd:"" help:"Make, take back and list API tokens."`
	Audit      auditVerb      `cmd:"" help:"Prove the books: print each invariant, exit with 1 when one is broken."`
	Backup     backupVerb     `cmd:"" help:"Copy an SQLite database into a new file, while servers go on."`
	Bench      benchVerb      `cmd:"" help:"Put load on a server and print what it did."`
	Health     health         `cmd:"" help:"Exit with 0 when a server is ready (for container checks)."`
	Version    versionVerb    `cmd:"" help:"Print the version, as orderflow --version does."`
	Help       helpVerb       `cmd:"" help:"Print the help of a command, or the list of commands."`
	Completion completionVerb `cmd:"" help:"Print what switches on completion in bash, zsh or fish."`
	Unbatched  unbatched      `cmd:"" hidden:"" help:"Serve one transaction per order, as bench --compare measures."`
	Noop       noop           `cmd:"" hidden:"" help:"Serve the no-op handler that bench --ceiling measures."`
}

// Main runs the command line of this process and returns its exit code. version is the release, "" for none.
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
	parser, err := kong.New(&verbs{},
		kong.Name("orderflow"),
		kong.Description("Takes orders for limited stock: never oversold, never lost, never doubled."),
		kong.Writers(streams.Out, streams.Err),
		kong.Exit(func(code int) { exited = code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		config.Option(streams.Environ),
	)
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
		_, wrong := errors.AsType[usageError](err)
		switch said := errors.Is(err, errSaid); {
		case wrong && said:
			return exitUsage
		case wrong:
			return fail(streams, err, exitUsage)
		case said:
			return exitFailure
		}
		return fail(streams, err, exitFailure)
	}
	return exitOK
}

// errSaid ends a verb whose output has said already what is wrong.
var errSaid = errors.New("said already")

// usageError is a wrong argument that is found after parsing.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// fail prints an error as one line.
func fail(streams Streams, err error, code int) int {
	line := strings.Join(strings.Fields(err.Error()), " ")
	_, _ = fmt.Fprintln(streams.Err, "orderflow: "+line) // there is nowhere else to say it
	return code
}

type versionVerb struct{}

// Run prints the version.
func (versionVerb) Run(streams Streams) error {
	_, err := fmt.Fprintln(streams.Out, "orderflow "+streams.Version)
	return err
}

type helpVerb struct {
	Command []string `arg:"" optional:"" help:"The command, such as migrate up; without it, all commands are listed."`
}

// Run prints the help of a command.
func (h helpVerb) Run(ctx context.Context, streams Streams) error {
	if code := Run(ctx, append(h.Command, "--help"), streams); code != exitOK {
		return errHelp
	}
	return nil
}

// errHelp ends help for a command that does not exist; the error is printed already.
var errHelp = usageError{errSaid}
