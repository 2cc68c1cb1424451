package env

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// Patience bounds every wait of a test. Nothing takes that long unless it is broken.
const Patience = time.Minute

// Poll calls try, at growing intervals of 1 to 50 ms, until it returns nil. After Patience it returns the last error.
func Poll(try func() error) error {
	deadline := time.Now().Add(Patience)
	pause := time.Millisecond
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for ; ; pause = min(2*pause, 50*time.Millisecond) {
		err := try()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waited %s: %w", Patience, err)
		}
		timer.Reset(pause)
		<-timer.C
	}
}

// Eventually waits for a condition, which the failure names: "the order is paid".
func Eventually(t testing.TB, condition string, holds func() bool) {
	t.Helper()
	EventuallyNil(t, condition, func() error {
		if holds() {
			return nil
		}
		return errors.New("not yet")
	})
}

// EventuallyNil is Eventually for a condition that reports what it lacks.
func EventuallyNil(t testing.TB, condition string, try func() error) {
	t.Helper()
	if err := Poll(try); err != nil {
		t.Fatalf("%s: %v", condition, err)
	}
}

// Closed waits until a channel is closed; it receives one value of a channel that is not.
func Closed[T any](t testing.TB, condition string, done <-chan T) {
	t.Helper()
	timer := time.NewTimer(Patience)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		t.Fatalf("%s: waited %s", condition, Patience)
	}
}
