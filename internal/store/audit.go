package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/sqldb"
)

// violationsMax is how many violating rows an InvariantResult lists.
const violationsMax = 20

// auditLimit is the time that one audit may take: it reads every order.
const auditLimit = 30 * time.Minute

// check is one invariant as SQL: a query of one row for the figures, and one whose every row is a violation.
type check struct {
	name       string
	figures    []string
	count      string
	violations string
	format     string // of the columns of violations
}

// checks are the invariants, numbered as in the documents. They are written from the invariants, not from package order: a
// property is checked on two paths.
var checks = []check{ //nolint:gochecknoglobals // a table that nobody changes
	{
		name:       "stock + units in open and paid orders = all stock movements, for each product",
		figures:    []string{"products", "stock", "in orders", "moved"},
		count:      "SELECT count(*), COALESCE(sum(stock), 0), COALESCE(sum(ordered), 0), COALESCE(sum(moved), 0) FROM (" + stockSums + ") sums",
		violations: "SELECT id, stock, ordered, moved FROM (" + stockSums + ") sums WHERE stock + ordered <> moved",
		format:     "product %s: stock %s + in orders %s <> moved %s",
	},
	{
		name:       "no stock below zero",
		figures:    []string{"products", "sold out"},
		count:      "SELECT count(*), COALESCE(sum(CASE WHEN stock = 0 THEN 1 ELSE 0 END), 0) FROM products",
		violations: "SELECT id, stock FROM products WHERE stock < 0",
		format:     "product %s: stock %s",
	},
	{
		name:       "one order per (user, key)",
		figures:    []string{"orders", "keys"},
		count:      "SELECT count(*), (SELECT count(*) FROM (SELECT 1 FROM orders GROUP BY user_id, idempotency_key) k) FROM orders",
		violations: "SELECT user_id, min(id), count(*) FROM orders GROUP BY user_id, idempotency_key HAVING count(*) > 1",
		format:     "user %s: order %s is one of %s under its key",
	},
	{
		name:    "order total = sum of quantity × unit price",
		figures: []string{"orders", "lines"},
		count:   "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM order_items)",
		violations: "SELECT o.id, o.total_amount, COALESCE(i.total, 0) FROM orders o LEFT JOIN (SELECT order_id, sum(quantity * unit_price) total " +
			"FROM order_items GROUP BY order_id) i ON i.order_id = o.id WHERE i.total IS NULL OR i.total <> o.total_amount",
		format: "order %s: total %s, lines come to %s",
	},
	{ // Claims are compared, not times: the clock may step back between a charge and its void.
		name:    "paid orders have exactly one charge, other orders none that is not voided and has no void due",
		figures: []string{"paid orders", "succeeded charges", "voids"},
		count: "SELECT (SELECT count(*) FROM orders WHERE status = 'PAID'), " +
			"(SELECT count(*) FROM payments WHERE kind = 'charge' AND outcome = 'succeeded'), " +
			"(SELECT count(*) FROM payments WHERE kind = 'void' AND outcome = 'succeeded')",
		violations: "SELECT o.id, o.status, COALESCE(p.charges, 0), COALESCE(p.voids, 0) FROM orders o LEFT JOIN (SELECT order_id, " +
			"sum(CASE WHEN kind = 'charge' THEN 1 ELSE 0 END) charges, sum(CASE WHEN kind = 'void' THEN 1 ELSE 0 END) voids, " +
			"max(CASE WHEN kind = 'charge' THEN claim END) charged, max(CASE WHEN kind = 'void' THEN claim END) voided " +
			"FROM payments WHERE outcome = 'succeeded' GROUP BY order_id) p ON p.order_id = o.id " +
			"WHERE (o.status = 'PAID' AND (COALESCE(p.charges, 0) <> 1 OR p.voided >= p.charged)) OR (o.status <> 'PAID' AND p.charges > 0 " +
			"AND NOT (o.status = 'FAILED' AND (CASE WHEN p.voided > p.charged THEN 1 ELSE 0 END = 1 OR o.due_at IS NOT NULL)))",
		format: "order %s: %s with %s succeeded charges and %s voids",
	},
	{
		name:    "each history is a path of the state machine to the order's status, without gaps",
		figures: []string{"events"},
		count:   "SELECT count(*) FROM order_events",
		violations: "SELECT order_id, sequence, type FROM (SELECT order_id, sequence, type, earlier, " +
			"CASE WHEN previous IS NULL OR previous IN " + statusTypes + " THEN previous ELSE " + statusBefore + " END previous FROM (" +
			"SELECT order_id, sequence, type, lag(type) OVER (PARTITION BY order_id ORDER BY sequence) previous, " +
			"lag(sequence) OVER (PARTITION BY order_id ORDER BY sequence) earlier FROM order_events) e) e " +
			"WHERE sequence <> COALESCE(earlier, 0) + 1 OR NOT ((previous IS NULL AND type = 'OrderCreated') " +
			"OR (COALESCE(previous, '') = 'OrderCreated' AND type IN ('OrderProcessing', 'OrderCancelled')) " +
			"OR (COALESCE(previous, '') = 'OrderProcessing' AND type IN ('OrderPaid', 'OrderFailed')) " +
			"OR (previous IS NOT NULL AND type NOT IN " + statusTypes + ")) " +
			"UNION ALL SELECT o.id, o.version, o.status FROM orders o LEFT JOIN order_events e ON e.order_id = o.id AND e.sequence = o.version " +
			"WHERE e.type IS NULL OR COALESCE(CASE WHEN e.type IN " + statusTypes + " THEN e.type ELSE " + statusBefore + " END, '') <> " +
			"CASE o.status WHEN 'PENDING' THEN 'OrderCreated' WHEN 'PROCESSING' THEN 'OrderProcessing' " +
			"WHEN 'PAID' THEN 'OrderPaid' WHEN 'FAILED' THEN 'OrderFailed' ELSE 'OrderCancelled' END " +
			"UNION ALL SELECT e.order_id, e.sequence, e.type FROM order_events e JOIN orders o ON o.id = e.order_id WHERE e.sequence > o.version",
		format: "order %s: history breaks at %s (%s)",
	},
	{
		name:    "every open order has a time when it is due or an open failed job, never both; finished orders have neither",
		figures: []string{"open orders", "failed jobs", "outstanding voids"},
		count: "SELECT (SELECT count(*) FROM orders WHERE status IN ('PENDING', 'PROCESSING')), " +
			"(SELECT count(*) FROM failed_jobs WHERE resolved_at IS NULL), " +
			"(SELECT count(*) FROM orders WHERE status = 'FAILED' AND due_at IS NOT NULL)",
		violations: "SELECT o.id, o.status, CASE WHEN o.due_at IS NULL THEN 'not due' ELSE 'due' END, " +
			"CASE WHEN j.id IS NULL THEN 'no' ELSE 'a' END " +
			"FROM orders o LEFT JOIN failed_jobs j ON j.order_id = o.id AND j.resolved_at IS NULL " +
			"WHERE (o.status IN ('PENDING', 'PROCESSING') AND o.due_at IS NULL AND j.id IS NULL) " +
			"OR (j.id IS NOT NULL AND (o.due_at IS NOT NULL OR o.status <> 'PROCESSING')) " +
			"OR (o.status IN ('PAID', 'CANCELLED') AND o.due_at IS NOT NULL) " +
			"OR (o.status = 'FAILED' AND o.due_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM payments p " +
			"WHERE p.order_id = o.id AND p.kind = 'charge' AND p.outcome = 'succeeded'))",
		format: "order %s: %s, %s, with %s failed job",
	},
}

