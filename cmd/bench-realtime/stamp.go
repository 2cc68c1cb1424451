package main

import "bytes"

// payloadSize is the length of every message's data in bytes.
const payloadSize = 256

// stamp begins a message's data, so that a subscriber finds it without parsing JSON: a mark that occurs nowhere before it, then three
// numbers of fixed length in hexadecimal digits.
type stamp struct {
	at        int64  // time of sending in ns since 1970, which both processes share
	publisher int    // below publishers
	number    uint32 // of this publisher's messages on this channel, from 1
}

const (
	stampMark = '@'
	stampSize = 1 + 16 + 1 + 8
)

// appendTo appends data that begins with the stamp.
func (s stamp) appendTo(data []byte) []byte {
	data = append(data, stampMark)
	data = appendHex(data, uint64(s.at), 16)
	data = appendHex(data, uint64(s.publisher), 1)
	data = appendHex(data, uint64(s.number), 8)
	return append(data, bytes.Repeat([]byte{'x'}, payloadSize-stampSize)...)
}

// findStamp returns the stamp in a delivery, if there is one.
func findStamp(text []byte) (s stamp, found bool) {
	i := bytes.IndexByte(text, stampMark)
	if i < 0 || len(text) < i+stampSize {
		return s, false
	}
	digits := text[i+1 : i+stampSize]
	s.at, s.publisher, s.number = int64(readHex(digits[:16])), int(readHex(digits[16:17])), uint32(readHex(digits[17:]))
	return s, s.publisher < publishers
}

func appendHex(to []byte, n uint64, digits int) []byte {
	for i := digits - 1; i >= 0; i-- {
		to = append(to, "0123456789abcdef"[n>>(4*i)&15])
	}
	return to
}

func readHex(digits []byte) (n uint64) {
	for _, d := range digits {
		if d >= 'a' {
			d -= 'a' - '0' - 10
		}
		n = n<<4 | uint64(d-'0')
	}
	return n
}
