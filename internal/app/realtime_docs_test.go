package app_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"orderflow/internal/app"
	"orderflow/internal/config"
	"orderflow/test/env"
	"orderflow/test/servers"
)

// repository is the path of the root of the repository.
const repository = "../.."

// shownProgram is a program in docs/realtime.md: a block of a language below a heading.
type shownProgram struct{ heading, language, text string }

// shownPrograms returns the programs of the page.
func shownPrograms(t *testing.T) (programs []shownProgram) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, "docs", "realtime.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range regexp.MustCompile("(?ms)^## (.*?)$|^```(\\w+)\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		if match[1] != "" {
			programs = append(programs, shownProgram{heading: match[1]})
			continue
		}
		last := &programs[len(programs)-1]
		if last.language != "" {
			t.Fatalf("there are two programs below %q: these tests would run one of them", last.heading)
		}
		last.language, last.text = match[2], match[3]
	}
	return slices.DeleteFunc(programs, func(p shownProgram) bool { return p.language == "" })
}

// The headings whose programs are run, and their languages.
const (
	pusherJS    = "A page with pusher-js"
	laravelEcho = "A page with laravel-echo"
	eventSource = "One order with EventSource"
	withFetch   = "One order with fetch and a bearer token"
	inGo        = "Publish from another back end"
	dataOfEvent = "Events"
	catchUp     = "Catch-up"
	nginxLines  = "Behind nginx"
)

// A test below, or one of internal/realtime, runs every program of the page.
func TestEveryProgramOfTheDocumentIsRun(t *testing.T) {
	t.Parallel()
	var found []string
	for _, p := range shownPrograms(t) {
		found = append(found, p.language+": "+p.heading)
	}
	if run := []string{
		"js: " + pusherJS, "js: " + laravelEcho, "js: " + eventSource, "js: " + withFetch, "go: " + inGo, "json: " + dataOfEvent,
		"js: " + catchUp, "nginx: " + nginxLines,
	}; !slices.Equal(found, run) {
		t.Errorf("docs/realtime.md has the programs %q, and these tests run %q", found, run)
	}
}

// shown returns the program below a heading, with the addresses of this server.
func (s *testServer) shown(heading string) string {
	s.t.Helper()
	return atAddresses(s.t, heading, strings.TrimPrefix(s.url, "http://"), strings.TrimPrefix(s.realtimeURL, "ws://"))
}

func atAddresses(t *testing.T, heading, api, sockets string) string {
	t.Helper()
	for _, p := range shownPrograms(t) {
		if p.heading == heading {
			_, port, _ := strings.Cut(sockets, ":")
			return strings.NewReplacer("127.0.0.1:8000", api, "127.0.0.1:8080", sockets, "wsPort: 8080", "wsPort: "+port).Replace(p.text)
		}
	}
	t.Fatalf("docs/realtime.md has no program below %q", heading)
	return ""
}

// Code that the tests append to the programs, so that they print when they are subscribed.
const (
	pusherListens = "\norders.bind('pusher:subscription_succeeded', () => console.log('listening'))\n"
	echoListens   = "\necho.private('orders.1').subscribed(() => console.log('listening'))\n"
)

// runShown runs a program in Node, as a module in the folder of the clients.
func runShown(t *testing.T, text string) *nodeClient {
	t.Helper()
	return runNode(t, strings.NewReader(text), "--input-type=module", "-")
}

// Both programs for pages print the result of an order.
func TestShownPagesInNode(t *testing.T) {
	t.Parallel()
	for heading, listens := range map[string]string{pusherJS: pusherListens, laravelEcho: echoListens} {
		t.Run(heading, func(t *testing.T) {
			t.Parallel()
			paying, declining := serve(t, nil), serve(t, func(set *config.Settings) { set.SimulatedSuccess = 0 })
			idle := serve(t, func(set *config.Settings) { set.Roles = config.Roles{API: true, Realtime: true} })
			for s, says := range map[*testServer]string{paying: "order 1 is paid: 999.99", declining: "order 1 failed: ", idle: "order 1 is cancelled"} {
				c := runShown(t, s.shown(heading)+listens)
				c.awaitLine("listening")
				s.buy(1, "shown", 1, 1)
				if s == idle {
					s.cancel(1)
				}
				c.awaitLine(says)
			}
		})
	}
}

// The same programs run in a page without a bundler, with the changes on the page.
func TestShownPagesInABrowser(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	imports := regexp.MustCompile(`(?m)^import .*$`)
	for heading, listens := range map[string]string{pusherJS: pusherListens, laravelEcho: echoListens} {
		t.Run(heading, func(t *testing.T) {
			s, b := serve(t, nil), &browser{t, b.ctx}
			script := imports.ReplaceAllString(s.shown(heading), "") + listens
			p := b.open(newPages(t), "127.0.0.1", strings.ReplaceAll(script, "new Echo(", "new Echo.default("))
			p.awaitLine("listening")
			s.buy(1, "shown", 1, 1)
			p.awaitLine("order 1 is paid: 999.99")
		})
	}
	t.Run(eventSource, func(t *testing.T) {
		s, b := serve(t, nil), &browser{t, b.ctx}
		s.buy(1, "shown", 1, 1)
		p := b.open(newPages(t), "127.0.0.1", s.shown(eventSource)+"stream.onerror = () => console.log('state', stream.readyState)")
		for _, line := range []string{"OrderCreated 1-1", "OrderProcessing 1-2", "OrderPaid 1-3", "state 2"} {
			p.awaitLine(line)
		}
	})
}