// statusTypes are the types of events with a status. The path of a history and its end consist of these alone.
const statusTypes = "('OrderCreated', 'OrderProcessing', 'OrderPaid', 'OrderFailed', 'OrderCancelled')"

// statusBefore is the type of the last event before e that has a status. Only events that follow one without a status need it.
const statusBefore = "(SELECT p.type FROM order_events p WHERE p.order_id = e.order_id AND p.sequence < e.sequence AND p.type IN " +
	statusTypes + " ORDER BY p.sequence DESC LIMIT 1)"

const stockSums = "SELECT p.id, p.stock, COALESCE(h.ordered, 0) ordered, COALESCE(m.moved, 0) moved FROM products p " +
	"LEFT JOIN (SELECT i.product_id, sum(i.quantity) ordered FROM order_items i JOIN orders o ON o.id = i.order_id " +
	"WHERE o.status IN ('PENDING', 'PROCESSING', 'PAID') GROUP BY i.product_id) h ON h.product_id = p.id " +
	"LEFT JOIN (SELECT product_id, sum(quantity) moved FROM stock_movements GROUP BY product_id) m ON m.product_id = p.id"

// Audit checks every invariant on one snapshot, so that the result is exact under load too, and returns a result for each.
func (s *Store) Audit(ctx context.Context) ([]order.InvariantResult, error) {
	ctx, cancel := context.WithTimeout(ctx, auditLimit)
	defer cancel()
	now, err := s.db.Clock(ctx) // of the snapshot: reading every order may take minutes
	if err != nil {
		return nil, coded(err)
	}
	var results []order.InvariantResult
	err = s.db.Snapshot(ctx, func(snapshot *sql.Tx) error {
		for i, c := range checks {
			r, err := c.run(ctx, snapshot, i+1)
			if err != nil {
				return fmt.Errorf("check invariant %d: %w", i+1, err)
			}
			results = append(results, r)
		}
		if err := s.overdue(ctx, snapshot, now, &results[6]); err != nil {
			return err
		}
		unpublished, err := s.unpublished(ctx, snapshot, now)
		results = append(results, unpublished)
		return err
	})
	return results, coded(err)
}

