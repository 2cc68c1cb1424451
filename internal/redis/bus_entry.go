package redis

import (
	"encoding/binary"
	"errors"

	"orderflow/internal/bus"
)

// entryMessages is the most messages of a stream entry.
const entryMessages = 64

var errBadEntry = errors.New("redis: unreadable entry of the bus")

// entryVersion begins every entry. A process of a release that does not know the version leaves the entry to others; see
// consumer.addEntry.
const entryVersion = 1

// writeMessages encodes messages as an entry: the version, then for each message its id, key, trace context and body, each preceded by
// its length. The topic is not encoded: the stream belongs to one.
func writeMessages(messages []bus.Message) []byte {
	size := 1
	for i := range messages {
		m := &messages[i]
		size += 4*binary.MaxVarintLen32 + len(m.ID) + len(m.Key) + len(m.Traceparent) + len(m.Body)
	}
	b := append(make([]byte, 0, size), entryVersion)
	for i := range messages {
		m := &messages[i]
		b = append(binary.AppendUvarint(b, uint64(len(m.ID))), m.ID...)
		b = append(binary.AppendUvarint(b, uint64(len(m.Key))), m.Key...)
		b = append(binary.AppendUvarint(b, uint64(len(m.Traceparent))), m.Traceparent...)
		b = append(binary.AppendUvarint(b, uint64(len(m.Body))), m.Body...)
	}
	return b
}

// readMessages decodes an entry. The messages share the memory of text and of one copy of it.
func readMessages(topic, text string) ([]bus.Message, error) {
	if text == "" || text[0] != entryVersion {
		return nil, errBadEntry
	}
	b := []byte(text)
	messages := make([]bus.Message, 0, entryMessages)
	for at := 1; at < len(text); {
		var from, to [4]int
		for i := range from {
			length, size := binary.Uvarint(b[at:])
			if size <= 0 || length > uint64(len(b)-at-size) {
				return nil, errBadEntry
			}
			from[i] = at + size
			to[i] = from[i] + int(length)
			at = to[i]
		}
		messages = append(messages, bus.Message{
			ID: text[from[0]:to[0]], Key: text[from[1]:to[1]], Traceparent: text[from[2]:to[2]], Body: b[from[3]:to[3]:to[3]], Topic: topic,
		})
	}
	return messages, nil
}
