package redis

import (
	"encoding/binary"
	"errors"

	"orderflow/internal/bus"
)

// entryMax is how many messages an entry of a stream carries at most.
const entryMax = 64

var errBadEntry = errors.New("redis: an entry of the bus cannot be read")

// writeMessages returns messages as an entry carries them: of each its id, key, trace and body, with their lengths before
// them. The topic is that of the stream.
func writeMessages(messages []bus.Message) (b []byte) {
	for i := range messages {
		m := &messages[i]
		for _, part := range []string{m.ID, m.Key, m.Traceparent} {
			b = append(binary.AppendUvarint(b, uint64(len(part))), part...)
		}
		b = append(binary.AppendUvarint(b, uint64(len(m.Body))), m.Body...)
	}
	return b
}

// readMessages reads what writeMessages wrote.
func readMessages(topic, text string) (messages []bus.Message, err error) {
	for len(text) > 0 {
		var parts [4]string
		for i := range parts {
			if parts[i], text, err = readPart(text); err != nil {
				return nil, err
			}
		}
		messages = append(messages, bus.Message{
			ID: parts[0], Key: parts[1], Traceparent: parts[2], Body: []byte(parts[3]), Topic: topic,
		})
	}
	return messages, nil
}

func readPart(text string) (part, rest string, err error) {
	head := []byte(text[:min(len(text), binary.MaxVarintLen64)])
	length, size := binary.Uvarint(head)
	if size <= 0 || length > uint64(len(text)-size) {
		return "", "", errBadEntry
	}
	text = text[size:]
	return text[:length], text[length:], nil
}
