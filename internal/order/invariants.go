package order

// InvariantResult is the outcome of the check of one invariant.
type InvariantResult struct {
	Number         int      // from 1, as in the documents
	Name           string   // the invariant in one line
	Figures        []Figure // counts that show what was checked
	Violations     []string // one line for each violating row, at most 20; empty when the invariant holds
	ViolationCount int64    // all violating rows
}

// Figure is one count of an InvariantResult.
type Figure struct {
	Name  string
	Value int64
}
