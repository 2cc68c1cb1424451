package api

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"time"

	"orderflow/internal/web"
)

// scrape is the metrics page as text, in one encoding. Everybody may ask for it as often as they like, so requests of the same
// moment share one gathering, and what they do not read is one copy.
type scrape struct {
	page shared[*metricsPage]
}

// metricsPage is what the handler of the metrics wrote.
type metricsPage struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (p *metricsPage) Header() http.Header { return p.header }

// WriteHeader implements http.ResponseWriter.
func (p *metricsPage) WriteHeader(status int) { p.status = status }

// Write implements http.ResponseWriter.
func (p *metricsPage) Write(b []byte) (int, error) { return p.body.Write(b) }

// newScrape returns the page that the handler writes for clients that take this encoding, "" for plain text.
func newScrape(handler http.Handler, encoding string) *scrape {
	// Each request drops what is kept, so age matters only to those that wait for the same gathering and are slow to take it.
	return &scrape{page: shared[*metricsPage]{age: time.Second, load: func(ctx context.Context) (*metricsPage, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "/metrics", http.NoBody)
		if err != nil {
			return nil, err
		}
		r.Header.Set("Accept-Encoding", encoding)
		page := &metricsPage{header: http.Header{}, status: http.StatusOK}
		handler.ServeHTTP(page, r)
		if page.status != http.StatusOK {
			return nil, fmt.Errorf("gather the metrics: status %d, %.200q", page.status, page.body.Bytes())
		}
		return page, nil
	}}}
}

// showMetrics answers with the metrics as they are now: gathered after the request came, by a handler that app brings.
func (a *API) showMetrics(x *requestContext) error {
	s := a.plainScrape
	if web.AcceptsGzip(x.r.Header.Get("Accept-Encoding")) {
		s = a.packedScrape
	}
	s.page.drop()
	page, err := s.page.get(x.r.Context())
	if err != nil {
		return err
	}
	if !a.unread.reserve(page.body.Bytes()) {
		return errUnread()
	}
	defer a.unread.release(page.body.Bytes())
	h := x.Header()
	for _, name := range []string{"Content-Type", "Content-Encoding"} {
		if value := page.header.Get(name); value != "" {
			h.Set(name, value)
		}
	}
	h.Add("Vary", "Accept-Encoding")
	x.send(http.StatusOK, page.body.Bytes())
	return nil
}
