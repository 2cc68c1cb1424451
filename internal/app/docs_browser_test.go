package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"orderflow/internal/config"
)

// tryAll clicks every button of the docs page that sends a request, and returns the answers. The requests have an admin token, except the one
// that would revoke it.
const tryAll = `(async () => {
  const inside = (root) => [...root.querySelectorAll('*')].flatMap((e) => e.shadowRoot ? [e, ...inside(e.shadowRoot)] : [e])
  const buttons = () => inside(document).filter((e) => e.matches('button') && e.textContent.trim() === 'TRY')
  while (buttons().length < %d) await new Promise(requestAnimationFrame)
  const viewer = document.querySelector('rapi-doc')
  viewer.addEventListener('before-try', ({ detail: { request } }) => {
    if (request.method.toUpperCase() !== 'DELETE') request.headers.set('Authorization', %q)
  })
  const answers = []
  for (const button of buttons()) {
    const tried = new Promise((done) => viewer.addEventListener('after-try', done, { once: true }))
    button.click()
    const { request, response, err } = (await tried).detail
    answers.push({
      request: request.method + ' ' + request.url, status: response?.status ?? 0, error: String(err ?? ''),
      trace: response?.headers.get('X-Trace-Id') ?? '',
    })
  }
  return answers
})()`

// tried is the answer to one request of the docs page.
type tried struct {
	Request, Error, Trace string
	Status                int
}

// The server accepts every request of the docs page with its default values. Each has a trace id of its own.
func TestBrowserTriesEveryOperation(t *testing.T) {
	t.Parallel()
	s := serve(t, func(set *config.Settings) { set.Roles = config.Roles{API: true, Realtime: true} }) // the order stays PENDING
	b := newBrowser(t)
	token := strings.TrimPrefix(s.adminToken(), "Authorization: ")
	p := b.tab()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Navigate(s.url+"/docs")); err != nil {
		t.Fatal(err)
	}
	answers, err := chromedp.Run(ctx, chromedp.Evaluate[[]tried](fmt.Sprintf(tryAll, s.operations(), token), chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	traces := map[string]string{}
	for _, a := range answers {
		if a.Status == 0 || a.Status == 400 || a.Status == 422 || a.Status >= 500 {
			t.Errorf("%s was answered %d; error: %q", a.Request, a.Status, a.Error)
		}
		if other, known := traces[a.Trace]; known || a.Trace == "" {
			t.Errorf("%s has the trace id %q of %s", a.Request, a.Trace, other)
		}
		traces[a.Trace] = a.Request
	}
	if s.get("/api/v1/orders/1").status != 200 {
		t.Error("the page placed no order")
	}
}

// operations returns the number of operations in the OpenAPI document.
func (s *testServer) operations() (n int) {
	s.t.Helper()
	var document struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal([]byte(s.get("/openapi.json").body), &document); err != nil {
		s.t.Fatal(err)
	}
	for _, item := range document.Paths {
		for name := range item {
			switch name {
			case "get", "post", "put", "patch", "delete":
				n++
			}
		}
	}
	return n
}