func (c check) run(ctx context.Context, snapshot *sql.Tx, number int) (order.InvariantResult, error) {
	f := order.InvariantResult{Number: number, Name: c.name}
	values := make([]int64, len(c.figures))
	targets := make([]any, len(values))
	for i := range values {
		targets[i] = &values[i]
	}
	if err := snapshot.QueryRowContext(ctx, c.count).Scan(targets...); err != nil {
		return f, err
	}
	for i, name := range c.figures {
		f.Figures = append(f.Figures, order.Figure{Name: name, Value: values[i]})
	}
	found, err := snapshot.QueryContext(ctx, c.violations) //nolint:rowserrcheck // Each checks it
	if err != nil {
		return f, err
	}
	columns, err := found.Columns()
	if err != nil {
		return f, err
	}
	return f, sqldb.Each(found, func(scan sqldb.Scan) error {
		texts := make([]string, len(columns))
		targets, values := make([]any, len(columns)), make([]any, len(columns))
		for i := range texts {
			targets[i] = &texts[i]
		}
		err := scan(targets...)
		for i := range texts {
			values[i] = texts[i]
		}
		f.ViolationCount++
		if len(f.Violations) < violationsMax {
			f.Violations = append(f.Violations, fmt.Sprintf(c.format, values...))
		}
		return err
	})
}

// overdue adds to a result how many orders are overdue, and for how long at most: figures, not violations.
func (s *Store) overdue(ctx context.Context, snapshot *sql.Tx, now time.Time, f *order.InvariantResult) error {
	var count int64
	var oldest time.Time
	err := snapshot.QueryRowContext(ctx, "SELECT count(*), min(due_at) FROM orders WHERE due_at < ?", s.dialect.Time(now)).
		Scan(&count, sqldb.ScanTime(&oldest))
	late := int64(0)
	if count > 0 {
		late = now.Sub(oldest).Milliseconds()
	}
	f.Figures = append(f.Figures, order.Figure{Name: "overdue", Value: count}, order.Figure{Name: "longest overdue, ms", Value: late})
	return err
}

// refusalCounts is for how long after a full bus refused events the audit counts it as full. The relay tries it again every 15 s.
const refusalCounts = time.Minute

// unpublished checks that no events wait for long although the bus accepts messages. They are a figure, not a violation, while no
// server runs or its bus cannot be reached, and while the bus refuses events because it is full.
func (s *Store) unpublished(ctx context.Context, snapshot *sql.Tx, now time.Time) (order.InvariantResult, error) {
	f := order.InvariantResult{Number: len(checks) + 1, Name: "no events are unpublished for more than a minute while the bus accepts messages"}
	var waiting, old, refused int64
	minuteAgo, since, until := s.dialect.Time(now.Add(-time.Minute)), s.dialect.Time(now.Add(-refusalCounts)), s.dialect.Time(now.Add(time.Second))
	err := snapshot.QueryRowContext(ctx, "SELECT count(*), COALESCE(sum(CASE WHEN created_at < ? THEN 1 ELSE 0 END), 0), "+
		"(SELECT count(*) FROM outbox_refusals WHERE refused_at > ? AND refused_at <= ?) FROM outbox WHERE published_at IS NULL",
		minuteAgo, since, until).Scan(&waiting, &old, &refused) // a refusal in the future was recorded before the clock was set back
	f.Figures = []order.Figure{
		{Name: "unpublished", Value: waiting}, {Name: "for more than a minute", Value: old}, {Name: "bus full", Value: refused},
	}
	if err == nil && old > 0 && refused == 0 && s.busReachable() {
		f.ViolationCount = old
		f.Violations = []string{fmt.Sprintf("outbox: the events of %d transactions are unpublished for more than a minute", old)}
	}
	return f, err
}
