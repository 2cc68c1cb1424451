// Package web has what the HTTP servers of the product share, so that the API, the console and the WebSocket server treat a client
// alike:
//
//	client.go     the address of a client behind trusted proxies, and the key of its rate limit
//	loopback.go   whether a request comes from this machine
//	origins.go    which origins may use a server from a browser
//	server.go     the limits of a server, of its header fields and of one answer
//	listener.go   the limit on connections; linger.go and refusal.go change what a connection reads and writes
//	connections.go  the open connections of a server that drains
//	errors.go     the table from error codes to statuses, and the body of every error
//	query.go      strict reading of query strings
//	file.go       embedded files, plain and gzipped
package web
