package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"orderflow/internal/config"
	"orderflow/test/env"
)

// browser is a headless Chromium or Chrome with a profile of its own. It ends with the test.
type browser struct {
	t   *testing.T
	ctx context.Context
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil && path == "" {
			path = found
		}
	}
	if path == "" {
		t.Fatal("the tests with a real browser need Chromium; scripts/test-deps.sh installs it")
	}
	ctx, closed := chromedp.NewContext(context.WithoutCancel(t.Context()), chromedp.WithAllocatorOptions(
		chromedp.ExecPath(path), chromedp.WSURLReadTimeout(patience),
		chromedp.Flag("no-sandbox", true), chromedp.Flag("disable-gpu", true), // works as root and without a screen
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-quic", true), chromedp.Flag("no-proxy-server", true),
		chromedp.Flag("host-resolver-rules", "MAP *.example 127.0.0.1"), // hosts of pages of other origins
	))
	t.Cleanup(closed)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("the browser does not start: %v", err)
	}
	return &browser{t, ctx}
}

// page is a page in a browser. Its observer reads the console.
type page struct {
	*observer
	ctx context.Context
}

// pages is a web server for pages with a script, and for the browser builds of the clients.
type pages struct {
	server *httptest.Server
	script string
}

// newPages starts a web server for one page, whose script is set later.
func newPages(t *testing.T) *pages {
	t.Helper()
	p := &pages{}
	mux := http.NewServeMux()
	mux.Handle("/modules/", http.StripPrefix("/modules/", http.FileServer(http.Dir(filepath.Join(filepath.FromSlash(clientsFolder), "node_modules")))))
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprintf(w, `<!doctype html><title>Shop</title><link rel="icon" href="data:,"><h1>Your orders</h1><output></output>
<script src="/modules/pusher-js/dist/web/pusher.min.js"></script><script src="/modules/laravel-echo/dist/echo.iife.js"></script>
<script type="module">%s</script>`, p.script)
	})
	p.server = httptest.NewServer(mux)
	t.Cleanup(p.server.Close)
	return p
}

// origin returns the origin of the pages under a host name.
func (p *pages) origin(host string) string {
	_, port, _ := strings.Cut(strings.TrimPrefix(p.server.URL, "http://"), ":")
	return "http://" + host + ":" + port
}

// open opens a page with a script under a host name.
func (b *browser) open(from *pages, host, script string) *page {
	b.t.Helper()
	from.script = script
	p := b.tab()
	if err := chromedp.Do(p.ctx, chromedp.Navigate(from.origin(host)+"/")); err != nil {
		b.t.Fatal(err)
	}
	return p
}

// tab opens an empty tab and reads its console.
func (b *browser) tab() *page {
	b.t.Helper()
	ctx, closed := chromedp.NewContext(b.ctx)
	p := &page{&observer{t: b.t, lines: make(chan string, 1000)}, ctx}
	if err := chromedp.Do(ctx); err != nil { // creates the tab, so that no message is missed
		b.t.Fatal(err)
	}
	said, ended := chromedp.Console(ctx), make(chan struct{})
	b.t.Cleanup(func() {
		closed()
		<-ended
	})
	go func() {
		defer close(ended)
		for message, err := range said {
			if err != nil {
				return // the tab is closed
			}
			select {
			case p.lines <- message.Text:
			default: // a test reads less than a page writes
			}
		}
	}()
	return p
}

// awaitText waits until the page shows a text.
func (p *page) awaitText(text string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	showing := fmt.Sprintf("document.body.innerText.includes(%q)", text)
	if _, err := chromedp.Run(ctx, chromedp.Poll[bool](showing, chromedp.WithPollingTimeout(0), chromedp.WithPollingMutation())); err != nil {
		p.t.Fatalf("the page does not show %q: %v", text, err)
	}
}

// script returns a script with the addresses of the server as constants.
func (s *testServer) script(text string) string {
	options, err := json.Marshal(clientOptions(s.t, s.realtimeURL))
	if err != nil {
		s.t.Fatal(err)
	}
	return fmt.Sprintf("const api = %q, key = %q, options = %s\nconst show = (text) => document.querySelector('output').append(text, ' · ')\n%s",
		s.url, s.settings.RealtimeKey, options, text)
}

