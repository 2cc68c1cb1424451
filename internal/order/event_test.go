package order

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestEventForms(t *testing.T) {
	e := Event{
		OrderID: 42, Seq: 2, Type: OrderFailed, UserID: 7, Total: 202997, Currency: "USD", Reason: `card "expired"`, Actor: "node-1",
		Trace: Trace{"t1", "00-a-b-01"}, At: time.Date(2025, 6, 1, 12, 0, 0, 123456789, time.UTC),
	}
	const payload = `{"user_id":7,"total_amount":"2029.97","currency":"USD","reason":"card \"expired\""}`
	if got := string(e.AppendPayload([]byte("x"))); got != "x"+payload {
		t.Errorf("payload %s", got)
	}
	const wire = `{"order_id":42,"sequence":2,"type":"OrderFailed","payload":` + payload +
		`,"actor":"node-1","trace_id":"t1","traceparent":"00-a-b-01","at":1748779200123456}`
	if got := string(e.Append([]byte("x"))); got != "x"+wire {
		t.Errorf("wire form %s", got)
	}
	if e.ID() != "42-2" {
		t.Errorf("id %s", e.ID())
	}
	e.Reason, e.Trace.Parent = "", ""
	if got := string(e.Append(nil)); strings.Contains(got, "reason") || strings.Contains(got, "traceparent") {
		t.Errorf("empty fields are written: %s", got)
	}
}

func TestParseEventRefuses(t *testing.T) {
	good := Event{OrderID: 1, Seq: 1, Type: OrderPaid, UserID: 1, Currency: "USD"}
	if _, err := ParseEvent(good.Append(nil)); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{
		"nothing":        ``,
		"null":           `null`,
		"no object":      `[]`,
		"cut off":        string(good.Append(nil))[:40],
		"no payload":     `{"order_id":1,"sequence":1,"type":"OrderPaid"}`,
		"null payload":   `{"order_id":1,"sequence":1,"type":"OrderPaid","payload":null}`,
		"bad amount":     `{"order_id":1,"sequence":1,"type":"OrderPaid","payload":{"total_amount":"1.234"}}`,
		"no order":       `{"sequence":1,"type":"OrderPaid","payload":{"total_amount":"1"}}`,
		"no sequence":    `{"order_id":1,"type":"OrderPaid","payload":{"total_amount":"1"}}`,
		"no type":        `{"order_id":1,"sequence":1,"payload":{"total_amount":"1"}}`,
		"trailing bytes": string(good.Append(nil)) + "{}",
	} {
		if e, err := ParseEvent([]byte(data)); err == nil {
			t.Errorf("%s was read as %+v", name, e)
		}
	}
	var e Event
	if err := e.ReadPayload([]byte(`{"total_amount":"x"}`)); err == nil {
		t.Error("a payload without an amount was read")
	}
}

// TestParseEventWithoutStatus: a node of this release can skip the events of a later one.
func TestParseEventWithoutStatus(t *testing.T) {
	e, err := ParseEvent([]byte(`{"order_id":1,"sequence":4,"type":"OrderShipped","payload":{"total_amount":"1"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if e.Type != "OrderShipped" || e.Seq != 4 {
		t.Errorf("the event is %+v", e)
	}
	if status := e.Type.Status(); status != "" {
		t.Errorf("it leads to the status %q, want none", status)
	}
}

func TestLastStatus(t *testing.T) {
	for name, test := range map[string]struct {
		types []EventType
		want  Status
	}{
		"no events":             {nil, ""},
		"none with a status":    {[]EventType{"OrderShipped"}, ""},
		"the last one":          {[]EventType{OrderCreated, OrderCancelled}, Cancelled},
		"before others":         {[]EventType{OrderCreated, OrderProcessing, OrderPaid, "OrderShipped", "OrderShipped"}, Paid},
		"after one without it":  {[]EventType{OrderCreated, "OrderShipped", OrderProcessing}, Processing},
		"the first, before one": {[]EventType{OrderCreated, "OrderShipped"}, Pending},
	} {
		var events []Event
		for _, kind := range test.types {
			events = append(events, Event{Type: kind})
		}
		if got := LastStatus(events); got != test.want {
			t.Errorf("%s: status %q, want %q", name, got, test.want)
		}
	}
}

// asRead returns e as it is parsed back: in microseconds and UTC, with invalid UTF-8 replaced.
func asRead(e Event) Event {
	for _, s := range []*string{&e.Currency, &e.Reason, &e.Actor, &e.Trace.ID, &e.Trace.Parent} {
		*s = string([]rune(*s))
	}
	e.At = time.UnixMicro(e.At.UnixMicro()).UTC()
	return e
}

func checkRoundTrip(t interface {
	Helper()
	Fatalf(format string, args ...any)
}, e Event,
) {
	t.Helper()
	data := e.Append(nil)
	if !json.Valid(data) {
		t.Fatalf("%+v is written as %q, which is not JSON", e, data)
	}
	back, err := ParseEvent(data)
	if err != nil {
		t.Fatalf("%q: %v", data, err)
	}
	if diff := cmp.Diff(asRead(e), back); diff != "" {
		t.Fatalf("%q (-want +got):\n%s", data, diff)
	}
	again := Event{OrderID: e.OrderID, Seq: e.Seq, Type: e.Type, Actor: back.Actor, Trace: back.Trace, At: back.At}
	if err := again.ReadPayload(e.AppendPayload(nil)); err != nil || again != back {
		t.Fatalf("the payload gives %+v, %v; want %+v", again, err, back)
	}
}

func TestEventRoundTrip(t *testing.T) {
	types := rapid.SampledFrom([]EventType{OrderCreated, OrderProcessing, OrderPaid, OrderFailed, OrderCancelled, "OrderShipped"})
	text := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }))
	rapid.Check(t, func(t *rapid.T) {
		checkRoundTrip(t, Event{
			OrderID: rapid.Int64Range(1, MaxID).Draw(t, "order"), Seq: rapid.IntRange(1, 1<<40).Draw(t, "seq"), Type: types.Draw(t, "type"),
			UserID: rapid.Int64Range(1, MaxID).Draw(t, "user"), Total: Money(rapid.Int64Range(0, int64(MaxMoney)).Draw(t, "total")),
			Currency: text.Draw(t, "currency"), Reason: text.Draw(t, "reason"), Actor: text.Draw(t, "actor"),
			Trace: Trace{text.Draw(t, "trace"), text.Draw(t, "parent")}, At: time.Unix(0, rapid.Int64Range(0, 1<<62).Draw(t, "at")),
		})
	})
}

func FuzzEventText(f *testing.F) {
	for _, s := range []string{
		"", "plain", `"`, `\`, "\x00\x1f\x7f", "\xff\xfe", "<&>", "\u2028\u2029", "日本", "\xed\xa0\x80", `\u0000`, "😀",
	} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, reason, actor string) {
		checkRoundTrip(t, Event{OrderID: 1, Seq: 1, Type: OrderFailed, UserID: 1, Currency: "USD", Reason: reason, Actor: actor, At: noon})
	})
}

func FuzzParseEvent(f *testing.F) {
	f.Add(Event{OrderID: 1, Seq: 2, Type: OrderFailed, UserID: 1, Total: 5, Currency: "USD", Reason: "é\"", At: noon}.Append(nil))
	f.Add([]byte(`{"order_id":1,"sequence":1,"type":"OrderPaid","payload":{"total_amount":"1"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if e, err := ParseEvent(data); err == nil {
			checkRoundTrip(t, e)
		}
	})
}
