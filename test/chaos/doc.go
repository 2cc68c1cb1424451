// Package chaos holds tests only. They build the binary, run it as a process of its own, and cause faults: kill -9, SIGTERM under
// load, full disks, a log that is not read.
//
// Each test compares three records: the database, what clients received (acknowledged), and what the payment provider charged. The
// provider runs in the test's process and so survives the server. At the end the audit must pass, the database must hold exactly the
// acknowledged orders, and an order must be PAID if and only if its customer was charged, once.
//
// A client whose connection breaks does not know the outcome of its request. As the API documents, it repeats the request with the
// same key until it receives an answer. So no outcome is unknown once the clients have stopped.
//
// An SQLite file has one process. Over MySQL and Redis there are two of each role (installation), each with its own network to
// either, and the faults hit servers and networks: processes continue with what is left, their probes report what is missing, and all
// recover by themselves. With the build tag cluster they run on a Galera, a Redis Cluster and a Sentinel set (make test-cluster).
//
// Faults occur at random moments; the assertions hold for all of them. With ORDERFLOW_SOAK=10m each test whose name has Chaos or Soak
// runs for that long.
package chaos
