package api

import (
	"strconv"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/web"
)

// data is an answer with one value.
type data[T any] struct {
	Data T `json:"data"`
}

// timestamp is a time as answers show it: RFC 3339 in UTC with exactly six decimals, or null for the zero time.
type timestamp time.Time

// MarshalJSON implements json.Marshaler.
func (t timestamp) MarshalJSON() ([]byte, error) { return appendTime(nil, time.Time(t)), nil }

// appendTime appends a time as timestamp does.
func appendTime(dst []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(dst, `null`...)
	}
	return t.UTC().AppendFormat(dst, `"2006-01-02T15:04:05.000000Z"`)
}

// appendOrder appends an order in the form that all answers have. The payment method is not part of it.
func appendOrder(dst []byte, o *order.Order) []byte {
	dst = append(dst, `{"id":`...)
	dst = strconv.AppendInt(dst, o.ID, 10)
	dst = append(dst, `,"user_id":`...)
	dst = strconv.AppendInt(dst, o.UserID, 10)
	dst = append(dst, `,"status":`...)
	dst = web.AppendString(dst, string(o.Status))
	dst = append(dst, `,"total_amount":"`...)
	dst = o.Total.Append(dst)
	dst = append(dst, `","currency":`...)
	dst = web.AppendString(dst, o.Currency)
	dst = append(dst, `,"idempotency_key":`...)
	dst = web.AppendString(dst, o.Key)
	dst = append(dst, `,"cancelled_at":`...)
	dst = appendTime(dst, o.CancelledAt)
	dst = append(dst, `,"created_at":`...)
	dst = appendTime(dst, o.CreatedAt)
	dst = append(dst, `,"updated_at":`...)
	dst = appendTime(dst, o.UpdatedAt)
	dst = append(dst, `,"items":[`...)
	for i, item := range o.Items {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"product_id":`...)
		dst = strconv.AppendInt(dst, item.ProductID, 10)
		dst = append(dst, `,"quantity":`...)
		dst = strconv.AppendInt(dst, item.Quantity, 10)
		dst = append(dst, `,"unit_price":"`...)
		dst = item.UnitPrice.Append(dst)
		dst = append(dst, '"', '}')
	}
	return append(dst, ']', '}')
}

// appendEvent appends an event of an order.
func appendEvent(dst []byte, e *order.Event) []byte {
	dst = append(dst, `{"event_id":`...)
	dst = web.AppendString(dst, e.ID())
	dst = append(dst, `,"sequence":`...)
	dst = strconv.AppendInt(dst, int64(e.Seq), 10)
	dst = append(dst, `,"type":`...)
	dst = web.AppendString(dst, string(e.Type))
	dst = append(dst, `,"payload":`...)
	dst = e.AppendPayload(dst)
	dst = append(dst, `,"actor":`...)
	dst = web.AppendString(dst, e.Actor)
	dst = append(dst, `,"trace_id":`...)
	dst = web.AppendString(dst, e.Trace.ID)
	dst = append(dst, `,"created_at":`...)
	dst = appendTime(dst, e.At)
	return append(dst, '}')
}
