package order

// InvariantResult is the result of checking one invariant of the books.
type InvariantResult struct {
	Number         int      // as the documents count them, from 1
	Name           string   // the invariant in a line
	Figures        []Figure // what was counted
	Violations     []string // the rows at fault, one line each, at most 20; empty when it holds
	ViolationCount int64    // how many rows are at fault in all
}

// Figure is one number of a InvariantResult.
type Figure struct {
	Name  string
	Value int64
}
