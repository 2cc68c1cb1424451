package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"orderflow/internal/config"
	"orderflow/test/env"
)

// notRun lists the commands of the documents that TestDocuments does not run, with the reason and with what runs them.
var notRun = []struct{ command, reason, by string }{
	{"make test", "it runs this test", "make test"},
	{"make lint", "its first run builds the linters, which takes minutes", ".ci/run"},
	{"make setup", "it is for containers", "a test of test/deploy"},
	{"make up", "it needs Docker and images from a registry", "the job docker of .github/workflows/ci.yml"},
	{"docker build -t orderflow .", "the same", "the same"},
	{"docker run -p 127.0.0.1:8000:8000 -v orderflow:/data orderflow serve --auth optional --samples", "the same", "the same, and test/deploy without Docker"},
	{"docker compose exec app orderflow seed", "likewise", "the same"},
	{"curl -s http://127.0.0.1:8000/api/health", "it sends a request to the containers", "the same"},
	{"docker compose exec app orderflow token create --user alice@example.com", "it is for the containers", "the same"},
	{"docker compose exec app orderflow audit", "likewise", "the same"},
	{"make logs", "it runs until it is interrupted", "nothing"},
	{"make down", "it stops the containers", "the job docker of .github/workflows/ci.yml"},
	{"systemctl enable --now orderflow@api orderflow@worker orderflow@realtime", "it needs systemd", "test/deploy checks the units with systemd"},
	{"kubectl apply -f deploy/kubernetes/", "it needs a cluster", "test/deploy checks the manifests"},
	{"kubectl exec deploy/orderflow-api -- orderflow seed", "likewise", "the same"},
}

// isNotRun reports whether notRun has a command.
func isNotRun(command string) bool {
	return slices.ContainsFunc(notRun, func(n struct{ command, reason, by string }) bool { return n.command == command })
}

// volatile matches the JSON keys whose values differ between runs.
var volatile = regexp.MustCompile(`_at$|^timestamp$|^trace_id$|^actor$|^token$`)

// run lists the documents whose commands TestDocuments runs; runElsewhere those whose programs other tests run.
var (
	run          = []string{"README.md", "CONTRIBUTING.md", "deploy/README.md", "docs/payment-provider.md", "docs/quickstart.md", "docs/scale.md"}
	runElsewhere = map[string]string{
		"docs/integrate.md":          "internal/app: TestShownBackEnd, TestShownPaymentAdapter",
		"docs/realtime.md":           "internal/app: TestEveryProgramOfTheDocumentIsRun",
		"docs/operations/run.md":     "TestTestsInDocuments requires that each chapter names the test that runs its commands",
		"docs/operations/upgrade.md": "the same",
	}
)

// TestDocuments runs every command in the fenced blocks of the documents (sh: commands; console: commands after a $, and
// their answers), from top to bottom, in a checkout, with bash. Ports are replaced by free ones, the default database by a
// temporary file, MySQL and Redis by private servers. Loads are short, and the simulated gateway declines nothing, so that the
// answers are those on the page.
func TestDocuments(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Fatal("the documents use curl, and this test needs it: ", err)
	}
	left := map[string]bool{}
	for _, exception := range notRun {
		left[exception.command] = true
	}
	for _, name := range run {
		t.Run(name, func(t *testing.T) {
			reader := newReader(t)
			for _, c := range fenced(t, name) {
				if isNotRun(c.text) {
					delete(left, c.text)
					continue
				}
				reader.follow(t, c)
			}
			reader.leave(t)
		})
	}
	for command := range left {
		t.Errorf("no document has the command %q: remove it from notRun", command)
	}
}

// command is one command of a document; answers is its answer on the page, nil for none.
type command struct {
	line    int
	text    string
	answers []string
}

// fenced returns the commands of a document.
func fenced(t *testing.T, name string) (commands []command) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(repository, name))
	if err != nil {
		t.Fatal(err)
	}
	kind, open := "", false // open: the last command continues on the next line
	for i, line := range strings.Split(string(data), "\n") {
		fence, found := strings.CutPrefix(line, "```")
		switch {
		case found && kind == "":
			kind = fence
			if !slices.Contains([]string{"sh", "console", "text", "json", "js"}, kind) {
				t.Fatalf("%s:%d: a block is sh, console, text, json or js, not %q", name, i+1, kind)
			}
		case found:
			kind = ""
		case kind != "sh" && kind != "console":
		case open:
			last := &commands[len(commands)-1]
			last.text += "\n" + line
			open = goesOn(last.text)
		case kind == "console" && !strings.HasPrefix(line, "$ "):
			last := &commands[len(commands)-1]
			last.answers = append(last.answers, line)
		case strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "#"):
			text := strings.TrimPrefix(line, "$ ")
			if at := strings.Index(text, "   #"); at >= 0 { // a comment
				text = strings.TrimRight(text[:at], " ")
			}
			commands = append(commands, command{line: i + 1, text: text})
			open = goesOn(text)
		}
	}
	if kind != "" || open {
		t.Fatalf("%s ends within a block", name)
	}
	return commands
}

