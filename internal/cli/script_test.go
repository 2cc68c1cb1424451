package cli

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"orderflow/test/env"
)

// TestScripts tests the command line with the real binary, its output and its exit codes. testdata/script has a script per command or subject.
// Besides the commands of testscript they use those of scriptCommands.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", Cmds: scriptCommands(), RequireUniqueNames: true,
		Setup: func(script *testscript.Env) error {
			script.Setenv("PATH", filepath.Dir(binary())+string(os.PathListSeparator)+script.Getenv("PATH"))
			script.Setenv("VERSION", builtVersion)
			script.Setenv("BINARY", binary())
			script.Setenv("CHECKOUT", checkout)
			script.Values["servers"] = map[string]*background{}
			return nil
		},
	})
}

// scriptCommands are the additional commands of scripts:
//
//	refused CODE PATTERN ARG...  orderflow ARG... exits with CODE and prints only one line of error, which matches
//	serve NAME ARG...            starts orderflow serve on a free port, waits until it is ready, puts its address into $NAME
//	stop NAME                    stops that server with SIGTERM; it exits with 0. NAME.out and NAME.err have its output
//	post STATUS URL BODY         posts JSON, and prints the answer, which has this status
//	bearer STATUS TOKEN URL      gets URL with that token (- for none) until the answer has this status, and prints it
//	secret NAME FILE             puts the last line of FILE into $NAME
//	await PATTERN URL            gets URL until the answer matches
//	until PATTERN ARG...         runs orderflow ARG... until its output matches
//	sql FILE STATEMENT           changes an SQLite database directly
//	holds FILE KEY...            FILE is one JSON object that has these keys
func scriptCommands() map[string]func(ts *testscript.TestScript, neg bool, args []string) {
	all := map[string]func(ts *testscript.TestScript, args []string){
		"refused": refused, "serve": serveInScript, "stop": stopInScript, "post": post, "await": await, "until": until,
		"sql": change, "holds": holds, "bearer": bearer, "secret": secret,
	}
	least := map[string]int{"refused": 2, "serve": 1, "stop": 1, "post": 3, "await": 2, "until": 2, "sql": 2, "holds": 2, "bearer": 3, "secret": 2}
	commands := map[string]func(ts *testscript.TestScript, neg bool, args []string){}
	for name, command := range all {
		commands[name] = func(ts *testscript.TestScript, neg bool, args []string) {
			if neg || len(args) < least[name] {
				ts.Fatalf("%s takes no ! and at least %d arguments", name, least[name])
			}
			command(ts, args)
		}
	}
	return commands
}

func refused(ts *testscript.TestScript, args []string) {
	code, pattern := args[0], args[1]
	err := ts.Exec("orderflow", args[2:]...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		ts.Fatalf("ended with %v, not with exit code %s", err, code)
	}
	if got := strconv.Itoa(exit.ExitCode()); got != code {
		ts.Fatalf("exit code %s, want %s", got, code)
	}
	out, stderr := ts.ReadFile("stdout"), ts.ReadFile("stderr")
	if out != "" {
		ts.Fatalf("it printed output besides the error")
	}
	if strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "orderflow: ") || !strings.HasSuffix(stderr, "\n") || stackTrace(stderr) {
		ts.Fatalf("the error is not one line")
	}
	if !regexp.MustCompile("(?m)" + pattern).MatchString(stderr) {
		ts.Fatalf("the error does not match %s", pattern)
	}
}

func serversOf(ts *testscript.TestScript) map[string]*background {
	return ts.Value("servers").(map[string]*background)
}

func serveInScript(ts *testscript.TestScript, args []string) {
	name := args[0]
	server, err := startServer(ts.MkAbs("."), scriptEnv(ts), binary(), append([]string{"serve", "--addr", "127.0.0.1:0", "--realtime-addr", "127.0.0.1:0"}, args[1:]...)...)
	ts.Check(err)
	ts.Defer(func() { ts.Check(server.Kill()) })
	serversOf(ts)[name] = server
	ts.Setenv(name, "http://"+server.addr)
	ts.Setenv(name+"_addr", server.addr)
}

