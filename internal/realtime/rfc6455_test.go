package realtime

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"orderflow/test/env"
)

// Opcodes that only clients use here.
const (
	opContinuation = 0x0
	opBinary       = 0x2
	opPing         = 0x9
)

// clientFrame returns one masked frame of a client, with the shortest form of its length.
func clientFrame(first byte, payload string) []byte {
	frame := []byte{first}
	switch n := len(payload); {
	case n < 126:
		frame = append(frame, 0x80|byte(n))
	case n < 1<<16:
		frame = binary.BigEndian.AppendUint16(append(frame, 0x80|126), uint16(n))
	default:
		frame = binary.BigEndian.AppendUint64(append(frame, 0x80|127), uint64(n))
	}
	mask := []byte{0x12, 0x34, 0x56, 0x78}
	frame = append(frame, mask...)
	for i := range len(payload) {
		frame = append(frame, payload[i]^mask[i%4])
	}
	return frame
}

// concat joins frames.
func concat(frames ...[]byte) []byte { return slices.Concat(frames...) }

// clientClose returns a close frame of a client.
func clientClose(code int, reason string) []byte {
	return clientFrame(final|opClose, string(binary.BigEndian.AppendUint16(nil, uint16(code)))+reason)
}

// fragments returns a text in fragments of these sizes; the rest is one more.
func fragments(text string, sizes ...int) []byte {
	var frames []byte
	opcode := byte(opText)
	for _, size := range sizes {
		frames = append(frames, clientFrame(opcode, text[:size])...)
		opcode, text = opContinuation, text[size:]
	}
	return append(frames, clientFrame(final|opcode, text)...)
}

// received describes the frames of the server until the end of the connection.
type received struct {
	Errors int      // pusher:error
	Pongs  []string // payloads
	Close  int      // the code of the first close frame, 1005 for an empty one, 0 for none
}

// readUntilClosed reads until the server closes its side. A reset fails: it can destroy frames that the client has not read yet.
func readUntilClosed(reader io.Reader) (h received, err error) {
	for {
		head := make([]byte, 2)
		if _, err := io.ReadFull(reader, head); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return h, err
		}
		size := int(head[1])
		if size == length16 {
			long := make([]byte, 2)
			if _, err := io.ReadFull(reader, long); err != nil {
				return h, err
			}
			size = int(binary.BigEndian.Uint16(long))
		}
		payload := make([]byte, size)
		if _, err := io.ReadFull(reader, payload); err != nil {
			return h, err
		}
		switch head[0] & opcodeBits {
		case opPong:
			h.Pongs = append(h.Pongs, string(payload))
		case opClose:
			if h.Close != 0 {
				return h, fmt.Errorf("a second close frame: %q", payload)
			}
			if h.Close = 1005; size >= 2 {
				h.Close = int(binary.BigEndian.Uint16(payload))
			}
		case opText:
			if bytes.Contains(payload, []byte(`"pusher:error"`)) {
				h.Errors++
			}
		}
	}
}

// frameCase is a case of the Autobahn suite: the bytes of the client and the expected frames of the server.
type frameCase struct {
	send []byte
	want received
}

// closedByClient is a case after which the connection is still open: the client closes it.
func closedByClient(send []byte, want received) frameCase {
	want.Close = 1000
	return frameCase{concat(send, clientClose(1000, "")), want}
}

// closedByServer is a case in which the server closes the connection.
func closedByServer(code int, send []byte) frameCase { return frameCase{send, received{Close: code}} }

