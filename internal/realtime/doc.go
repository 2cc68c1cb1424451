// Package realtime is the role that tells customers what becomes of their orders, over WebSockets, in version 7 of the
// Pusher Channels protocol (pusher.com/docs: "Pusher Channels Protocol", "HTTP API"), so that pusher-js and laravel-echo
// connect unchanged. Public, private and cache channels are supported; presence channels and client events are refused.
//
//	bus: news   ──▶ tellNews ───┐                     ┌─▶ conn: queue ─┐
//	bus: pushed ──▶ tellPushed ─┴▶ hub ──▶ channel ───┼─▶ conn: queue ─┼──▶ flusher ──▶ sockets
//	   ▲                                              └─▶ conn: queue ─┘
//	   └── HTTP API: signed, POST /apps/{id}/events
//
// The HTTP API also reads channels, from the hub of the node that is asked: GET /apps/{id}/channels.
//
// Every node reads the whole of both topics and tells its own clients. An event becomes one frame, whose bytes all its
// receivers share. A broadcast only queues it; nothing in it waits for a client.
//
// # Who writes
//
// Nobody but the one whom a conn's state names:
//
//	idle ──something is queued──▶ waiting ──the system takes it all──▶ idle
//	                                 │
//	                                 └──the system has no room──▶ blocked ──all is taken──▶ idle
//
// While it is waiting, its flusher writes: there is one for each processor, and each goes round its conns, writing in one
// call all that a conn has, without ever waiting. That is the group commit of this package: the busier the server, the
// more frames go out in a call. While it is blocked, a goroutine of its own waits for the client, and ends with the
// wait. So an idle connection has one goroutine, that which reads.
//
// # Who is cut off
//
// A client that leaves more than MaxQueue unread, or takes nothing for ten seconds, is closed. Whether the client or the
// server is slow is told apart by the state: broadcasts wait for the flushers when a conn that is waiting has 32 KiB
// in its queue (see flusher.settle), so a queue that overflows belongs to a client that is blocked. What waits then is the
// tail of the bus, and, before it overflows, the publishers of the HTTP API (see gate).
//
// # How a connection ends
//
// The WebSocket library checks frames; conn.next checks that texts are UTF-8, and frames.scan finds close frames of one byte. Each
// end queues a close frame behind what was queued before. When the frame is written, the server closes its sending side, and
// reads and ignores input until the client has closed its own, for two seconds and 4 MiB at most. Only then is the connection
// closed: a connection that is closed while input is unread is reset by the system, and the client may never see the close frame.
//
// # What is promised
//
// To a client that is connected: each event at least once, by the order of the bus. To one that is not: nothing, save the
// last event of a cache channel. Who must not miss anything reads the history (see docs/realtime.md).
package realtime
