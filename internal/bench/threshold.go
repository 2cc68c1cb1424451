package bench

import (
	"math"
)

// Verdict is the result of comparing a figure with its threshold.
type Verdict string

// The verdicts.
const (
	AtGoal     Verdict = "goal"        // the goal is reached
	AtFloor    Verdict = "floor"       // the floor is reached, but not the goal
	BelowFloor Verdict = "below floor" // the floor is not reached
	NotKnown   Verdict = "not known"   // not measured
	Shown      Verdict = ""            // for context: without floor and goal
)

// threshold is a figure's floor and goal; NaN for none.
type threshold struct {
	figure        string
	unit          string
	floor, goal   float64
	lowerIsBetter bool // times and sizes: the floor is an upper limit
}

// Row is one line of the table: a figure, its threshold and the measured value.
type Row struct {
	Figure   string   `json:"figure"`
	Unit     string   `json:"unit"` // of Floor, Goal and Measured; "×" for a ratio
	Floor    *float64 `json:"floor"`
	Goal     *float64 `json:"goal"`
	Measured *float64 `json:"measured"` // null: unknown
	Verdict  Verdict  `json:"verdict"`
	Note     string   `json:"note,omitempty"` // how the figure was computed
}

// judge compares a measured figure with its threshold.
func (b threshold) judge(measured float64, note string) Row {
	row := Row{Figure: b.figure, Unit: b.unit, Floor: known(b.floor), Goal: known(b.goal), Measured: known(measured), Note: note}
	reaches := func(mark float64) bool {
		if b.lowerIsBetter {
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
	default: // a goal without a floor, not reached
		row.Verdict = Shown
	}
	return row
}

// none is a missing floor or goal.
func none() float64 { return math.NaN() }
