package bench

import (
	"math"
)

// Verdict is how a figure stands against its bar.
type Verdict string

// The verdicts.
const (
	AtGoal     Verdict = "goal"        // as good as the goal, or better
	AtFloor    Verdict = "floor"       // good enough, short of the goal
	BelowFloor Verdict = "below floor" // not good enough
	NotKnown   Verdict = "not known"   // could not be measured here
	Shown      Verdict = ""            // has no bar; it is context
)

// bar is what a figure has to reach. NaN stands for no floor, or no goal.
type bar struct {
	figure      string
	unit        string
	floor, goal float64
	lessIsMore  bool // times and sizes: the floor is the most that is allowed
}

// Row is one line of the table: a figure, its bar and what was measured.
type Row struct {
	Figure   string   `json:"figure"`
	Unit     string   `json:"unit"` // of Floor, Goal and Measured; "×" for a ratio
	Floor    *float64 `json:"floor"`
	Goal     *float64 `json:"goal"`
	Measured *float64 `json:"measured"` // null: not known
	Verdict  Verdict  `json:"verdict"`
	Note     string   `json:"note,omitempty"` // what the figure was made of
}

// judge sets a measured figure against its bar.
func (b bar) judge(measured float64, note string) Row {
	row := Row{Figure: b.figure, Unit: b.unit, Floor: known(b.floor), Goal: known(b.goal), Measured: known(measured), Note: note}
	reaches := func(mark float64) bool {
		if b.lessIsMore {
			return measured <= mark
		}
		return measured >= mark
	}
	switch {
	case row.Floor == nil && row.Goal == nil:
		row.Verdict = Shown
	case row.Measured == nil:
		row.Verdict = NotKnown
	case row.Floor != nil && !reaches(b.floor):
		row.Verdict = BelowFloor
	case row.Goal != nil && reaches(b.goal):
		row.Verdict = AtGoal
	case row.Floor != nil:
		row.Verdict = AtFloor
	default: // a goal alone, and short of it: nothing is broken
		row.Verdict = Shown
	}
	return row
}

// none is a floor or goal that is not there.
func none() float64 { return math.NaN() }
