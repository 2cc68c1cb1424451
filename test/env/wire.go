package env

import (
	"bytes"
	bigendian "encoding/binary"
	"io"
	"net/url"
)

// wire is as much of a database's protocol as a CommitCutter needs, for one connection.
type wire interface {
	// next reads a packet of the client.
	next(in io.Reader) ([]byte, error)
	// statement is the text of the statement that a packet runs; nil for another packet.
	statement(packet []byte) []byte
	// committed reports whether an answer to COMMIT confirms it.
	committed(answer []byte) bool
}

func newWire(address *url.URL) wire {
	if address.Scheme == "postgres" {
		return &postgresWire{texts: map[string][]byte{}}
	}
	return mysqlWire{}
}

// mysqlWire: a packet has a head of three bytes of length and its number.
type mysqlWire struct{}

const (
	mysqlHead     = 4
	mysqlComQuery = 3 // the command, first byte of a packet, with which a statement comes as text
)

func (mysqlWire) next(in io.Reader) ([]byte, error) {
	var head [mysqlHead]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, err
	}
	return rest(in, head[:], int(head[0])|int(head[1])<<8|int(head[2])<<16)
}

func (mysqlWire) statement(packet []byte) []byte {
	text, query := bytes.CutPrefix(packet[mysqlHead:], []byte{mysqlComQuery})
	if !query {
		return nil
	}
	return text
}

func (mysqlWire) committed(answer []byte) bool {
	return len(answer) > mysqlHead && answer[mysqlHead] == 0 // the packet of success begins so
}

// postgresWire: a packet has its kind, and four bytes of length that count themselves. The first packets have no kind.
type postgresWire struct {
	started bool
	texts   map[string][]byte // of prepared statements, by name
}

const postgresStart = 3 << 16 // the protocol, with which a session starts

func (w *postgresWire) next(in io.Reader) ([]byte, error) {
	head := make([]byte, 5)
	if !w.started {
		head = head[:4]
	}
	if _, err := io.ReadFull(in, head); err != nil {
		return nil, err
	}
	packet, err := rest(in, head, int(bigendian.BigEndian.Uint32(head[len(head)-4:]))-4)
	if err == nil && !w.started {
		w.started = bigendian.BigEndian.Uint32(packet[4:])&^0xffff == postgresStart // else it asks for encryption, or to cancel a statement
	}
	return packet, err
}

func (w *postgresWire) statement(packet []byte) []byte {
	if len(packet) < 6 {
		return nil
	}
	body := packet[5:]
	switch packet[0] {
	case 'Q':
		return bytes.TrimSuffix(body, []byte{0})
	case 'P': // prepares: the name, then the text
		name, text, _ := bytes.Cut(body, []byte{0})
		text, _, _ = bytes.Cut(text, []byte{0})
		w.texts[string(name)] = bytes.Clone(text)
	case 'B': // runs: the portal, then the name of the statement
		_, name, _ := bytes.Cut(body, []byte{0})
		name, _, _ = bytes.Cut(name, []byte{0})
		return w.texts[string(name)]
	}
	return nil
}

func (*postgresWire) committed(answer []byte) bool { return len(answer) > 0 && answer[0] == 'C' }

// rest reads the rest of a packet, behind its head.
func rest(in io.Reader, head []byte, size int) ([]byte, error) {
	packet := append(make([]byte, 0, len(head)+size), head...)
	packet = packet[:len(head)+size]
	_, err := io.ReadFull(in, packet[len(head):])
	return packet, err
}
