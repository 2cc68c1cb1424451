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
	lettersPerPage = 50
	letterTime     = 2 * time.Minute  // that the answer about one may take: the gateway is asked for a void
	lettersTime    = 10 * time.Minute // that all of them may take; no more are begun than end within it
)

// lettersView is what the page Dead letters shows.
type lettersView struct {
	Letters     []order.FailedJobOrder
	Open        int
	Number      int // of the page
	Total       int64
	Newer, Next string
	Done        []verdict // what came of those that were dealt with
	Do          string    // "retry" or "abandon"
}

// Failed is how many of those that were dealt with could not be.
func (l *lettersView) Failed() (n int) {
	for _, d := range l.Done {
		if d.Err != nil {
			n++
		}
	}
	return n
}

// verdict is what came of one dead letter.
type verdict struct {
	ID, OrderID int64
	Status      order.Status
	Err         *order.Error
}

func (c *Console) showLetters(v *requestContext) (any, error) {
	view, err := c.lettersView(v)
	if err != nil {
		return nil, err
	}
	return view, nil
}

func (c *Console) lettersView(v *requestContext) (*lettersView, error) {
	number, err := pageNumber(v.query)
	if err != nil {
		return nil, err
	}
	page, err := c.options.Shop.FailedJobOrders(v.r.Context(), number, lettersPerPage)
	if err != nil {
		return nil, err
	}
	view := &lettersView{Letters: page.Jobs, Total: page.Total, Number: number}
	for i := range page.Jobs {
		if page.Jobs[i].ResolvedAt.IsZero() {
			view.Open++
		}
	}
	view.Newer, view.Next = pageLinks(Prefix+"/dead-letters", number, int64(number)*lettersPerPage < page.Total)
	return view, nil
}

// askView is what the page shows that asks before something is done about dead letters.
type askView struct {
	Do  string
	IDs []int64
}

// readLetters reads which dead letters somebody has chosen, and what is to be done. all are those that stand for all on a page.
func readLetters(values url.Values, all []int64) (ask askView, err error) {
	ask.Do = values.Get("do")
	if ask.Do != "retry" && ask.Do != "abandon" {
		return ask, order.Invalid("do", "must be retry or abandon")
	}
	if values.Has("all") {
		ask.IDs, values = all, nil
	}
	for _, text := range values["id"] {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil || id < 1 || id > order.MaxID {
			return ask, order.Invalid("id", "must be the number of a dead letter")
		}
		ask.IDs = append(ask.IDs, id)
	}
	if len(ask.IDs) < 1 || len(ask.IDs) > lettersPerPage {
		return ask, order.Invalid("id", fmt.Sprintf("must be chosen: tick from 1 to %d dead letters", lettersPerPage))
	}
	return ask, nil
}

// askLetters asks whether it is really to be done.
func (c *Console) askLetters(v *requestContext) (any, error) {
	var all []int64
	if v.query.Has("all") {
		view, err := c.lettersView(v)
		if err != nil {
			return nil, err
		}
		for i := range view.Letters {
			if view.Letters[i].ResolvedAt.IsZero() {
				all = append(all, view.Letters[i].ID)
			}
		}
	}
	ask, err := readLetters(v.query, all)
	if err != nil {
		return nil, err
	}
	return &ask, nil
}

// dealWithLetters retries or abandons dead letters, one after the other: one that fails keeps none of the others back, nor does a
// browser that leaves.
func (c *Console) dealWithLetters(v *requestContext) (any, error) {
	values, err := v.form()
	if err != nil {
		return nil, err
	}
	ask, err := readLetters(values, nil)
	if err != nil {
		return nil, err
	}
	defer v.outlive(lettersTime)()
	last := time.Now().Add(lettersTime - letterTime)
	var done []verdict
	for _, id := range ask.IDs {
		if time.Now().After(last) || c.live.isOver() {
			done = append(done, verdict{ID: id, Err: order.Errorf(order.CodeUnavailable, "The time was over before its turn came. Try it again.")})
			continue
		}
		var reply struct {
			Data struct {
				ID     int64
				Status order.Status
			}
		}
		d := verdict{ID: id}
		if err := c.do(v, http.MethodPost, fmt.Sprintf("/failed-jobs/%d/%s", id, ask.Do), nil, &reply); err != nil {
			d.Err = asError(err)
		}
		d.OrderID, d.Status = reply.Data.ID, reply.Data.Status
		done = append(done, d)
	}
	view, err := c.lettersView(v)
	if err != nil {
		return nil, err
	}
	view.Done, view.Do = done, ask.Do
	return view, nil
}
