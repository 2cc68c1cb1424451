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
