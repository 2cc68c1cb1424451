package bench

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// paint colours text for a terminal, or returns it unchanged.
type paint bool

func (p paint) with(code, text string) string {
	if !p || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (p paint) bold(text string) string   { return p.with("1", text) }
func (p paint) dim(text string) string    { return p.with("2", text) }
func (p paint) red(text string) string    { return p.with("31", text) }
func (p paint) green(text string) string  { return p.with("32", text) }
func (p paint) yellow(text string) string { return p.with("33", text) }

// cell is a text in a column; colour, if set, is applied after the alignment.
type cell struct {
	text   string
	colour func(string) string
}

func plain(texts ...string) []cell {
	cells := make([]cell, len(texts))
	for i, text := range texts {
		cells[i].text = text
	}
	return cells
}

// writeColumns prints rows in aligned columns: the first one and those of lefts flush left, the others flush right.
func writeColumns(w io.Writer, rows [][]cell, lefts ...int) error {
	var widths []int
	for _, row := range rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	left := map[int]bool{0: true}
	for _, i := range lefts {
		left[i] = true
	}
	for _, row := range rows {
		var line strings.Builder
		for i, c := range row {
			gap := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.text))
			text := c.text
			if c.colour != nil {
				text = c.colour(text)
			}
			switch {
			case !left[i]:
				text = gap + text
			case i < len(row)-1:
				text += gap
			}
			line.WriteString("  " + text)
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(line.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}

// count formats 12345 as 12,345.
func count(n int64) string {
	if n < 0 {
		return "-" + count(-n)
	}
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// unknown stands for a figure that was not measured.
const unknown = "–"

// number formats a figure with three digits, large ones without decimals and with thousands separators.
func number(x float64) string {
	size := math.Abs(x)
	switch {
	case math.IsNaN(x) || math.IsInf(x, 0):
		return unknown
	case size >= 99.95:
		return count(int64(math.Round(x)))
	case size >= 9.995:
		return strconv.FormatFloat(x, 'f', 1, 64)
	default:
		return strconv.FormatFloat(x, 'f', 2, 64)
	}
}

// withUnit formats a figure with its unit.
func withUnit(x float64, unit string) string {
	if text := number(x); text == unknown || unit == "" {
		return text
	}
	return number(x) + " " + unit
}

// milliseconds converts a time to ms.
func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