// autobahn returns the cases of the Autobahn suite by number, except those that repeat others in other sizes. The texts are not
// events, so each is answered with pusher:error where the suite expects an echo. Messages over 8 KiB
// (1.1.6 to 1.1.8, 1.2.6 to 1.2.8, 9.1.* to 9.6.*, 10.*) end with 1009.
func autobahn() map[string]frameCase {
	const hello = "Hello, wörld"
	text, one := func(s string) []byte { return clientFrame(final|opText, s) }, received{Errors: 1}
	ping := func(s string) []byte { return clientFrame(final|opPing, s) }
	large := strings.Repeat("*", 65_535)
	cases := map[string]frameCase{
		"1.1.1 empty text":       closedByClient(text(""), one),
		"1.1.2 text of 125":      closedByClient(text(large[:125]), one),
		"1.1.3 text of 126":      closedByClient(text(large[:126]), one),
		"1.1.6 text of 65,535":   closedByServer(1009, text(large)),
		"1.2.1 empty binary":     closedByClient(clientFrame(final|opBinary, ""), one),
		"1.2.3 binary of 126":    closedByClient(clientFrame(final|opBinary, large[:126]), one),
		"2.1 empty ping":         closedByClient(ping(""), received{Pongs: []string{""}}),
		"2.3 ping of bytes":      closedByClient(ping("\x00\xff\xfe\xfd"), received{Pongs: []string{"\x00\xff\xfe\xfd"}}),
		"2.4 ping of 125":        closedByClient(ping(large[:125]), received{Pongs: []string{large[:125]}}),
		"2.5 ping of 126":        closedByServer(1002, ping(large[:126])),
		"2.9 pong, then ping":    closedByClient(concat(clientFrame(final|opPong, "unasked"), ping("asked")), received{Pongs: []string{"asked"}}),
		"2.10 pings":             closedByClient(concat(ping("1"), ping("2"), ping("3")), received{Pongs: []string{"1", "2", "3"}}),
		"3.2 RSV 2 after text":   {concat(text(hello), clientFrame(final|0x20|opText, hello), ping("")), received{Errors: 1, Close: 1002}},
		"5.1 ping in parts":      closedByServer(1002, concat(clientFrame(opPing, "a"), clientFrame(final|opContinuation, "b"))),
		"5.2 pong in parts":      closedByServer(1002, concat(clientFrame(opPong, "a"), clientFrame(final|opContinuation, "b"))),
		"5.3 text in parts":      closedByClient(fragments(hello, 6), one),
		"5.6 ping between parts": closedByClient(concat(clientFrame(opText, "a"), ping("p"), clientFrame(final|opContinuation, "b")), received{Errors: 1, Pongs: []string{"p"}}),
		"5.9 lone continuation":  closedByServer(1002, concat(clientFrame(final|opContinuation, "a"), text("b"))),
		"5.12 lone, not final":   closedByServer(1002, concat(clientFrame(opContinuation, "a"), text("b"))),
		"5.15 after the end":     {concat(fragments("ab", 1), clientFrame(opContinuation, "c"), text("d")), received{Errors: 1, Close: 1002}},
		"5.18 text within text":  closedByServer(1002, concat(clientFrame(opText, "a"), text("b"))),
		"7.1.2 two closes":       closedByServer(1000, concat(clientClose(1000, ""), clientClose(1000, ""))),
		"7.1.3 ping after close": closedByServer(1000, concat(clientClose(1000, ""), ping("late"))),
		"7.1.4 text after close": closedByServer(1000, concat(clientClose(1000, ""), text(hello))),
		"7.1.5 close in a text":  closedByServer(1000, concat(clientFrame(opText, "a"), clientClose(1000, ""), clientFrame(final|opContinuation, "b"))),
		"7.1.6 256 KiB, close":   closedByServer(1009, concat(text(strings.Repeat("B", 256<<10)), clientClose(1000, ""))),
		"7.3.1 empty close":      closedByServer(1005, clientFrame(final|opClose, "")),
		"7.3.2 close of 1":       closedByServer(1002, clientFrame(final|opClose, "a")),
		"7.3.4 close, reason":    closedByServer(1000, clientClose(1000, hello)),
		"7.3.5 reason of 123":    closedByServer(1000, clientClose(1000, large[:123])),
		"7.3.6 reason of 124":    closedByServer(1002, clientClose(1000, large[:124])),
		"7.5.1 reason not UTF-8": closedByServer(1002, clientClose(1000, "\xce\xba\xed\xa0\x80")),
		"10.1.1 65,536 in parts": closedByServer(1009, fragments(large+"*", slices.Repeat([]int{1300}, 50)...)),

		"a close of 1 after 127 bytes": {concat(text(large[:127]), clientFrame(final|opClose, "a")), received{Errors: 1, Close: 1002}},
		"a length of 2^63":             closedByServer(1009, []byte{0x81, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}),
		"unmasked":                     closedByServer(1002, []byte{0x81, 2, '{', '}'}),
		"much input after the error":   closedByServer(1002, concat(clientFrame(final|3, "a"), bytes.Repeat(text(large[:8000]), 200))),
	}
	for rsv := range byte(7) {
		cases[fmt.Sprintf("3.* RSV %d", rsv+1)] = closedByServer(1002, clientFrame(final|(rsv+1)<<4|opText, hello))
		cases[fmt.Sprintf("3.* RSV %d of a ping", rsv+1)] = closedByServer(1002, clientFrame(final|(rsv+1)<<4|opPing, hello))
	}
	for _, opcode := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		cases[fmt.Sprintf("4.* opcode %d", opcode)] = closedByServer(1002, clientFrame(final|opcode, hello))
	}
	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999} {
		cases[fmt.Sprintf("7.7.* close %d", code)] = closedByServer(code, clientClose(code, ""))
	}
	for _, code := range []int{0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65_535} {
		cases[fmt.Sprintf("7.9.*, 7.13.* close %d", code)] = closedByServer(1002, clientClose(code, ""))
	}
	return cases
}

