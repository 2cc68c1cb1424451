package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// stage is where the tour is shown. Lines come slowly on a terminal and at once elsewhere; the first error of writing
// is kept, and nothing is written after it.
type stage struct {
	out      io.Writer
	terminal bool
	paint    paint
	err      error
}

func (s *stage) write(format string, args ...any) {
	if s.err == nil {
		_, s.err = fmt.Fprintf(s.out, format, args...)
	}
}

func (s *stage) line(format string, args ...any) { s.write(format+"\n", args...) }

// rest gives people time to read; an ended ctx ends it, and is noticed at the next request.
func (s *stage) rest(ctx context.Context, d time.Duration) {
	if s.terminal {
		pause(ctx, d)
	}
}

func (s *stage) title(what, where string) {
	s.line("")
	s.line("  %s  %s", s.paint.bold(what), s.paint.dim(where))
}

func (s *stage) heading(ctx context.Context, number int, what, why string) {
	s.line("")
	s.line("  %s  %s", s.paint.dim(strconv.Itoa(number)), s.paint.bold(what))
	s.line("     %s", s.paint.dim(why))
	s.rest(ctx, 1500*time.Millisecond)
}

// cells draws a mark for each answer, in the order in which they came in: ● for an order that was placed, · for the
// others.
func (s *stage) cells(ctx context.Context, answers []ordered) {
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
			s.rest(ctx, 300*time.Millisecond)
		} else {
			s.write(" %s", s.paint.dim("·"))
		}
		s.rest(ctx, 30*time.Millisecond)
	}
	s.line("")
}
