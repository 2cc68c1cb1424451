package order

// Finding is the result of checking one invariant of the books.
type Finding struct {
	Number  int      // as the documents count them, from 1
	Name    string   // the invariant in a line
	Figures []Figure // what was counted
	Broken  []string // the rows at fault, one line each, at most 20; empty when it holds
	Count   int64    // how many rows are at fault in all
}

// Figure is one number of a Finding.
type Figure struct {
	Name  string
	Value int64
}
