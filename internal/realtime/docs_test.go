package realtime

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"orderflow/internal/order"
	"orderflow/internal/pusher"
)

// document returns docs/realtime.md.
func document(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/realtime.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The document has each code with its text and the reaction of clients, in the order of the table, and no other.
func TestCodesInTheDocument(t *testing.T) {
	const later = "reconnects after a second"
	reaction := map[int]string{10: later, 40: "gives up", 41: later, 42: "reconnects at once", 43: "stays connected: `pusher:error`"}
	var want []string
	for i, codes := 0, reflect.ValueOf(pusher.AllCodes()); i < codes.NumField(); i++ {
		number, text := codes.Field(i).Field(0).Int(), codes.Field(i).Field(1).String()
		want = append(want, fmt.Sprintf("| %d | %s | %s |", number, text, reaction[int(number/100)]))
	}
	got := regexp.MustCompile(`(?m)^\| [14]\d\d\d \|.*$`).FindAllString(document(t), -1)
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the document has\n%s\nand the server\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// The document has each reason to refuse a subscription, in the order of the table, and no other.
func TestRefusalsInTheDocument(t *testing.T) {
	var want []string
	for i, all := 0, reflect.ValueOf(newRefusals()); i < all.NumField(); i++ {
		of := all.Field(i)
		want = append(want, fmt.Sprintf("| %s | %d | %s |", of.FieldByName("kind"), of.FieldByName("status").Int(), of.FieldByName("message")))
	}
	_, rows, _ := strings.Cut(document(t), "| `type` | `status` | `error` |\n|---|---|---|\n")
	rows, _, _ = strings.Cut(rows, "\n\n")
	if diff := cmp.Diff(want, strings.Split(rows, "\n")); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
}

// The document has the limits of the server.
func TestLimitsInTheDocument(t *testing.T) {
	defaults := Options{}.withDefaults()
	for _, row := range []string{
		fmt.Sprintf("| message of a client | %d bytes;", maxMessage),
		fmt.Sprintf("| messages of a client | %.0f at once, %.0f a second", messageBurst, messageRate),
		fmt.Sprintf("| channels of a connection | %d ", defaults.MaxChannels),
		fmt.Sprintf("| bytes waiting for a client | %d bytes;", defaults.MaxQueue),
		fmt.Sprintf("| name of a channel, of an event | %d, %d bytes |", pusher.MaxChannelName, pusher.MaxEventName),
		fmt.Sprintf("| data of a published event | %d bytes;", maxData),
		fmt.Sprintf("| channels of a published event, events of a batch | %d, %d |", maxChannels, maxBatch),
		fmt.Sprintf("the last event of %d channels a node, for %.0f minutes", maxLastEvents, lastEventLifetime.Minutes()),
		fmt.Sprintf("(at most %.0f s) pings", defaults.ActivityTimeout.Seconds()),
		fmt.Sprintf("silent for %.0f s, and closes\nthe connection %.0f s later", defaults.ActivityTimeout.Seconds(), defaults.PongTimeout.Seconds()),
		fmt.Sprintf("lists at most\n%d channels", maxListed),
		fmt.Sprintf("may be %.0f s off", pusher.ClockSkew.Seconds()),
	} {
		if !strings.Contains(document(t), row) {
			t.Errorf("the document lacks %q", row)
		}
	}
}

// The document has the fields of each event, and an example.
func TestEventsInTheDocument(t *testing.T) {
	page := document(t)
	for _, kind := range []order.EventType{order.OrderPaid, order.OrderFailed, order.OrderCancelled} {
		event := paid(1, 7)
		event.Type = kind
		names := fields(t, string(appendOrderEvent(nil, &event)))
		if row := "| `" + string(kind) + "` | `" + strings.Join(names, "`, `") + "` |"; !strings.Contains(page, row) {
			t.Errorf("the document lacks %q", row)
		}
	}
	_, example, _ := strings.Cut(page, "```json\n")
	example, _, _ = strings.Cut(example, "\n```")
	event := paid(1, 7)
	if got, want := fields(t, example), fields(t, string(appendOrderEvent(nil, &event))); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("the example has %v, the event %v", got, want)
	}
}

// fields returns the names of a JSON object in their order.
func fields(t *testing.T, text string) (names []string) {
	t.Helper()
	var object jsontext.Value
	if err := json.Unmarshal([]byte(text), &object); err != nil {
		t.Fatal(err)
	}
	for _, match := range regexp.MustCompile(`"(\w+)":`).FindAllStringSubmatch(string(object), -1) {
		names = append(names, match[1])
	}
	return names
}