const (
	pusherPage = `
const pusher = new Pusher(key, { ...options, channelAuthorization: { transport: 'ajax', endpoint: api + '/broadcasting/auth' } })
pusher.connection.bind('state_change', ({ current }) => console.log('state', current))
pusher.connection.bind('error', ({ error }) => console.log('error', error?.data?.code))
for (const name of ['private-orders.1', 'private-cache-orders.1']) {
  const channel = pusher.subscribe(name)
  channel.bind('pusher:subscription_succeeded', () => console.log('listens to', name))
  channel.bind('pusher:subscription_error', ({ status }) => console.log('refused', name, status))
  channel.bind('OrderPaid', (event) => show(name + ': order ' + event.order_id + ' is ' + event.status))
}`
	echoPage = `
const echo = new Echo.default({ broadcaster: 'reverb', key, ...options, authEndpoint: api + '/broadcasting/auth' })
for (const name of ['orders.1', 'cache-orders.1']) {
  echo.private(name)
    .subscribed(() => console.log('listens to', 'private-' + name))
    .error(({ status }) => console.log('refused', 'private-' + name, status))
    .listen('.OrderPaid', (event) => show('private-' + name + ': order ' + event.order_id + ' is ' + event.status))
}`
	streamPage = `
const stream = new EventSource(api + '/api/v1/orders/1/events')
stream.onerror = () => console.log('state', stream.readyState)
for (const type of ['OrderCreated', 'OrderProcessing', 'OrderPaid', 'OrderFailed', 'OrderCancelled']) {
  stream.addEventListener(type, (message) => { console.log(type, message.lastEventId); show(type) })
}`
)

// In a real browser a page of another origin on this machine receives the event of a paid order, with both clients.
func TestBrowserHearsOfAPaidOrder(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	for name, script := range map[string]string{"pusher-js": pusherPage, "laravel-echo": echoPage} {
		t.Run(name, func(t *testing.T) {
			s, b := serve(t, nil), &browser{t, b.ctx}
			p := b.open(newPages(t), "127.0.0.1", s.script(script))
			for range 2 { // in either order
				p.awaitLine("listens to")
			}
			id := s.buy(1, "live", 1, 1).order().ID
			p.awaitText(fmt.Sprintf("private-orders.1: order %d is PAID", id))
			p.awaitText(fmt.Sprintf("private-cache-orders.1: order %d is PAID", id))
			late := b.open(newPages(t), "localhost", s.script(script)) // receives the last event live
			late.awaitText(fmt.Sprintf("private-cache-orders.1: order %d is PAID", id))
		})
	}
}

// A page of a refused origin gets the reason and does not reconnect; a page of an allowed origin connects.
func TestBrowserPagesOfOtherOrigins(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	from := newPages(t)
	open := serve(t, nil)
	listed := serve(t, func(set *config.Settings) { set.AllowedOrigins = []string{from.origin("shop.example")} })
	refused := func(p *page) {
		t.Helper()
		p.awaitLine("error 4009")
		p.awaitLine("state disconnected")
		if p.countLines("listens to") > 0 {
			t.Error("it connected")
		}
	}
	refused(b.open(from, "evil.example", open.script(pusherPage)))
	refused(b.open(from, "evil.example", listed.script(pusherPage)))
	refused(b.open(from, "127.0.0.1", listed.script(pusherPage))) // a list replaces the default
	p := b.open(from, "shop.example", listed.script(pusherPage))
	p.awaitLine("listens to private-orders.1")
	id := listed.buy(1, "live", 1, 1).order().ID
	p.awaitText(fmt.Sprintf("private-orders.1: order %d is PAID", id))
}

// An EventSource receives all events of an order in sequence, and stops after the last one.
func TestBrowserStreamsAnOrder(t *testing.T) {
	t.Parallel()
	s, b := serve(t, nil), newBrowser(t)
	s.buy(1, "stream", 1, 1)
	p := b.open(newPages(t), "127.0.0.1", s.script(streamPage))
	p.awaitLine("OrderCreated 1-1")
	p.awaitLine("OrderProcessing 1-2")
	p.awaitLine("OrderPaid 1-3")
	p.awaitLine("state 0") // it connects again, after a second, and gets 204
	p.awaitLine("state 2")
	if n := p.countLines("Order"); n != 3 {
		t.Errorf("it received %d events:\n%s", n, strings.Join(p.seen, "\n"))
	}
}

// A broken stream continues after its last event.
func TestBrowserStreamsAcrossACut(t *testing.T) {
	t.Parallel()
	s, b := serve(t, func(set *config.Settings) { set.Roles = config.Roles{API: true, Realtime: true} }), newBrowser(t)
	network, proxied := env.Proxy(t, s.url)
	s.buy(1, "stream", 1, 1)
	p := b.open(newPages(t), "127.0.0.1", strings.Replace(s.script(streamPage), s.url, proxied, 1))
	p.awaitLine("OrderCreated 1-1")
	network.Cut()
	p.awaitLine("state 0")
	s.cancel(1)
	network.Restore()
	p.awaitLine("OrderCancelled 1-2")
	p.awaitLine("state 2")
	if n := p.countLines("Order"); n != 2 {
		t.Errorf("it received %d events:\n%s", n, strings.Join(p.seen, "\n"))
	}
}
