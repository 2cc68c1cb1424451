package redis

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"orderflow/internal/bus"
)

// FuzzEntry reads whatever may stand in an entry: it never panics, and what it reads is written as it was.
func FuzzEntry(f *testing.F) {
	f.Add("")
	f.Add(string(appendMessages(nil, []bus.Message{{ID: "1-1", Key: "1", Body: []byte("body"), Traceparent: "00-1"}, {}})))
	f.Add("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
	f.Add("\x05abc")
	f.Fuzz(func(t *testing.T, text string) {
		messages, err := readMessages("topic", text)
		if err != nil {
			return
		}
		again, err := readMessages("topic", string(appendMessages(nil, messages)))
		if diff := cmp.Diff(messages, again); err != nil || diff != "" {
			t.Errorf("%v, %s", err, diff)
		}
	})
}
