// Package chaos holds tests alone: they build the real binary, run it as a process of its own, and take from under it
// what a bad day takes: its life (kill -9), its time (SIGTERM under load), its disk, the reader of its logs.
//
// Each test keeps books of its own beside the server's: what clients were told (ledger), and what the payment provider,
// which lives in the test's process and so outlives the server, has charged. In the end the server's books must add up
// (the audit), say the same as the clients' (every acknowledged order is there, once, and no other), and the same as
// the provider's (an order is PAID if, and only if, its customer was charged, once).
//
// A client whose connection breaks does not know what became of its request. It does what the API's users are told to:
// it asks again with the same key until there is an answer. That is why the two books can be compared at all: when the
// clients have come to rest, no outcome is unknown.
//
// One process on an SQLite file dies alone. Over MySQL and Redis there are two of each role (many), each with a network of its
// own to either, and it is the servers and networks between them that have the bad days: processes go on with what is
// left, their probes say what is missing, and all comes back by itself. With the build tag cluster they stand on a Galera,
// a Redis Cluster and a Sentinel set (make test-cluster).
//
// The moments of death are random; what is asserted holds for all of them. ORDERFLOW_SOAK=10m lets each test whose name
// has Chaos or Soak in it go on for that long.
package chaos
