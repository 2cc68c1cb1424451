package realtime

import (
	"encoding/binary"

	"orderflow/internal/pusher"
)

// Opcodes of a WebSocket frame (RFC 6455, section 5.2).
const (
	opText  = 0x1
	opClose = 0x8
	opPong  = 0xA

	final = 0x80 // the bit of the last frame of a message; the server sends one frame a message
)

// appendFrame appends one unmasked frame, as servers send them. The library reads frames, but does not write them: so the bytes of a
// broadcast are built once, and the frames of a connection are written together.
func appendFrame(dst []byte, opcode byte, payload []byte) []byte {
	dst = append(dst, final|opcode)
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, 126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 127), uint64(n))
	}
	return append(dst, payload...)
}

// closeFrame returns the frame that closes a connection with a code. A control frame has at most 123 bytes of text.
func closeFrame(code pusher.Code) []byte {
	payload := binary.BigEndian.AppendUint16(nil, uint16(code.Number))
	payload = append(payload, code.Text[:min(len(code.Text), 123)]...)
	return appendFrame(nil, opClose, payload)
}

// frameScanner scans the client's bytes for a close frame of one byte, which the WebSocket library does not report.
type frameScanner struct {
	header    [14]byte
	have      int   // bytes of the header
	payload   int64 // bytes of the payload that are still missing
	halfClose bool  // a close frame of one byte was received
}

// Parts of the header of a client's frame, which is masked.
const (
	opcodeBits = 0x0F
	lengthBits = 0x7F
	length16   = 126 // the length is in the next two bytes
	length64   = 127 // the length is in the next eight bytes
	maskBytes  = 4
)

// scan scans the next bytes. It cannot parse unmasked frames; for these the library closes the connection.
func (f *frameScanner) scan(p []byte) {
	for len(p) > 0 {
		if f.payload > 0 {
			n := min(f.payload, int64(len(p)))
			f.payload -= n
			p = p[n:]
			continue
		}
		f.header[f.have] = p[0]
		f.have++
		p = p[1:]
		f.parseHeader()
	}
}

// parseHeader parses the header when it is complete.
func (f *frameScanner) parseHeader() {
	if f.have < 2 {
		return
	}
	length, extra := int64(f.header[1]&lengthBits), 0
	switch length {
	case length16:
		extra = 2
	case length64:
		extra = 8
	}
	if f.have < 2+extra+maskBytes {
		return
	}
	switch extra {
	case 2:
		length = int64(binary.BigEndian.Uint16(f.header[2:]))
	case 8:
		length = int64(binary.BigEndian.Uint64(f.header[2:])) // the library refuses a negative one
	}
	f.halfClose = f.halfClose || f.header[0]&opcodeBits == opClose && length == 1
	f.have, f.payload = 0, length
}
