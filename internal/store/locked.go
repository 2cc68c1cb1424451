package store

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/sqldb"
)

// Bounds of lockedRows.
const (
	lockedMax = 10_000           // rows that are remembered
	lockedFor = 10 * time.Minute // how long a row is remembered after a transaction last found it locked
)

// lockedRows remembers the rows that other transactions keep locked, so that only the first write that needs such a row waits for
// it. Later writes that need one of them lock with SKIP LOCKED, and answer the requests that need a locked row one by one.
// DESIGN.md, "Locked rows".
type lockedRows struct {
	count atomic.Int64 // of until; the usual 0 is read without the mutex

	mu    sync.Mutex
	until map[lockedRow]time.Time
}

type lockedRow struct {
	table string
	id    int64
}

// any reports whether one of these rows was found locked.
func (l *lockedRows) any(table string, ids []int64) bool {
	if l.count.Load() == 0 {
		return false
	}
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(ids, func(id int64) bool { return now.Before(l.until[lockedRow{table, id}]) })
}

// update forgets those of the rows that a transaction could lock, and remembers the others, up to lockedMax. The next write waits
// for a row that is not remembered.
//
// A row that a transaction found locked without having waited for it, as a claim does, is not remembered: another request may
// have locked it for a moment only.
func (l *lockedRows) update(table string, ids []int64, locked map[int64]bool, timedOut bool) {
	if len(locked) == 0 && l.count.Load() == 0 {
		return
	}
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		row := lockedRow{table, id}
		if !locked[id] {
			delete(l.until, row)
			continue
		}
		if !timedOut {
			continue
		}
		if len(l.until) >= lockedMax {
			maps.DeleteFunc(l.until, func(_ lockedRow, until time.Time) bool { return !now.Before(until) })
		}
		if _, known := l.until[row]; known || len(l.until) < lockedMax {
			if l.until == nil {
				l.until = map[lockedRow]time.Time{}
			}
			l.until[row] = now.Add(lockedFor)
		}
	}
	l.count.Store(int64(len(l.until)))
}

// rowLock locks rows of a table. It waits for rows that others have locked or, with skip, leaves them out. After run, has
// reports which rows it has locked.
type rowLock struct {
	table string
	ids   []int64 // ascending and unique
	run   func(skip bool) error
	has   func(id int64) bool
}

// lockFree runs a rowLock and returns the rows that exist and are locked by other transactions. It waits for them, and
// returns none, unless the transaction skips them, or one of the rows was found locked before, or skip is set.
func (t *tx) lockFree(l rowLock, skip bool) (locked map[int64]bool, err error) {
	timedOut := t.Skips() || t.s.locked.any(l.table, l.ids)
	skip = (skip || timedOut) && t.s.dialect.SkipLocked() != ""
	if err := l.run(skip); err != nil || !skip {
		return nil, err
	}
	var missing []int64
	for _, id := range l.ids {
		if !l.has(id) {
			missing = append(missing, id)
		}
	}
	if len(missing) > 0 { // locked, or nonexistent
		locked = map[int64]bool{}
		err = t.QueryIn(addID(locked), "SELECT id FROM "+t.s.dialect.ByPrimaryKey(l.table)+" WHERE id IN ", missing, "")
	}
	if err == nil {
		t.s.locked.update(l.table, l.ids, locked, timedOut)
	}
	return locked, err
}

