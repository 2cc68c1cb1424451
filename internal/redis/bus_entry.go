package redis

import (
	"encoding/binary"
	"errors"

	"orderflow/internal/bus"
)

// entryMax is how many messages an entry of a stream carries at most.
const entryMax = 64

var errBadEntry = errors.New("redis: an entry of the bus cannot be read")

// entryVersion begins every entry. Who does not know it leaves the entry to others; see consumer.keep.
const entryVersion = 1

// writeMessages returns messages as an entry carries them: the version, then of each its id, key, trace and body, with their lengths before
// them. The topic is that of the stream.
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

// readMessages reads what writeMessages wrote. What it returns lies in text, and in one copy of it.
func readMessages(topic, text string) ([]bus.Message, error) {
	if text == "" || text[0] != entryVersion {
		return nil, errBadEntry
	}
	b := []byte(text)
	messages := make([]bus.Message, 0, entryMax)
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
