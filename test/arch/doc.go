// Package arch holds the import law: which package of the module may import which other, and who may use which library.
// It is nothing but tests; the tables in law_test.go are the law.
//
// A package that is not in the table fails the test, so does an import that the table does not name, and so does an
// entry that nothing uses any more. To change the structure, change the table, in the same commit: that is where it is
// reviewed.
package arch
