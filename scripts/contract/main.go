// Command contract calls every operation of a running server with clients that oapi-codegen and ogen made of its OpenAPI
// document: contract URL, with an admin's token in CONTRACT_TOKEN. An answer that a client cannot read is a failure.
package main

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"
)

// checks collects what the calls of one client came to.
type checks struct {
	client string
	called map[string]bool
	failed bool
}

// expect notes the call of an operation, which must have ended without an error and with an answer of this kind. Several
// kinds stand in want with " or " between them.
func (c *checks) expect(operation string, err error, got, want string) {
	c.called[operation] = true
	if err != nil || !slices.Contains(strings.Split(want, " or "), got) {
		c.failed = true
		fmt.Fprintf(os.Stderr, "%s: %s: answered %s, want %s; error: %v\n", c.client, operation, got, want, err)
	}
}

// missing is an id that no failed job has.
const missing = 9007199254740991

// complete fails for each operation of a client's interface that was not called. Names of methods may end in a suffix.
func (c *checks) complete(client reflect.Type, suffix string) {
	for i := range client.NumMethod() {
		name, ok := strings.CutSuffix(client.Method(i).Name, suffix)
		if ok && !strings.HasSuffix(name, "Body") && !c.called[name] {
			c.failed = true
			fmt.Fprintf(os.Stderr, "%s: %s was not called\n", c.client, name)
		}
	}
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if len(os.Args) != 2 || os.Getenv("CONTRACT_TOKEN") == "" {
		fmt.Fprintln(os.Stderr, "usage: CONTRACT_TOKEN=… contract URL")
		os.Exit(2)
	}
	failed := false
	for name, run := range map[string]func(context.Context, *checks, string, string) error{"oapi-codegen": callOapi, "ogen": callOgen} {
		c := &checks{client: name, called: map[string]bool{}}
		if err := run(ctx, c, os.Args[1], os.Getenv("CONTRACT_TOKEN")); err != nil {
			c.failed = true
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		}
		fmt.Printf("%s: %d operations called\n", name, len(c.called))
		failed = failed || c.failed
	}
	if failed {
		os.Exit(1)
	}
}
