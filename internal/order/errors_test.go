package order

import (
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestCodeOf(t *testing.T) {
	below := &Error{Code: CodeUnavailable, Message: "No database.", Cause: io.ErrUnexpectedEOF}
	for _, c := range []struct {
		err  error
		want Code
	}{
		{nil, ""},
		{io.EOF, CodeInternal},
		{below, CodeUnavailable},
		{fmt.Errorf("create: %w", below), CodeUnavailable},
		{errors.Join(io.EOF, NotFound("Order 1")), CodeNotFound},
	} {
		if got := CodeOf(c.err); got != c.want {
			t.Errorf("CodeOf(%v) = %q, want %q", c.err, got, c.want)
		}
	}
	if !errors.Is(below, io.ErrUnexpectedEOF) {
		t.Error("errors.Is does not find the cause")
	}
	if got, want := below.Error(), "No database.: unexpected EOF"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := NotFound("Order 1").Error(), "Order 1 does not exist."; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestCodesAreDistinct(t *testing.T) {
	seen := map[Code]bool{}
	for _, c := range Codes() {
		if c == "" || seen[c] {
			t.Errorf("code %q is empty or a duplicate", c)
		}
		seen[c] = true
	}
}