// lockStock locks the products of those orders whose items go back into stock, as returns reports, and returns the error for each
// order that needs a locked product. The items have been read. It does so only where a product may be locked: in the usual case
// it sends nothing, and the UPDATE of the stock waits for the rows.
func (t *tx) lockStock(orders map[int64]*order.Order, returns func(*order.Order) bool) (locked map[int64]error, err error) {
	if !t.Skips() && t.s.locked.count.Load() == 0 {
		return nil, nil //nolint:nilnil // none is locked
	}
	var ids []int64
	for _, o := range orders {
		if returns(o) {
			for _, item := range o.Items {
				ids = append(ids, item.ProductID)
			}
		}
	}
	ids = ascending(ids)
	if !t.Skips() && !t.s.locked.any("products", ids) {
		return nil, nil //nolint:nilnil // none is locked
	}
	has := map[int64]bool{}
	products, err := t.lockFree(rowLock{"products", ids, func(skip bool) error {
		return t.Lock(addID(has), "id", "products", "", ids, skip)
	}, func(id int64) bool { return has[id] }}, true)
	if err != nil {
		return nil, err
	}
	locked = map[int64]error{}
	for _, o := range orders {
		if !returns(o) {
			continue
		}
		for _, item := range o.Items {
			if products[item.ProductID] {
				locked[o.ID] = order.LockedProduct(item.ProductID)
			}
		}
	}
	return locked, nil
}

// lockUsers takes shared locks on the users of drafts, as the INSERT of the orders does for its foreign key, and returns those that
// other transactions have locked. In the usual case, where no row is known to be locked, it sends nothing, and the INSERT waits.
func (t *tx) lockUsers(drafts []order.Draft) (locked map[int64]bool, err error) {
	if !t.Skips() && t.s.locked.count.Load() == 0 {
		return nil, nil //nolint:nilnil // none is locked
	}
	ids := make([]int64, len(drafts))
	for i, d := range drafts {
		ids[i] = d.UserID
	}
	ids = ascending(ids)
	if !t.Skips() && !t.s.locked.any("users", ids) {
		return nil, nil //nolint:nilnil // none is locked
	}
	has, d := map[int64]bool{}, t.s.dialect
	return t.lockFree(rowLock{"users", ids, func(bool) error {
		return t.QueryIn(addID(has), "SELECT id FROM "+d.ByPrimaryKey("users")+" WHERE id IN ", ids, " ORDER BY id"+d.ShareUnlocked())
	}, func(id int64) bool { return has[id] }}, true)
}

// addID returns a reader that puts the id of each row into a set.
func addID(ids map[int64]bool) func(scan sqldb.Scan) error {
	return func(scan sqldb.Scan) error {
		var id int64
		err := scan(&id)
		ids[id] = true
		return err
	}
}

// lockedOrder returns the error for a request about an order that is locked, or that needs a locked product.
func lockedOrder(id int64, locked map[int64]bool, stock map[int64]error) error {
	if locked[id] {
		return order.LockedOrder(id)
	}
	return stock[id]
}

// lockedProduct returns the error for a request about a product that is locked.
func lockedProduct(id int64, locked map[int64]bool) error {
	if locked[id] {
		return order.LockedProduct(id)
	}
	return nil
}

// lockedLine returns the error for a draft that needs a locked product.
func lockedLine(d order.Draft, locked map[int64]bool) error {
	if len(locked) > 0 {
		for _, line := range d.Lines {
			if locked[line.ProductID] {
				return order.LockedProduct(line.ProductID)
			}
		}
	}
	return nil
}

// answerable returns the requests without a refusal, and the refusals by request; nil when there are none.
func answerable[Req any](requests []Req, refusal func(Req) error) (rest []Req, refused []error) {
	for i, r := range requests {
		err := refusal(r)
		if err != nil && refused == nil {
			refused = make([]error, len(requests))
			rest = append(rest, requests[:i]...)
		}
		switch {
		case err != nil:
			refused[i] = err
		case refused != nil:
			rest = append(rest, r)
		}
	}
	if refused == nil {
		return requests, nil
	}
	return rest, refused
}

// withRefused merges the answers to the requests that answerable has refused with the answers to the rest.
func withRefused[Ans any](answers []Ans, refused []error, refuse func(error) Ans) []Ans {
	if refused == nil {
		return answers
	}
	all := make([]Ans, len(refused))
	for i, err := range refused {
		if err != nil {
			all[i] = refuse(err)
			continue
		}
		all[i], answers = answers[0], answers[1:]
	}
	return all
}

func refusedChange(err error) order.Changed { return order.Changed{Err: err} }
