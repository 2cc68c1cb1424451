package realtime

import (
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"orderflow/internal/order"
	"orderflow/internal/pusher"
	"orderflow/internal/web"
)

// Names of the protocol's events.
const (
	eventEstablished       = "pusher:connection_established"
	eventError             = "pusher:error"
	eventPing              = "pusher:ping"
	eventPong              = "pusher:pong"
	eventSubscribe         = "pusher:subscribe"
	eventUnsubscribe       = "pusher:unsubscribe"
	eventSubscribed        = "pusher_internal:subscription_succeeded"
	eventSubscriptionError = "pusher:subscription_error"
	eventCacheMiss         = "pusher:cache_miss"
)

// appendMessage appends an event in the protocol's JSON. data is sent as a JSON string, since the protocol nests JSON in JSON.
// channel is "" for none.
func appendMessage(dst []byte, event, channel, data string) []byte {
	dst = append(dst, `{"event":`...)
	dst = web.AppendString(dst, event)
	if channel != "" {
		dst = append(dst, `,"channel":`...)
		dst = web.AppendString(dst, channel)
	}
	dst = append(dst, `,"data":`...)
	dst = web.AppendString(dst, data)
	return append(dst, '}')
}

// notice is a message of the protocol that is not on the path of an order.
type notice struct {
	Event   string `json:"event"`
	Channel string `json:"channel,omitempty"`
	Data    any    `json:"data,omitempty"`
}

// frame returns the frame of the notice.
func (n notice) frame() []byte {
	return appendFrame(nil, opText, jsonText(n))
}

// jsonText returns a value of this package as JSON.
func jsonText(value any) []byte {
	text, err := json.Marshal(value, jsontext.AllowInvalidUTF8(true))
	if err != nil {
		panic(err) // the caller's types can always be marshalled
	}
	return text
}

// cacheMiss returns the frame for a cache channel without a last event. It has no data.
func cacheMiss(channel string) []byte { return notice{Event: eventCacheMiss, Channel: channel}.frame() }

// message returns the frame of an event.
func message(event, channel, data string) []byte {
	text := appendMessage(make([]byte, 0, len(event)+len(channel)+len(data)+len(data)/4+64), event, channel, data)
	return appendFrame(make([]byte, 0, len(text)+10), opText, text)
}

// errorMessage returns the frame of an error. channel is the channel of the error, "" for none; clients report the error on it.
func errorMessage(code pusher.Code, channel string) []byte {
	return notice{Event: eventError, Channel: channel, Data: struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}{code.Number, code.Text}}.frame()
}

// subscriptionError returns the frame that refuses a subscription.
func subscriptionError(channel string, reason refusal) []byte {
	return message(eventSubscriptionError, channel, string(jsonText(struct {
		Type   string `json:"type"`
		Error  string `json:"error"`
		Status int    `json:"status"`
	}{reason.kind, reason.message, reason.status})))
}

// established returns the first frame of a connection.
func established(socketID string, activityTimeout time.Duration) []byte {
	return message(eventEstablished, "", string(jsonText(struct {
		SocketID        string `json:"socket_id"`
		ActivityTimeout int    `json:"activity_timeout"` // in seconds
	}{socketID, int(activityTimeout.Seconds())})))
}

// appendOrderEvent appends the data of OrderPaid, OrderFailed and OrderCancelled.
func appendOrderEvent(dst []byte, e *order.Event) []byte {
	dst = append(dst, `{"event_id":`...)
	dst = web.AppendString(dst, e.ID())
	dst = append(dst, `,"order_id":`...)
	dst = strconv.AppendInt(dst, e.OrderID, 10)
	dst = append(dst, `,"status":`...)
	dst = web.AppendString(dst, string(e.Type.Status()))
	switch e.Type {
	case order.OrderCancelled:
		dst = append(dst, `,"cancelled_at":`...)
		dst = appendTime(dst, e.At)
	case order.OrderFailed:
		dst = appendTotal(dst, e)
		dst = append(dst, `,"reason":`...)
		dst = web.AppendString(dst, e.Reason)
	default:
		dst = appendTotal(dst, e)
	}
	dst = append(dst, `,"timestamp":`...)
	dst = appendTime(dst, e.At)
	dst = append(dst, `,"trace_id":`...)
	dst = web.AppendString(dst, e.Trace.ID)
	return append(dst, '}')
}

func appendTotal(dst []byte, e *order.Event) []byte {
	dst = append(dst, `,"total_amount":"`...)
	return append(e.Total.Append(dst), '"')
}

// appendTime appends a time in RFC 3339, UTC, with six decimals.
func appendTime(dst []byte, t time.Time) []byte {
	return t.UTC().AppendFormat(dst, `"2006-01-02T15:04:05.000000Z"`)
}
