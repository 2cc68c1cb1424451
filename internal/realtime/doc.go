// Package realtime is the role that notifies customers of their orders over WebSockets. It implements version 7 of the Pusher Channels
// protocol (pusher.com/docs: "Pusher Channels Protocol", "HTTP API"), so that pusher-js and laravel-echo connect unchanged. Public,
// private and cache channels are supported; presence channels and client events are refused.
//
//	bus: changes        ──▶ sendChanges       ──┐                     ┌─▶ conn: queue ─┐
//	bus: channel-events ──▶ sendChannelEvents ──┴▶ hub ──▶ channel ───┼─▶ conn: queue ─┼──▶ flusher ──▶ sockets
//	   ▲                                                              └─▶ conn: queue ─┘
//	   └── HTTP API: signed, POST /apps/{id}/events
//
// The HTTP API also reads channels, from the hub of the node that receives the request: GET /apps/{id}/channels.
//
// Every node reads both topics completely and sends to its own clients. An event becomes one frame, whose bytes all its receivers
// share. A broadcast only queues the frame; it never waits for a client.
//
// # Writing
//
// The state of a conn decides which goroutine writes to it:
//
//	idle ──a frame is queued──▶ waiting ──the system takes all bytes──▶ idle
//	                               │
//	                               └──the socket's buffer is full──▶ blocked ──all bytes are written──▶ idle
//
// A waiting conn is written by its flusher. There is one flusher for each processor. It goes through its conns and writes all frames of
// a conn in one system call, without ever blocking: the busier the server, the more frames go out in a call. A blocked conn has a
// goroutine of its own, which waits for the client and then ends. So an idle connection has one goroutine, its reader.
//
// # Slow clients
//
// A client that leaves more than MaxQueue bytes unread, or reads nothing for ten seconds, is disconnected. The state distinguishes a
// slow client from a slow server: when a waiting conn has 32 KiB in its queue, broadcasts wait for the flushers
// (flusher.waitForFlush), so only the queue of a blocked client can overflow. Meanwhile messages wait in the subscriptions of the bus
// and, before those overflow, in the requests of publishers (gate).
//
// # Closing
//
// The WebSocket library checks frames; conn.next checks that texts are UTF-8, and frameScanner finds close frames of one byte. Each of
// these errors queues a close frame behind the frames already queued. When it is written, the server closes its sending side, and reads
// and discards input until the client has closed its own side, for at most two seconds and 4 MiB. Only then does it close the connection:
// the system resets a connection that is closed with unread input, and a reset can destroy the close frame on its way.
//
// # Guarantees
//
// A connected client receives each event at least once, in the order of the bus. A client that is not connected receives nothing,
// except the last event of a cache channel. Clients that must not miss an event read the history (docs/realtime.md).
package realtime