// unicode returns the cases of the Autobahn suite on UTF-8.
func unicode() map[string]frameCase {
	cases := map[string]frameCase{
		// The rest of these texts is never sent: the connection ends at the first invalid byte.
		"6.4.1 second part invalid": closedByServer(1007, concat(clientFrame(opText, "κόσμε"), clientFrame(opContinuation, "\xf4\x90\x80\x80"))),
		"6.4.3 half a frame":        closedByServer(1007, clientFrame(final|opText, "κόσμε\xf4\x90\x80\x80edited")[:20]),
		"6.2.2 valid, split":        closedByClient(fragments("Hello-µ@ßöäüàá-UTF-8!!", 12), received{Errors: 1}),
		"control between halves":    closedByClient(concat(clientFrame(opText, "\xc3"), clientFrame(final|opPing, ""), clientFrame(final|opContinuation, "\xb6")), received{Errors: 1, Pongs: []string{""}}),
		"binary is not checked":     closedByClient(clientFrame(final|opBinary, "\xff"), received{Errors: 1}),
	}
	for _, valid := range []string{
		"κόσμε", "\x00", "\u0080", "\u0800", "\U00010000", "\x7f", "\u07ff", "\uffff", "\U0010ffff", "\ud7ff", "\ue000", "\ufffd", "\ufffe",
		"\U0001fffe", "\U0010fffe",
	} {
		cases[fmt.Sprintf("6.* %+q", valid)] = closedByClient(clientFrame(final|opText, valid), received{Errors: 1})
		cases[fmt.Sprintf("6.* %+q, octets", valid)] = closedByClient(fragments(valid, slices.Repeat([]int{1}, len(valid)-1)...), received{Errors: 1})
	}
	for _, invalid := range []string{
		"\xce", "\xce\xba\xe1", "\xce\xba\xe1\xbd", "κόσμε\xed\xa0\x80edited", // incomplete; a surrogate
		"\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80", "\xf7\xbf\xbf\xbf", "\xfb\xbf\xbf\xbf\xbf", "\xf4\x90\x80\x80", // too large
		"\x80", "\xbf", "\x80\xbf\x80", "\x80\x81\x82\x83", // lone continuations
		"\xc0 \xc1 ", "\xe0 \xe1 ", "\xf0 \xf1 ", "\xf8 \xf9 ", "\xfc \xfd ", "\xc0", "\xe0\x80", "\xf0\x80\x80", "\xdf", "\xef\xbf", "\xfe", "\xff", "\xfe\xfe\xff\xff",
		"\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xc0\x80", "\xe0\x80\x80", // overlong
		"\xed\xa0\x80", "\xed\xad\xbf", "\xed\xae\x80", "\xed\xbf\xbf", "\xed\xa0\x80\xed\xb0\x80", // surrogates
	} {
		cases[fmt.Sprintf("6.* %q", invalid)] = closedByServer(1007, clientFrame(final|opText, invalid))
		cases[fmt.Sprintf("6.* %q, octets", invalid)] = closedByServer(1007, fragments(invalid, slices.Repeat([]int{1}, len(invalid)-1)...))
	}
	return cases
}

