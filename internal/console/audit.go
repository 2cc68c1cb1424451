package console

import (
	"cmp"
	"net/http"
	"slices"
	"sync"
	"time"
)

// auditTime limits an audit, as the API does.
const auditTime = 10 * time.Minute

// auditFigure is one number of an invariant.
type auditFigure struct {
	Name  string
	Value int64
}

// invariant is one invariant of the report in the API's JSON.
type invariant struct {
	Number     int
	Name       string
	Holds      bool
	Figures    map[string]int64
	Violations int64
	Rows       []string
}

// Sorted returns the figures by name.
func (i invariant) Sorted() []auditFigure {
	var all []auditFigure
	for name, value := range i.Figures {
		all = append(all, auditFigure{name, value})
	}
	slices.SortFunc(all, func(a, b auditFigure) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// Omitted returns the number of violating rows that the report does not list.
func (i invariant) Omitted() int64 { return i.Violations - int64(len(i.Rows)) }

// report is the result of an audit.
type report struct {
	Holds      bool
	Invariants []invariant
	At         time.Time `json:"-"`
	Took       time.Duration
}

// Milliseconds returns how long the audit took.
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

// auditView is the data of the page Audit.
type auditView struct{ Report *report }

func (c *Console) showAudit(*requestContext) (any, error) { return &auditView{c.audits.latest()}, nil }

// runAudit runs an audit and keeps its report, also when the browser has closed the connection.
func (c *Console) runAudit(rc *requestContext) (any, error) {
	defer rc.detach(auditTime)()
	began := time.Now()
	done := &report{}
	if err := rc.call(http.MethodPost, "/audit", nil, done); err != nil {
		return &auditView{c.audits.latest()}, err
	}
	done.At, done.Took = began, time.Since(began)
	c.audits.keep(done)
	return &auditView{done}, nil // no redirect: another node, which has no report, might answer the next request
}
