// Package web is the code that the product's three HTTP servers share: the API, the console and the WebSocket server. It makes
// them treat clients alike:
//
//	client.go     the address of a client behind trusted proxies, and the key of its rate limit
//	loopback.go   whether a request comes from this machine
//	origins.go    which origins may use a server from a browser
//	server.go     the limits of a server, of its header fields and of one answer
//	listener.go   the limit on connections
//	linger.go     an answer for a client that has closed its sending side
//	refusal.go    the JSON form of net/http's own refusals
//	connections.go  the number of open connections, for a server that drains
//	errors.go     the table from error codes to HTTP statuses, and the JSON body of every error
//	query.go      strict reading of query strings
//	file.go       embedded files, in plain and gzipped form
package web