// The server answers frames as RFC 6455 requires, over TCP, and its close frame reaches the client.
func TestRFC6455(t *testing.T) {
	n := newNode(t, newBus(t), nil)
	for group, cases := range map[string]map[string]frameCase{"frames": autobahn(), "UTF-8": unicode()} {
		t.Run(group, func(t *testing.T) {
			for name, test := range cases {
				for way, step := range map[string]int{"at once": len(test.send), "octet by octet": 1} {
					if step == 1 && len(test.send) > 300 {
						continue
					}
					connection, reader, _ := (&node{T: t, Server: n.Server, addr: n.addr}).handshake("")
					go func() { // while the client reads
						for part := range slices.Chunk(test.send, step) {
							if _, err := connection.Write(part); err != nil {
								return
							}
						}
					}()
					got, err := readUntilClosed(reader)
					if err != nil {
						t.Errorf("%s, %s: %v after %+v", name, way, err, got)
					}
					if diff := cmp.Diff(test.want, got); diff != "" {
						t.Errorf("%s, %s: want (-), got (+):\n%s", name, way, diff)
					}
					_ = connection.Close()
				}
			}
		})
	}
	env.Eventually(t, "no client is connected", func() bool { return n.hub.count() == 0 })
}

// Handshakes of another version of WebSockets or of HTTP are refused as RFC 6455 requires. No extension is
// negotiated.
func TestHandshakesRefused(t *testing.T) {
	n := newNode(t, newBus(t), nil)
	for name, test := range map[string]struct {
		proto, version string
		status         int
		versions       string // in the answer
	}{
		"HTTP/1.0":       {"HTTP/1.0", "Sec-WebSocket-Version: 13\r\n", http.StatusBadRequest, ""},
		"version 8":      {"HTTP/1.1", "Sec-WebSocket-Version: 8\r\n", http.StatusUpgradeRequired, "13"},
		"version 14":     {"HTTP/1.1", "Sec-WebSocket-Version: 14\r\n", http.StatusUpgradeRequired, "13"},
		"no version":     {"HTTP/1.1", "", http.StatusUpgradeRequired, "13"},
		"version 13, ok": {"HTTP/1.1", "Sec-WebSocket-Version: 13\r\n", http.StatusSwitchingProtocols, ""},
		// Cases 12.* and 13.* of the Autobahn suite offer compression.
		"compression": {
			"HTTP/1.1", "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n",
			http.StatusSwitchingProtocols, "",
		},
	} {
		connection := n.tcp()
		_, err := fmt.Fprintf(connection, "GET /app/%s?protocol=7 %s\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n", documented().Key, test.proto, n.addr, test.version)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(bufio.NewReader(connection), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		_ = response.Body.Close()
		if response.StatusCode != test.status {
			t.Errorf("%s: status %d, want %d", name, response.StatusCode, test.status)
		}
		if got := response.Header.Get("Sec-WebSocket-Version"); got != test.versions {
			t.Errorf("%s: versions %q, want %q", name, got, test.versions)
		}
		if got := response.Header.Get("Sec-WebSocket-Extensions"); got != "" {
			t.Errorf("%s: extensions %q are negotiated", name, got)
		}
		_ = connection.Close()
	}
}

// A refused client receives the reason, also when it has sent more than the server reads.
func TestRefusedWithInput(t *testing.T) {
	n := newNode(t, newBus(t), nil)
	for name, input := range map[string][]byte{
		"many messages":              bytes.Repeat(clientFrame(final|opText, strings.Repeat("x", 8000)), 100),
		"a message that is too long": clientFrame(final|opText, strings.Repeat("x", 60_000)),
		"an invalid frame":           concat(clientFrame(final|3, "x"), bytes.Repeat([]byte("x"), 100_000)),
	} {
		connection, reader, _ := n.handshakeWithKey("wrong-key", "")
		go func() { // while the client reads
			_, _ = connection.Write(input)
		}()
		got, err := readUntilClosed(reader)
		if err != nil {
			t.Errorf("%s: %v after %+v", name, err, got)
		}
		if diff := cmp.Diff(received{Errors: 1, Close: 4001}, got); diff != "" {
			t.Errorf("%s: want (-), got (+):\n%s", name, diff)
		}
		_ = connection.Close()
	}
}

// The server waits for a client to close its side, but with limits of time and of bytes.
func TestClosingIsBounded(t *testing.T) {
	n := newNode(t, newBus(t), nil)
	for name, sends := range map[string]bool{"silent": false, "sends without end": true} {
		connection, reader, _ := n.handshake("")
		if _, err := connection.Write(clientFrame(final|3, "x")); err != nil {
			t.Fatal(err)
		}
		if !sends {
			if got, err := readUntilClosed(reader); err != nil || got.Close != 1002 {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for sends {
				if _, err := connection.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}()
		env.Eventually(t, "no client is connected", func() bool { return n.hub.count() == 0 })
		<-ended
		_ = connection.Close()
	}
}
