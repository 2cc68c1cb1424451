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

// repository is the root of the checkout, seen from here.
const repository = "../.."

// shownProgram is a program of docs/realtime.md: a block of some language below a heading.
type shownProgram struct{ heading, language, text string }

// shownPrograms are all of them.
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

// The headings whose programs are run, with the languages that they are in.
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

// Every program in the document is run by a test below, or by those of internal/realtime.
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

// shown returns the program below a heading, with this server's addresses in place of those of the document.
func (s *site) shown(heading string) string {
	s.t.Helper()
	return atAddresses(s.t, heading, strings.TrimPrefix(s.url, "http://"), strings.TrimPrefix(s.live, "ws://"))
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

// What stands below the programs when they are run: the tests have to know when they listen.
const (
	pusherListens = "\norders.bind('pusher:subscription_succeeded', () => console.log('listening'))\n"
	echoListens   = "\necho.private('orders.1').subscribed(() => console.log('listening'))\n"
)

// run runs a program in Node, as a module in the folder of clients.
func runShown(t *testing.T, text string) *customer {
	t.Helper()
	return runNode(t, strings.NewReader(text), "--input-type=module", "-")
}

// Both programs for pages tell what became of an order, whatever that is.
func TestShownPagesInNode(t *testing.T) {
	t.Parallel()
	for heading, listens := range map[string]string{pusherJS: pusherListens, laravelEcho: echoListens} {
		t.Run(heading, func(t *testing.T) {
			t.Parallel()
			paying, declining := serve(t, nil), serve(t, func(set *config.Settings) { set.SimulatedSuccess = 0 })
			idle := serve(t, func(set *config.Settings) { set.Roles = config.Roles{API: true, Realtime: true} })
			for s, says := range map[*site]string{paying: "order 1 is paid: 999.99", declining: "order 1 failed: ", idle: "order 1 is cancelled"} {
				c := runShown(t, s.shown(heading)+listens)
				c.sees("listening")
				s.buy(1, "shown", 1, 1)
				if s == idle {
					s.cancel(1)
				}
				c.sees(says)
			}
		})
	}
}

// The same programs run in a page without a bundler, changed as the document says.
func TestShownPagesInABrowser(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	imports := regexp.MustCompile(`(?m)^import .*$`)
	for heading, listens := range map[string]string{pusherJS: pusherListens, laravelEcho: echoListens} {
		t.Run(heading, func(t *testing.T) {
			s, b := serve(t, nil), &browser{t, b.ctx}
			script := imports.ReplaceAllString(s.shown(heading), "") + listens
			p := b.open(newPages(t), "127.0.0.1", strings.ReplaceAll(script, "new Echo(", "new Echo.default("))
			p.sees("listening")
			s.buy(1, "shown", 1, 1)
			p.sees("order 1 is paid: 999.99")
		})
	}
	t.Run(eventSource, func(t *testing.T) {
		s, b := serve(t, nil), &browser{t, b.ctx}
		s.buy(1, "shown", 1, 1)
		p := b.open(newPages(t), "127.0.0.1", s.shown(eventSource)+"stream.onerror = () => console.log('state', stream.readyState)")
		for _, line := range []string{"OrderCreated 1-1", "OrderProcessing 1-2", "OrderPaid 1-3", "state 2"} {
			p.sees(line)
		}
	})
}

// The program with fetch hears all of an order, and what is left of it from any event on, where nobody is served without a
// token; in Node and in a page of another origin.
func TestShownFetch(t *testing.T) {
	t.Parallel()
	s := serve(t, authRequired)
	token := s.token(app.Token{UserID: 1})
	s.buyWith(token, 1, "shown")
	all := []string{"OrderCreated 1-1", "OrderProcessing 1-2", "OrderPaid 1-3"}
	program := func(token, last string) string {
		return fmt.Sprintf("const token = '%s'\nlet last = '%s'\ntry {\n%s} catch (e) { console.log(e.message) }\nconsole.log('end')\n", token, last, s.shown(withFetch))
	}
	heard := func(w *witness) []string {
		w.sees("end")
		return w.seen[:len(w.seen)-1]
	}
	for last, want := range map[string][]string{"": all, "1-1": all[1:], "1-2": all[2:], "1-3": {"status 204"}} {
		if heard := heard(runShown(t, program(token, last)).witness); !slices.Equal(heard, want) {
			t.Errorf("after %q it heard %q, want %q", last, heard, want)
		}
	}
	if heard := heard(runShown(t, program(s.token(app.Token{UserID: 2}), "")).witness); !slices.Equal(heard, []string{"status 404"}) {
		t.Errorf("another user heard %q", heard)
	}
	if heard := heard(newBrowser(t).open(newPages(t), "127.0.0.1", program(token, "")).witness); !slices.Equal(heard, all) {
		t.Errorf("in a page it heard %q", heard)
	}
}

// The program in Go publishes to a page.
func TestShownGo(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	c := s.customer("pusher.mjs", nil)
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
	if data := c.hears("news", "SaleStarts").Data; data["product"] != "Laptop" {
		t.Errorf("heard %v", data)
	}
}

// With the catch-up a page hears of every order once: of those before it came, those while it listens, and those while
// it was cut off.
func TestShownCatchUp(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	network, proxied := env.Proxy(t, s.live)
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
	c.sees("listening")
	c.sees(before)
	during := buy()
	c.sees(during)
	network.Cut()
	missed := buy()
	s.await(3, "PAID")
	network.Restore()
	c.sees("listening")
	c.sees(missed)
	after := buy()
	c.sees(after)
	for _, line := range []string{before, during, missed, after} {
		if n := c.count(line); n != 1 {
			t.Errorf("%q came %d times", line, n)
		}
	}
}

// Behind nginx, set up as the document says, both clients and event streams work, and nothing is held back.
func TestShownNginx(t *testing.T) {
	t.Parallel()
	s := serve(t, func(set *config.Settings) { set.Roles = config.Roles{API: true, Realtime: true} })
	server, err := servers.Nginx(t.Context(), env.Folder(t), s.shown(nginxLines))
	front := env.Started(t, server, err).Addr()
	for i, program := range []string{"pusher.mjs", "echo.mjs"} {
		c := s.customer(program, func(o *customerOptions) {
			o.Options, o.Endpoint = clientOptions(t, "ws://"+front), "http://"+front+"/broadcasting/auth"
		})
		c.subscribe("private-orders.1")
		id := s.buy(1, program, 1, 1).order().ID
		s.cancel(id)
		if data := c.hears("private-orders.1", "OrderCancelled").Data; data["order_id"] != float64(i+1) {
			t.Errorf("heard %v of order %d", data, id)
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
	var heard []string
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		event, found := strings.CutPrefix(lines.Text(), "event: ")
		if !found {
			continue
		}
		heard = append(heard, event)
		if event == "OrderCreated" { // it is here while the order goes on
			s.cancel(id)
		}
	}
	if !slices.Equal(heard, []string{"OrderCreated", "OrderCancelled"}) {
		t.Errorf("heard %q", heard)
	}
}
