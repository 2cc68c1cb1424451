package console

import (
	"cmp"
	"net/http"
	"slices"
	"sync"
	"time"
)

// auditTime is how long an audit may take; the API bounds it likewise.
const auditTime = 10 * time.Minute

// reading is one number of an invariant.
type reading struct {
	Name  string
	Value int64
}

// invariant is one of the report, as the API says it.
type invariant struct {
	Number  int
	Name    string
	Holds   bool
	Figures map[string]int64
	Faults  int64
	Rows    []string
}

// Sorted is the figures by name.
func (i invariant) Sorted() []reading {
	var all []reading
	for name, value := range i.Figures {
		all = append(all, reading{name, value})
	}
	slices.SortFunc(all, func(a, b reading) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// Hidden is how many rows at fault are not named.
func (i invariant) Hidden() int64 { return i.Faults - int64(len(i.Rows)) }

// report is an audit that has ended.
type report struct {
	Holds      bool
	Invariants []invariant
	At         time.Time `json:"-"`
	Took       time.Duration
}

// Milliseconds is how long it took.
func (r *report) Milliseconds() string { return milliseconds(r.Took) }

// audits keeps the last report. Its methods may be called from any goroutine.
type audits struct {
	mu   sync.Mutex
	last *report
}

func (a *audits) latest() *report {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last
}

func (a *audits) keep(r *report) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = r
}

// auditView is what the page Audit shows.
type auditView struct{ Report *report }

func (c *Console) showAudit(*requestContext) (any, error) { return &auditView{c.audits.latest()}, nil }

// runAudit proves the books, one visitor at a time. Its report is kept also for a visitor who has left.
func (c *Console) runAudit(v *requestContext) (any, error) {
	defer v.outlive(auditTime)()
	began := time.Now()
	done := &report{}
	if err := c.do(v, http.MethodPost, "/audit", nil, done); err != nil {
		return &auditView{c.audits.latest()}, err
	}
	done.At, done.Took = began, time.Since(began)
	c.audits.keep(done)
	return &auditView{done}, nil // here and now: the next request may be another node's, which has audited nothing
}
