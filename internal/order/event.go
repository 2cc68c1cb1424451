package order

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// EventType is the type of an event, spelled as on the bus and in the API.
type EventType string

// The types of events that change an order's status. Every other type, such as one of a later release, leaves the status as it
// is.
const (
	OrderCreated    EventType = "OrderCreated"
	OrderProcessing EventType = "OrderProcessing"
	OrderPaid       EventType = "OrderPaid"
	OrderFailed     EventType = "OrderFailed"
	OrderCancelled  EventType = "OrderCancelled"
)

// Status returns the status that an event of this type leads to; "" for a type without a status.
func (t EventType) Status() Status {
	switch t {
	case OrderCreated:
		return Pending
	case OrderProcessing:
		return Processing
	case OrderPaid:
		return Paid
	case OrderFailed:
		return Failed
	case OrderCancelled:
		return Cancelled
	default:
		return ""
	}
}

// LastStatus returns the status of the last event that has one; "" when none has. The events are of one order, in sequence.
func LastStatus(events []Event) Status {
	for _, event := range slices.Backward(events) {
		if status := event.Type.Status(); status != "" {
			return status
		}
	}
	return ""
}

// Event is one entry of an order's append-only history. (OrderID, Seq) identifies it.
type Event struct {
	OrderID  int64
	Seq      int // 1, 2, 3, … without gaps
	Type     EventType
	UserID   int64 // of the order, as Total and Currency
	Total    Money
	Currency string
	Reason   string // OrderFailed only
	Actor    string // the user, token, operator or worker that caused it
	Trace    Trace
	At       time.Time
}

// ID returns the event's stable id, such as "42-2", by which consumers skip duplicates.
func (e Event) ID() string { return eventID(e.OrderID, e.Seq) }

func eventID(orderID int64, seq int) string {
	b := strconv.AppendInt(make([]byte, 0, 24), orderID, 10)
	return string(strconv.AppendInt(append(b, '-'), int64(seq), 10))
}

// payload has the fields of an event that are not columns of its row.
type payload struct {
	UserID   int64  `json:"user_id"`
	Total    string `json:"total_amount"`
	Currency string `json:"currency"`
	Reason   string `json:"reason,omitempty"`
}

// AppendPayload appends the payload of the event's row as a JSON object: user, total, currency and, if any, the reason.
func (e Event) AppendPayload(dst []byte) []byte {
	dst = append(dst, `{"user_id":`...)
	dst = strconv.AppendInt(dst, e.UserID, 10)
	dst = append(dst, `,"total_amount":"`...)
	dst = e.Total.Append(dst)
	dst = append(dst, `","currency":`...)
	dst = appendString(dst, e.Currency)
	if e.Reason != "" {
		dst = append(dst, `,"reason":`...)
		dst = appendString(dst, e.Reason)
	}
	return append(dst, '}')
}

// ReadPayload sets the fields of the event from the JSON of AppendPayload.
func (e *Event) ReadPayload(data []byte) error {
	var p payload
	if err := json.Unmarshal(data, &p); err != nil {
		return fmt.Errorf("read the payload of event %s: %w", e.ID(), err)
	}
	return e.setPayload(p)
}

func (e *Event) setPayload(p payload) error {
	total, err := ParseMoney(p.Total)
	if err != nil {
		return fmt.Errorf("read the payload of event %s: %w", e.ID(), err)
	}
	e.UserID, e.Total, e.Currency, e.Reason = p.UserID, total, p.Currency, p.Reason
	return nil
}

// wireEvent is the form of an event on the bus.
type wireEvent struct {
	OrderID int64     `json:"order_id"`
	Seq     int       `json:"sequence"`
	Type    EventType `json:"type"`
	Payload payload   `json:"payload"`
	Actor   string    `json:"actor"`
	TraceID string    `json:"trace_id"`
	Parent  string    `json:"traceparent,omitempty"`
	At      int64     `json:"at"` // microseconds since 1970
}

// Append appends the form of the event on the bus, a JSON object.
func (e Event) Append(dst []byte) []byte {
	dst = append(dst, `{"order_id":`...)
	dst = strconv.AppendInt(dst, e.OrderID, 10)
	dst = append(dst, `,"sequence":`...)
	dst = strconv.AppendInt(dst, int64(e.Seq), 10)
	dst = append(dst, `,"type":`...)
	dst = appendString(dst, string(e.Type))
	dst = append(dst, `,"payload":`...)
	dst = e.AppendPayload(dst)
	dst = append(dst, `,"actor":`...)
	dst = appendString(dst, e.Actor)
	dst = append(dst, `,"trace_id":`...)
	dst = appendString(dst, e.Trace.ID)
	if e.Trace.Parent != "" {
		dst = append(dst, `,"traceparent":`...)
		dst = appendString(dst, e.Trace.Parent)
	}
	dst = append(dst, `,"at":`...)
	dst = strconv.AppendInt(dst, e.At.UnixMicro(), 10)
	return append(dst, '}')
}

// ParseEvent parses the JSON of Append. It accepts any type, so that nodes can skip the events of a later release.
func ParseEvent(data []byte) (Event, error) {
	var w wireEvent
	if err := json.Unmarshal(data, &w); err != nil {
		return Event{}, fmt.Errorf("parse an event from the bus: %w", err)
	}
	e := Event{
		OrderID: w.OrderID, Seq: w.Seq, Type: w.Type, Actor: w.Actor,
		Trace: Trace{ID: w.TraceID, Parent: w.Parent}, At: time.UnixMicro(w.At).UTC(),
	}
	if e.OrderID < 1 || e.Seq < 1 || e.Type == "" {
		return Event{}, fmt.Errorf("parse an event from the bus: order %d, sequence %d and type %q do not identify one", e.OrderID, e.Seq, e.Type)
	}
	return e, e.setPayload(w.Payload)
}

// appendString appends s as a JSON string. Plain ASCII, the usual case, needs no encoding/json.
func appendString(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, err := json.Marshal(s)
			if err != nil { // cannot happen: invalid UTF-8 is replaced
				return append(dst, `""`...)
			}
			return append(dst, quoted...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}

// EventBatch is the events of one committed transaction. With an ID, that of its outbox row, they are published at least once;
// without one, at most once.
type EventBatch struct {
	ID     string
	Events []Event
}
