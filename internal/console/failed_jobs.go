package console

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"orderflow/internal/order"
)

const (
	failedJobsPerPage = 50
	failedJobTime     = 2 * time.Minute  // for one job: the gateway may have to void a charge
	failedJobsTime    = 10 * time.Minute // for all jobs of a request; none starts that could end later
)

// failedJobsView is the data of the page Failed jobs.
type failedJobsView struct {
	Jobs        []order.FailedJobOrder
	Open        int
	Number      int // of the page
	Total       int64
	Newer, Next string
	Results     []failedJobResult
	Do          string // "retry" or "abandon", with Results
}

// Failures returns the number of jobs that could not be resolved.
func (v *failedJobsView) Failures() (n int) {
	for _, result := range v.Results {
		if result.Err != nil {
			n++
		}
	}
	return n
}

// failedJobResult is the outcome of a retry or an abandon.
type failedJobResult struct {
	ID, OrderID int64
	Status      order.Status
	Err         *order.Error
}

func (c *Console) showFailedJobs(rc *requestContext) (any, error) {
	view, err := c.failedJobsView(rc)
	if err != nil {
		return nil, err
	}
	return view, nil
}

func (c *Console) failedJobsView(rc *requestContext) (*failedJobsView, error) {
	number, err := pageNumber(rc.query)
	if err != nil {
		return nil, err
	}
	page, err := c.options.Store.FailedJobOrders(rc.r.Context(), number, failedJobsPerPage)
	if err != nil {
		return nil, err
	}
	view := &failedJobsView{Jobs: page.Jobs, Total: page.Total, Number: number}
	for i := range page.Jobs {
		if page.Jobs[i].ResolvedAt.IsZero() {
			view.Open++
		}
	}
	view.Newer, view.Next = pageLinks(Prefix+"/failed-jobs", number, int64(number)*failedJobsPerPage < page.Total)
	return view, nil
}

// failedJobChoice is the data of the confirmation: the chosen jobs and the action.
type failedJobChoice struct {
	Do  string
	IDs []int64
}

// readFailedJobChoice reads the chosen jobs and the action. all are the jobs of the choice "all on this page".
func readFailedJobChoice(values url.Values, all []int64) (choice failedJobChoice, err error) {
	choice.Do = values.Get("do")
	if choice.Do != "retry" && choice.Do != "abandon" {
		return choice, order.Invalid("do", "must be retry or abandon")
	}
	if values.Has("all") {
		choice.IDs, values = all, nil
	}
	for _, text := range values["id"] {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil || id < 1 || id > order.MaxID {
			return choice, order.Invalid("id", "must be the id of a failed job")
		}
		choice.IDs = append(choice.IDs, id)
	}
	if len(choice.IDs) < 1 || len(choice.IDs) > failedJobsPerPage {
		return choice, order.Invalid("id", fmt.Sprintf("is required: choose 1 to %d failed jobs", failedJobsPerPage))
	}
	return choice, nil
}

// confirmFailedJobs asks for confirmation.
func (c *Console) confirmFailedJobs(rc *requestContext) (any, error) {
	var all []int64
	if rc.query.Has("all") {
		view, err := c.failedJobsView(rc)
		if err != nil {
			return nil, err
		}
		for i := range view.Jobs {
			if view.Jobs[i].ResolvedAt.IsZero() {
				all = append(all, view.Jobs[i].ID)
			}
		}
	}
	choice, err := readFailedJobChoice(rc.query, all)
	if err != nil {
		return nil, err
	}
	return &choice, nil
}

// resolveFailedJobs retries or abandons failed jobs one after the other. It continues after a failure, and after the browser has
// closed the connection.
func (c *Console) resolveFailedJobs(rc *requestContext) (any, error) {
	values, err := rc.form()
	if err != nil {
		return nil, err
	}
	choice, err := readFailedJobChoice(values, nil)
	if err != nil {
		return nil, err
	}
	defer rc.detach(failedJobsTime)()
	last := time.Now().Add(failedJobsTime - failedJobTime)
	var results []failedJobResult
	for _, id := range choice.IDs {
		result := failedJobResult{ID: id}
		if time.Now().After(last) || c.live.isDraining() {
			result.Err = order.Errorf(order.CodeUnavailable, "Not started in time. Try again.")
		} else {
			result.resolve(rc, choice.Do)
		}
		results = append(results, result)
	}
	view, err := c.failedJobsView(rc)
	if err != nil {
		return nil, err
	}
	view.Results, view.Do = results, choice.Do
	return view, nil
}

// resolve retries or abandons one failed job.
func (f *failedJobResult) resolve(rc *requestContext, do string) {
	var reply struct {
		Data struct {
			ID     int64
			Status order.Status
		}
	}
	if err := rc.call(http.MethodPost, fmt.Sprintf("/failed-jobs/%d/%s", f.ID, do), nil, &reply); err != nil {
		f.Err = asError(err)
	}
	f.OrderID, f.Status = reply.Data.ID, reply.Data.Status
}