// goesOn reports whether a command is incomplete: a quote is open, or it ends with a backslash.
func goesOn(text string) bool {
	quote := rune(0)
	for _, r := range text {
		if quote == 0 && (r == '\'' || r == '"') {
			quote = r
		} else if r == quote {
			quote = 0
		}
	}
	return quote != 0 || strings.HasSuffix(text, `\`)
}

// reader runs the commands of a document.
type reader struct {
	env     []string
	servers []*background
	root    string            // replaces the folders of the system
	places  map[string]string // from the address of a server in the document to its address in this test
}

func newReader(t *testing.T) *reader {
	t.Helper()
	r := &reader{env: withoutSettings(os.Environ()), root: t.TempDir(), places: map[string]string{}}
	r.env = append(r.env, "ORDERFLOW_ADDR=127.0.0.1:0", "ORDERFLOW_REALTIME_ADDR=127.0.0.1:0", "DATABASE_URL=sqlite:"+filepath.Join(t.TempDir(), "orderflow.db"),
		"ORDERFLOW_SIMULATED_SUCCESS=1", "VERSION="+builtVersion, "TMPDIR="+t.TempDir())
	t.Cleanup(func() {
		for _, server := range r.servers {
			if err := server.Kill(); err != nil {
				t.Error(err)
			}
		}
	})
	return r
}

var (
	isServer = regexp.MustCompile(`^(make run|bin/orderflow serve)\b`)
	isBench  = regexp.MustCompile(`^bin/orderflow bench\b`)
	duration = regexp.MustCompile(` --duration \S+`)
	isExport = regexp.MustCompile(`^export `)
	local    = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	// installed matches a folder of the system.
	installed = regexp.MustCompile(` (/(?:usr|etc)/)`)
)

// follow runs one command and compares its answer with the document's.
func (r *reader) follow(t *testing.T, c command) {
	t.Helper()
	switch {
	case isServer.MatchString(c.text):
		r.serve(t, c)
		return
	case isExport.MatchString(c.text):
		r.export(t, c)
		return
	}
	text := local.ReplaceAllStringFunc(c.text, func(place string) string {
		if r.places[place] == "" {
			t.Fatalf("line %d: %s: the document starts no server on %s", c.line, c.text, place)
		}
		return r.places[place]
	})
	text = installed.ReplaceAllString(text, " "+r.root+"$1")
	if isBench.MatchString(text) {
		text = duration.ReplaceAllString(text, "") + " --duration 300ms"
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*env.Patience)
	defer cancel()
	shell := exec.CommandContext(ctx, "bash", "-o", "pipefail", "-c", text)
	shell.Dir, shell.Env = checkout, r.env
	var out, said strings.Builder
	shell.Stdout, shell.Stderr = &out, &said
	if err := shell.Run(); err != nil {
		t.Fatalf("line %d: %s: %v: %s%s", c.line, text, err, out.String(), said.String())
	}
	if stackTrace(out.String() + said.String()) {
		t.Errorf("line %d: %s: printed a stack trace: %s%s", c.line, text, out.String(), said.String())
	}
	if c.answers == nil {
		return
	}
	if fault := sameAnswer(c.answers, strings.Split(strings.TrimRight(out.String(), "\r\n"), "\n")); fault != "" {
		t.Errorf("line %d: %s: %s", c.line, c.text, fault)
	}
}

// export sets variables for all later commands, with private servers in place of those on the page.
func (r *reader) export(t *testing.T, c command) {
	t.Helper()
	for _, assignment := range strings.Fields(c.text)[1:] {
		switch name, _, _ := strings.Cut(assignment, "="); name {
		case "DATABASE_URL":
			r.env = append(r.env, name+"="+env.MySQL(t))
		case "REDIS_URL":
			address, prefix := env.Redis(t)
			r.env = append(r.env, name+"="+address, "REDIS_PREFIX="+prefix)
		default:
			t.Fatalf("line %d: %s: this test has no value for %s", c.line, c.text, name)
		}
	}
}

// serve starts a server of the document, on a free port.
func (r *reader) serve(t *testing.T, c command) {
	t.Helper()
	place := local.FindString(c.text)
	if place == "" {
		place = string(config.Defaults().Addr)
	}
	server, err := startServer(checkout, r.env, "bash", "-c", local.ReplaceAllString(c.text, "127.0.0.1:0"))
	if err != nil {
		t.Fatalf("line %d: %s: %v", c.line, c.text, err)
	}
	r.servers = append(r.servers, server)
	r.places[place] = server.addr
}

// leave stops the servers as Ctrl-C does. (The exit code is that of make, which was interrupted too.)
func (r *reader) leave(t *testing.T) {
	t.Helper()
	for _, server := range r.servers {
		_ = server.stop(syscall.SIGINT)
		if text := server.Log.String() + server.stderr.String(); stackTrace(text) {
			t.Errorf("a server printed a stack trace: %s", text)
		}
	}
}

// sameAnswer returns how an answer differs from the one in the document, "" for not at all. Lines of JSON, also in an event
// stream, may differ in volatile values.
func sameAnswer(want, got []string) string {
	for len(want) > 0 && want[len(want)-1] == "" {
		want = want[:len(want)-1]
	}
	if len(want) != len(got) {
		return fmt.Sprintf("the answer has %d lines, the document %d: %s", len(got), len(want), strings.Join(got, "\n"))
	}
	for i := range want {
		got := strings.TrimRight(got[i], "\r")
		var wantJSON, gotJSON any
		if json.Unmarshal([]byte(strings.TrimPrefix(want[i], "data: ")), &wantJSON) != nil {
			if want[i] != got {
				return fmt.Sprintf("the answer is %q, in the document %q", got, want[i])
			}
			continue
		}
		if err := json.Unmarshal([]byte(strings.TrimPrefix(got, "data: ")), &gotJSON); err != nil {
			return fmt.Sprintf("%q is not JSON: %v", got, err)
		}
		if fault := sameJSON("", "", wantJSON, gotJSON); fault != "" {
			return fmt.Sprintf("%s in %s", fault, got)
		}
	}
	return ""
}

// sameJSON returns where two values differ, "" for nowhere. Volatile values need only have the same type.
func sameJSON(path, key string, want, got any) string {
	switch want := want.(type) {
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok || len(object) != len(want) {
			return fmt.Sprintf("the keys of %s differ from the document", path)
		}
		for name, value := range want {
			inner, found := object[name]
			if !found {
				return fmt.Sprintf("%s has no key %s", path, name)
			}
			if fault := sameJSON(path+"/"+name, name, value, inner); fault != "" {
				return fault
			}
		}
		return ""
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(want) {
			return fmt.Sprintf("%s is not a list of %d as in the document", path, len(want))
		}
		for i := range want {
			if fault := sameJSON(fmt.Sprintf("%s/%d", path, i), "", want[i], list[i]); fault != "" {
				return fault
			}
		}
		return ""
	}
	same := reflect.DeepEqual(want, got)
	if volatile.MatchString(key) {
		same = reflect.TypeOf(want) == reflect.TypeOf(got)
	}
	if !same {
		return fmt.Sprintf("%s is %v, in the document %v", path, got, want)
	}
	return ""
}

func TestSameAnswer(t *testing.T) {
	const order = `{"data":{"id":1,"total":"1.00","created_at":"2026-01-01","items":[{"product_id":2}]}}`
	for name, c := range map[string]struct {
		got  string
		same bool
	}{
		"the same":         {order, true},
		"another time":     {strings.Replace(order, "2026-01-01", "2027-02-02", 1), true},
		"no time":          {strings.Replace(order, `"2026-01-01"`, "null", 1), false},
		"another total":    {strings.Replace(order, "1.00", "2.00", 1), false},
		"a key more":       {strings.Replace(order, `"id":1`, `"id":1,"x":2`, 1), false},
		"another key":      {strings.Replace(order, "total", "sum", 1), false},
		"more items":       {strings.Replace(order, `{"product_id":2}`, `{"product_id":2},{"product_id":3}`, 1), false},
		"no JSON":          {"oops", false},
		"more lines":       {order + "\nmore", false},
		"nothing at all":   {"", false},
		"a line of stream": {"data: " + order, true},
	} {
		if fault := sameAnswer([]string{order, ""}, strings.Split(c.got, "\n")); (fault == "") != c.same {
			t.Errorf("%s: %q", name, fault)
		}
	}
	if fault := sameAnswer([]string{"HTTP/1.1 200 OK"}, []string{"HTTP/1.1 201 Created\r"}); fault == "" {
		t.Error("201 passes for 200")
	}
}
