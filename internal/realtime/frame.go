package realtime

import "encoding/binary"

// Opcodes of a WebSocket frame (RFC 6455, section 5.2).
const (
	opText  = 0x1
	opClose = 0x8
	opPong  = 0xA

	final = 0x80 // the bit of a frame that ends its message; all of ours do
)

// appendFrame appends one unmasked frame, as servers send them. Frames are made here, and not by the library that reads
// them, so that the bytes of a broadcast are made once and lie together for one write to a connection.
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

// closeFrame is the frame that ends a connection with a code. A control frame has room for 123 bytes of text.
func closeFrame(code Code) []byte {
	payload := binary.BigEndian.AppendUint16(nil, uint16(code.Number))
	payload = append(payload, code.Text[:min(len(code.Text), 123)]...)
	return appendFrame(nil, opClose, payload)
}

// frames follows the bytes that a client sends from frame to frame. It keeps what the WebSocket library does not report.
type frames struct {
	header    [14]byte
	have      int   // bytes of the header
	payload   int64 // bytes of the payload that are still to come
	halfClose bool  // a close frame of one byte came
}

// Bits and lengths of a frame's header as clients send it: masked.
const (
	opcodeBits = 0x0F
	lengthBits = 0x7F
	length16   = 126 // the length is in the next two bytes
	length64   = 127 // the length is in the next eight bytes
	maskBytes  = 4
)

// scan takes the next bytes in. Frames that are not masked are not understood; the library ends their connection.
func (f *frames) scan(p []byte) {
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
		f.begin()
	}
}

// begin begins the payload when the header is complete.
func (f *frames) begin() {
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
		length = int64(binary.BigEndian.Uint64(f.header[2:])) // the library refuses one below 0
	}
	f.halfClose = f.halfClose || f.header[0]&opcodeBits == opClose && length == 1
	f.have, f.payload = 0, length
}
