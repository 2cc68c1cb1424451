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

// notRun are the commands of the documents that TestDocuments does not run: each with the reason, and with what does.
var notRun = []struct{ command, reason, by string }{
	{"make test", "it runs this test", "make test"},
	{"make lint", "its first run builds the linters, which takes minutes", ".ci/run"},
	{"make setup", "it is for containers; a test of its own runs it", "test/deploy"},
	{"make up", "it needs Docker and images from elsewhere", "the job docker of .github/workflows/ci.yml"},
	{"docker build -t orderflow .", "the same", "the same"},
	{"docker run -p 127.0.0.1:8000:8000 -v orderflow:/data orderflow serve --auth optional --samples", "the same", "the same, and test/deploy without Docker"},
	{"docker compose exec app orderflow seed", "likewise", "the same"},
	{"curl -s http://127.0.0.1:8000/api/health", "it asks the containers", "the same"},
	{"docker compose exec app orderflow token create --user alice@example.com", "it is for the containers", "the same"},
	{"docker compose exec app orderflow audit", "likewise", "the same"},
	{"make logs", "it goes on until it is interrupted", "who looks after the containers"},
	{"make down", "it ends the containers", "the job docker of .github/workflows/ci.yml"},
	{"systemctl enable --now orderflow@api orderflow@worker orderflow@realtime", "it needs a machine that systemd runs", "test/deploy, as far as systemd judges units"},
	{"kubectl apply -f deploy/kubernetes/", "it needs a cluster", "test/deploy, as far as the manifests can be judged"},
	{"kubectl exec deploy/orderflow-api -- orderflow seed", "likewise", "the same"},
}

// isNotRun reports whether a command is one of these.
func isNotRun(command string) bool {
	return slices.ContainsFunc(notRun, func(n struct{ command, reason, by string }) bool { return n.command == command })
}

// volatile are the keys whose values differ from run to run.
var volatile = regexp.MustCompile(`_at$|^timestamp$|^trace_id$|^actor$|^token$`)

// run are the documents whose commands TestDocuments runs, and runElsewhere those whose programs other tests run.
var (
	run          = []string{"README.md", "CONTRIBUTING.md", "deploy/README.md", "docs/payment-provider.md", "docs/quickstart.md", "docs/scale.md"}
	runElsewhere = map[string]string{
		"docs/integrate.md":          "internal/app: TestShownBackEnd",
		"docs/realtime.md":           "internal/app: TestEveryProgramOfTheDocumentIsRun",
		"docs/operations/run.md":     "TestTestsInDocuments requires that each chapter names the test that runs its commands",
		"docs/operations/upgrade.md": "the same",
	}
)

// TestDocuments runs every command in the fenced blocks of the documents (sh: commands; console: commands
// behind a $, and what they answer), in order, as a reader would from top to bottom: in a checkout, with bash. What would
// disturb others is put elsewhere: ports are free ones, the default database is a temporary file, MySQL and Redis are
// private ones, loads are short, and the simulated bank declines nothing, so that the answers are those on the page.
func TestDocuments(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Fatal("the documents use curl, so this test needs it: ", err)
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
		t.Errorf("%q stands in no document any more: strike it from the list of what is not run", command)
	}
}

// command is one command of a document, with what the document says it answers; nil when it says nothing.
type command struct {
	line    int
	text    string
	answers []string
}

// fenced reads the commands of a document.
func fenced(t *testing.T, name string) (commands []command) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(repository, name))
	if err != nil {
		t.Fatal(err)
	}
	kind, open := "", false // open: the last command goes on in the next line
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
			if at := strings.Index(text, "   #"); at >= 0 { // a remark
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

// goesOn reports whether a command is not at its end: a quote is open, or a backslash is the last of it.
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

// reader does what a document says.
type reader struct {
	env     []string
	servers []*background
	root    string            // stands for the system's own
	places  map[string]string // from the address that a document gives a server to the one that it has here
}

func newReader(t *testing.T) *reader {
	t.Helper()
	r := &reader{env: withoutSettings(os.Environ()), root: t.TempDir(), places: map[string]string{}}
	r.env = append(r.env, "ORDERFLOW_ADDR=127.0.0.1:0", "ORDERFLOW_REALTIME_ADDR=127.0.0.1:0", "DATABASE_URL=sqlite:"+filepath.Join(t.TempDir(), "orderflow.db"),
		"ORDERFLOW_SIMULATED_SUCCESS=1", "VERSION="+builtVersion, "TMPDIR="+t.TempDir())
	t.Cleanup(func() {
		for _, server := range r.servers {
			if err := server.kill(); err != nil {
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
	// installed is a folder of the system's.
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
			t.Fatalf("line %d: %s: the document has started no server on %s", c.line, c.text, place)
		}
		return r.places[place]
	})
	text = installed.ReplaceAllString(text, " "+r.root+"$1")
	if isBench.MatchString(text) {
		text = duration.ReplaceAllString(text, "") + " --duration 300ms"
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
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

// export sets variables for all commands that follow. The servers that they name are private ones here.
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
			t.Fatalf("line %d: %s: this test does not know what to put into %s", c.line, c.text, name)
		}
	}
}

// serve starts a server that the document starts, on a free port.
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
	r.places[place] = strings.TrimPrefix(server.url, "http://")
}

// leave ends the servers as Ctrl-C does. (The exit code is make's, which was interrupted too.)
func (r *reader) leave(t *testing.T) {
	t.Helper()
	for _, server := range r.servers {
		_ = server.stop(syscall.SIGINT)
		if text := server.out.String() + server.err.String(); stackTrace(text) {
			t.Errorf("a server printed a stack trace: %s", text)
		}
	}
}

// sameAnswer says how an answer differs from the one in the document: lines of JSON, of a stream too, may differ in
// volatile values, other lines in nothing.
func sameAnswer(want, got []string) string {
	for len(want) > 0 && want[len(want)-1] == "" {
		want = want[:len(want)-1]
	}
	if len(want) != len(got) {
		return fmt.Sprintf("%d lines, and %d in the document: %s", len(got), len(want), strings.Join(got, "\n"))
	}
	for i := range want {
		got := strings.TrimRight(got[i], "\r")
		var wantJSON, gotJSON any
		if json.Unmarshal([]byte(strings.TrimPrefix(want[i], "data: ")), &wantJSON) != nil {
			if want[i] != got {
				return fmt.Sprintf("%q, and %q in the document", got, want[i])
			}
			continue
		}
		if err := json.Unmarshal([]byte(strings.TrimPrefix(got, "data: ")), &gotJSON); err != nil {
			return fmt.Sprintf("%q is no JSON: %v", got, err)
		}
		if fault := sameJSON("", "", wantJSON, gotJSON); fault != "" {
			return fmt.Sprintf("%s in %s", fault, got)
		}
	}
	return ""
}

// sameJSON says where two values differ other than in volatile values, which need only be of the same type.
func sameJSON(path, key string, want, got any) string {
	switch want := want.(type) {
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok || len(object) != len(want) {
			return fmt.Sprintf("%s has other keys than in the document", path)
		}
		for name, value := range want {
			inner, found := object[name]
			if !found {
				return fmt.Sprintf("%s has no %s", path, name)
			}
			if fault := sameJSON(path+"/"+name, name, value, inner); fault != "" {
				return fault
			}
		}
		return ""
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(want) {
			return fmt.Sprintf("%s is not the list of %d that it is in the document", path, len(want))
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
		return fmt.Sprintf("%s is %v, and %v in the document", path, got, want)
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
