package redis

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"orderflow/internal/bus"
)

// What is written is read; what is read is never more than was there; and it is written again as it was, but for lengths
// that somebody wrote in more bytes than they need.
func FuzzEntry(f *testing.F) {
	for _, messages := range [][]bus.Message{
		nil, {{}}, {{ID: "7-1", Key: "7", Topic: "t", Body: []byte("body"), Traceparent: "00-01"}, {ID: "é", Topic: "t", Body: []byte{0, 0xff}}},
	} {
		f.Add(string(writeMessages(messages)))
	}
	f.Add("")
	f.Add("\x02\x00\x00\x00\x00")
	f.Add("\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
	f.Fuzz(func(t *testing.T, text string) {
		messages, err := readMessages("t", text)
		if err != nil {
			if len(messages) > 0 {
				t.Errorf("%d messages and %v", len(messages), err)
			}
			return
		}
		written := string(writeMessages(messages))
		if len(written) > len(text) {
			t.Errorf("%d bytes were read as what takes %d", len(text), len(written))
		}
		again, err := readMessages("t", written)
		if diff := cmp.Diff(messages, again, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Errorf("read again (%v): %s", err, diff)
		}
	})
}
