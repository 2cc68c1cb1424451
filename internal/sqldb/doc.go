// Package sqldb runs transactions on SQLite, MySQL, MariaDB and PostgreSQL. It manages connections, retries, pipelined statements,
// migrations, locks between processes, and the backup of an SQLite file. It also finds out whether a COMMIT without an answer was
// executed. The product's own SQL is in package store.
//
//	db.go          options, opening, closing
//	dialect.go     what differs between databases, and how to add one
//	pool.go        reads: retry after a lost connection, the replica
//	writers.go     connections for writes, kept open
//	tx.go          a write: begin, work, commit, retry
//	statements.go  statements of a transaction, in one round trip where the database supports it
//	commit.go      the outcome of a COMMIT without an answer
//	text.go        builders for the SQL text of statements with many rows
//	errors.go      errors for callers, and the classes of database errors that decide about retries
//	health.go      failures that operations found: a damaged file, a refused write
//	migrate*.go    migrations
//	sqlite*.go     the dialect of SQLite
//	mysql*.go      the dialect of MySQL and MariaDB
//	postgres*.go   the dialect of PostgreSQL
//
// DESIGN.md beside this file explains retries, commits of unknown outcome, and the settings of each database.
package sqldb
