// Package servers runs real servers for tests and measurements: databases, Redis and nginx from the system's packages, and MySQL from a
// folder (see Database). Each is a child process with a loopback port and a folder of its own. This package alone knows how to start
// them, when they are ready and how to stop them. The product does not need it.
//
// A server can be killed, stopped, frozen and started again on the same port with the same data. There are also clusters: Galera, Redis
// Cluster, Sentinel, a primary with a replica. A Proxy is the network in front of a server: it can delay, stop and cut connections. All
// servers end with the process that started them, also when that is killed (Linux).
package servers
