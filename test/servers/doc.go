// Package servers runs real servers for tests and measurements: MariaDB, Redis and nginx from the system's packages, and MySQL
// from a folder (see Database), each a
// child process on a loopback port and a folder of its own. It is the one place that knows how they are started, when
// they are ready and how they end. Nothing of the product needs it.
//
// A server can be killed, stopped, frozen and started again on the same port with the same data, which is what tests of
// bad days do. There are clusters of them, too: Galera, Redis Cluster, Sentinel, a primary with a replica. A Proxy stands for the network
// before a server, and makes it slow, stops it or cuts it. All servers die with the process that started them, also when
// that is killed (Linux).
package servers
