package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// screen prints the tour. On a terminal it pauses between the lines. It keeps the first error, and prints nothing after it.
type screen struct {
	out      io.Writer
	terminal bool
	paint    paint
	err      error
}

func (s *screen) write(format string, args ...any) {
	if s.err == nil {
		_, s.err = fmt.Fprintf(s.out, format, args...)
	}
}

func (s *screen) line(format string, args ...any) { s.write(format+"\n", args...) }

// wait gives the reader time, on a terminal. It returns early when ctx ends.
func (s *screen) wait(ctx context.Context, d time.Duration) {
	if s.terminal {
		pause(ctx, d)
	}
}

func (s *screen) title(what, where string) {
	s.line("")
	s.line("  %s  %s", s.paint.bold(what), s.paint.dim(where))
}

func (s *screen) heading(ctx context.Context, number int, what, why string) {
	s.line("")
	s.line("  %s  %s", s.paint.dim(strconv.Itoa(number)), s.paint.bold(what))
	s.line("     %s", s.paint.dim(why))
	s.wait(ctx, 1500*time.Millisecond)
}

// cells prints a mark for each answer in order of arrival: ● for a created order, · for the others.
func (s *screen) cells(ctx context.Context, answers []ordered) {
	const across = 25
	for i, o := range answers {
		if i%across == 0 {
			if i > 0 {
				s.line("")
			}
			s.write("    ")
		}
		if o.status == http.StatusCreated {
			s.write(" %s", s.paint.green("●"))
			s.wait(ctx, 300*time.Millisecond)
		} else {
			s.write(" %s", s.paint.dim("·"))
		}
		s.wait(ctx, 30*time.Millisecond)
	}
	s.line("")
}
