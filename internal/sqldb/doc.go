// Package sqldb runs transactions on SQLite, MySQL, MariaDB and PostgreSQL. It owns connections, retries, commits of unknown outcome,
// pipelined statements, migrations, locks between processes, and the backup of an SQLite file. It contains no SQL of the
// product: package store has all of it.
//
//	db.go          options, opening, closing
//	dialect.go     what differs between databases, and how to add one
//	pool.go        reads: retry after a lost connection, the replica
//	writers.go     connections for writes, kept open
//	tx.go          a write: begin, work, commit, retry
//	statements.go  statements of a transaction, pipelined where the database supports it
//	commit.go      the outcome of a COMMIT without an answer
//	text.go        texts of statements with many rows
//	errors.go      errors with a kind, classes of database errors
//	health.go      what operations found out about the database
//	migrate*.go    migrations
//	sqlite*.go     the dialect of SQLite
//	mysql*.go      the dialect of MySQL and MariaDB
//	postgres*.go   the dialect of PostgreSQL
//
// DESIGN.md beside this file explains retries, commits of unknown outcome, and the settings of each database.
package sqldb
