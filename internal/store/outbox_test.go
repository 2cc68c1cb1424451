package store_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"orderflow/internal/order"
	"orderflow/internal/store"
	"orderflow/internal/store/storetest"
)

func TestRefsOfEvents(t *testing.T) {
	for _, test := range []struct {
		events []order.Event
		want   string
	}{
		{nil, ""},
		{[]order.Event{{OrderID: 7, Seq: 3}}, "7:3"},
		{[]order.Event{{OrderID: 101, Seq: 1}, {OrderID: 102, Seq: 1}, {OrderID: 103, Seq: 1}, {OrderID: 7, Seq: 3}}, "101-103:1 7:3"},
		{[]order.Event{{OrderID: 1, Seq: 1}, {OrderID: 2, Seq: 2}, {OrderID: 3, Seq: 2}, {OrderID: 3, Seq: 3}}, "1:1 2-3:2 3:3"},
		{[]order.Event{{OrderID: 2, Seq: 1}, {OrderID: 1, Seq: 1}}, "2:1 1:1"},
	} {
		if got := store.EncodeRefs(test.events); got != test.want {
			t.Errorf("%v are named %q, want %q", test.events, got, test.want)
		}
	}
}

func TestRefsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := rapid.SliceOf(rapid.Custom(func(t *rapid.T) order.Event {
			return order.Event{
				OrderID: rapid.OneOf(rapid.Int64Range(1, 6), rapid.Int64Range(1, order.MaxID)).Draw(t, "order"), Seq: rapid.IntRange(1, 3).Draw(t, "sequence"),
			}
		})).Draw(t, "events")
		var want [][2]int64
		for _, e := range events {
			want = append(want, [2]int64{e.OrderID, int64(e.Seq)})
		}
		got, err := store.DecodeRefs(store.EncodeRefs(events))
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Fatalf("%v (-want +got)\n%s", err, diff)
		}
	})
}

func FuzzDecodeRefs(f *testing.F) {
	for _, seed := range []string{
		"", "7:3", "101-164:1 7:3", "5-1:1", "1-99999999999:1", "-1:1", ":", "1:", "x:1", "1-2-3:4", "9223372036854775807-9223372036854775807:1", "1 2",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 64 {
			return // each part may stand for a million
		}
		refs, err := store.DecodeRefs(text)
		if err != nil {
			return
		}
		var events []order.Event
		for _, r := range refs {
			events = append(events, order.Event{OrderID: r[0], Seq: int(r[1])})
		}
		again, err := store.DecodeRefs(store.EncodeRefs(events))
		if diff := cmp.Diff(refs, again); err != nil || diff != "" {
			t.Errorf("%q: %v\n%s", text, err, diff)
		}
	})
}

// TestUnreadableOutboxRow: the error names a row that cannot be read, and the other rows are returned.
func TestUnreadableOutboxRow(t *testing.T) {
	s, path := sample(t, 10)
	must(t, raw(t, path), "INSERT INTO outbox (id, events, created_at, leased_until) VALUES ('broken', '1-x:1', 0, 0)")
	_, batch, err := s.CreateOrders(t.Context(), []order.Draft{storetest.Draft(t, 1, "k", 1, 1)})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.LeaseOutbox(t.Context(), -1, 0, 10)
	if err == nil || !strings.Contains(err.Error(), "outbox row broken") || !strings.Contains(err.Error(), `"1-x:1"`) {
		t.Errorf("the error: %v", err)
	}
	if diff := cmp.Diff([]order.EventBatch{batch}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
