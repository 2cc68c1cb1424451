package main

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Opcodes of WebSocket frames (RFC 6455, section 5.2).
const (
	frameText  = 1
	frameClose = 8
	framePing  = 9
	framePong  = 10
)

// errShort means that the rest of a frame is missing.
var errShort = errors.New("incomplete frame")

// nextFrame returns the first frame of a server in data, and the rest. It copies nothing.
func nextFrame(data []byte) (kind byte, payload, rest []byte, err error) {
	if len(data) < 2 {
		return 0, nil, data, errShort
	}
	const final, extensions, masked = 0x80, 0x70, 0x80
	if data[0]&(final|extensions) != final || data[1]&masked != 0 {
		return 0, nil, data, fmt.Errorf("a frame begins with % x, which is a fragment, compressed, or masked", data[:2])
	}
	kind = data[0] & 15
	head, size := 2, int(data[1])
	switch size {
	case 126:
		if head = 4; len(data) < head {
			return 0, nil, data, errShort
		}
		size = int(binary.BigEndian.Uint16(data[2:]))
	case 127:
		if head = 10; len(data) < head {
			return 0, nil, data, errShort
		}
		long := binary.BigEndian.Uint64(data[2:])
		if long > frameMax {
			return 0, nil, data, fmt.Errorf("a frame of %d bytes is longer than %d", long, frameMax)
		}
		size = int(long)
	}
	if len(data) < head+size {
		return 0, nil, data, errShort
	}
	return kind, data[head : head+size], data[head+size:], nil
}

// frameMax is the largest payload: with its header it fits into a loop's buffer.
const frameMax = bufferSize - 16

// clientFrame returns a short frame of a client, masked by zeros.
func clientFrame(kind byte, payload []byte) ([]byte, error) {
	if len(payload) > 125 {
		return nil, fmt.Errorf("a frame of %d bytes is too long to be sent", len(payload))
	}
	return append([]byte{0x80 | kind, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload...), nil
}
