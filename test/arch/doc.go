// Package arch holds tests only: the import rules of the module (rules_test.go) and the names that must not come back
// (names_test.go).
//
// A package that is not in the table fails the test; so does an import that the table does not allow, and an entry that is not used. To
// change the structure, change the table in the same commit, so that it is reviewed.
package arch