// scriptEnv returns the part of a script's environment that a server needs.
func scriptEnv(ts *testscript.TestScript) []string {
	return []string{"PATH=" + ts.Getenv("PATH"), "TMPDIR=" + ts.Getenv("TMPDIR"), "DATABASE_URL=" + ts.Getenv("DATABASE_URL")}
}

func stopInScript(ts *testscript.TestScript, args []string) {
	server := serversOf(ts)[args[0]]
	if server == nil {
		ts.Fatalf("no server is called %s", args[0])
	}
	result := server.stop(syscall.SIGTERM)
	out, stderr := server.Log.String(), server.stderr.String()
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".out"), []byte(out), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".err"), []byte(stderr), 0o600))
	if result != nil || stackTrace(out+stderr) {
		ts.Fatalf("the server ended with %v: %s", result, stderr)
	}
}

// exchange sends one request and returns the answer.
func exchange(method, url, body string, headers ...string) (status int, answer string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), env.Patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }() // read to its end, or the test fails
	data, err := io.ReadAll(response.Body)
	return response.StatusCode, string(data), err
}

func post(ts *testscript.TestScript, args []string) {
	status, answer, err := exchange(http.MethodPost, args[1], args[2])
	ts.Check(err)
	if strconv.Itoa(status) != args[0] {
		ts.Fatalf("status %d, want %s: %s", status, args[0], answer)
	}
	_, err = io.WriteString(ts.Stdout(), answer)
	ts.Check(err)
}

func bearer(ts *testscript.TestScript, args []string) {
	var headers []string
	if args[1] != "-" {
		headers = []string{"Authorization", "Bearer " + args[1]}
	}
	var answer string
	ts.Check(env.Poll(func() error {
		status, found, err := exchange(http.MethodGet, args[2], "", headers...)
		if answer = found; err == nil && strconv.Itoa(status) != args[0] {
			err = fmt.Errorf("status %d, want %s: %s", status, args[0], answer)
		}
		return err
	}))
	_, err := io.WriteString(ts.Stdout(), answer)
	ts.Check(err)
}

func secret(ts *testscript.TestScript, args []string) {
	lines := strings.Split(strings.TrimSpace(ts.ReadFile(args[1])), "\n")
	ts.Setenv(args[0], lines[len(lines)-1])
}

func await(ts *testscript.TestScript, args []string) {
	pattern := regexp.MustCompile(args[0])
	ts.Check(env.Poll(func() error {
		_, answer, err := exchange(http.MethodGet, args[1], "")
		if err == nil && !pattern.MatchString(answer) {
			err = fmt.Errorf("%s does not match %s", answer, pattern)
		}
		return err
	}))
}

func until(ts *testscript.TestScript, args []string) {
	pattern := regexp.MustCompile("(?m)" + args[0])
	ts.Check(env.Poll(func() error { // ts.Exec would log each try
		command := exec.Command(binary(), args[1:]...)
		command.Dir, command.Env = ts.MkAbs("."), scriptEnv(ts)
		out, err := command.CombinedOutput()
		if err == nil && !pattern.Match(out) {
			err = fmt.Errorf("%s does not match %s", out, pattern)
		}
		return err
	}))
	ts.Check(ts.Exec("orderflow", args[1:]...)) // for the commands that check stdout
}

// change uses the SQLite driver of the product.
func change(ts *testscript.TestScript, args []string) {
	db, err := sql.Open("sqlite", "file:"+ts.MkAbs(args[0])+"?mode=rw&_pragma=busy_timeout(5000)")
	ts.Check(err)
	_, err = db.Exec(args[1])
	ts.Check(errors.Join(err, db.Close()))
}

func holds(ts *testscript.TestScript, args []string) {
	decoder := json.NewDecoder(bytes.NewReader([]byte(ts.ReadFile(args[0]))))
	var object map[string]any
	ts.Check(decoder.Decode(&object))
	if decoder.More() {
		ts.Fatalf("%s has more than one JSON object", args[0])
	}
	for _, key := range args[1:] {
		if _, found := object[key]; !found {
			ts.Fatalf("%s has no %s", args[0], key)
		}
	}
}
