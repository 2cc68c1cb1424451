package redis

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"orderflow/internal/bus"
)

// Decoding an encoded entry returns its messages, reads no data beyond it, and encoding them again returns the same entry, except for
// lengths that were encoded in more bytes than necessary.
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
				t.Errorf("%d messages and the error %v", len(messages), err)
			}
			return
		}
		written := string(writeMessages(messages))
		if len(written) > len(text) {
			t.Errorf("%d bytes were decoded as messages that take %d", len(text), len(written))
		}
		again, err := readMessages("t", written)
		if diff := cmp.Diff(messages, again, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Errorf("decoded again (%v): %s", err, diff)
		}
	})
}