// The program with fetch receives all events of an order, or those after any event, with --auth required: in Node and in a page of another
// origin.
func TestShownFetch(t *testing.T) {
	t.Parallel()
	s := serve(t, authRequired)
	token := s.token(app.Token{UserID: 1})
	s.buyWith(token, 1, "shown")
	all := []string{"OrderCreated 1-1", "OrderProcessing 1-2", "OrderPaid 1-3"}
	program := func(token, last string) string {
		return fmt.Sprintf("const token = '%s'\nlet last = '%s'\ntry {\n%s} catch (e) { console.log(e.message) }\nconsole.log('end')\n", token, last, s.shown(withFetch))
	}
	read := func(w *observer) []string {
		w.awaitLine("end")
		return w.seen[:len(w.seen)-1]
	}
	for last, want := range map[string][]string{"": all, "1-1": all[1:], "1-2": all[2:], "1-3": {"status 204"}} {
		if received := read(runShown(t, program(token, last)).observer); !slices.Equal(received, want) {
			t.Errorf("after %q it received %q, want %q", last, received, want)
		}
	}
	if received := read(runShown(t, program(s.token(app.Token{UserID: 2}), "")).observer); !slices.Equal(received, []string{"status 404"}) {
		t.Errorf("another user received %q", received)
	}
	if received := read(newBrowser(t).open(newPages(t), "127.0.0.1", program(token, "")).observer); !slices.Equal(received, all) {
		t.Errorf("in a page it received %q", received)
	}
}

// The program in Go publishes to a page.
func TestShownGo(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	c := s.startClient("pusher.mjs", nil)
	c.subscribe("news")
	program := "package main\n\nimport (\n\t\"fmt\"\n\t\"os\"\n\n\t\"github.com/pusher/pusher-http-go/v5\"\n)\n\nfunc main() {\n" + s.shown(inGo) + "}\n"
	file := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(file, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	run := exec.CommandContext(ctx, "go", "run", file)
	run.Dir = repository
	run.Env = append(os.Environ(), "ORDERFLOW_REALTIME_SECRET="+s.settings.RealtimeSecret.Reveal())
	if out, err := run.CombinedOutput(); err != nil || string(out) != "published: true\n" {
		t.Fatalf("%v: %s", err, out)
	}
	if data := c.awaitEvent("news", "SaleStarts").Data; data["product"] != "Laptop" {
		t.Errorf("received %v", data)
	}
}

// With the catch-up a page receives every order once: those before it was opened, those while it is connected, and those while it was
// disconnected.
func TestShownCatchUp(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	network, proxied := env.Proxy(t, s.realtimeURL)
	at := func(heading string) string {
		return atAddresses(t, heading, strings.TrimPrefix(s.url, "http://"), strings.TrimPrefix(proxied, "ws://"))
	}
	buy := func() string {
		o := s.buy(1, fmt.Sprint(len(s.get("/api/v1/orders?user_id=1").body)), 1, 1).order()
		return fmt.Sprintf("received OrderPaid of order %d", o.ID)
	}
	before := buy()
	s.await(1, "PAID")
	c := runShown(t, at(pusherJS)+at(catchUp)+pusherListens)
	c.awaitLine("listening")
	c.awaitLine(before)
	during := buy()
	c.awaitLine(during)
	network.Cut()
	missed := buy()
	s.await(3, "PAID")
	network.Restore()
	c.awaitLine("listening")
	c.awaitLine(missed)
	after := buy()
	c.awaitLine(after)
	for _, line := range []string{before, during, missed, after} {
		if n := c.countLines(line); n != 1 {
			t.Errorf("%q came %d times", line, n)
		}
	}
}

// Both clients and event streams work behind nginx with the configuration on the page, without buffering.
func TestShownNginx(t *testing.T) {
	t.Parallel()
	s := serve(t, func(set *config.Settings) { set.Roles = config.Roles{API: true, Realtime: true} })
	server, err := servers.Nginx(t.Context(), env.Folder(t), s.shown(nginxLines))
	front := env.Started(t, server, err).Addr()
	for i, program := range []string{"pusher.mjs", "echo.mjs"} {
		c := s.startClient(program, func(o *nodeOptions) {
			o.Options, o.Endpoint = clientOptions(t, "ws://"+front), "http://"+front+"/broadcasting/auth"
		})
		c.subscribe("private-orders.1")
		id := s.buy(1, program, 1, 1).order().ID
		s.cancel(id)
		if data := c.awaitEvent("private-orders.1", "OrderCancelled").Data; data["order_id"] != float64(i+1) {
			t.Errorf("received %v of order %d", data, id)
		}
	}
	id := s.buy(1, "stream", 1, 1).order().ID
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://%s/api/v1/orders/%d/events", front, id), nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "text/event-stream")
	response, err := s.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var received []string
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		event, found := strings.CutPrefix(lines.Text(), "event: ")
		if !found {
			continue
		}
		received = append(received, event)
		if event == "OrderCreated" { // it arrives before the order is finished
			s.cancel(id)
		}
	}
	if !slices.Equal(received, []string{"OrderCreated", "OrderCancelled"}) {
		t.Errorf("received %q", received)
	}
}
