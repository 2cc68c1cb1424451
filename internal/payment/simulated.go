package payment

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"

	"orderflow/internal/order"
)

// SimulatedOptions say how the simulated gateway behaves.
type SimulatedOptions struct {
	MinLatency, MaxLatency time.Duration // of a charge, evenly spread between them, both included; 0 answers at once
	Success                float64       // share of the keys whose charge succeeds, 0 to 1
	Seed                   string        // another seed gives other keys other fates
}

// Simulated is a gateway that moves no money and remembers nothing: outcome, latency and reference are a pure function
// of seed and key. So every process with the same seed gives the same answer to the same charge, also after a crash,
// which is all that the contract asks for. For the same reason a void blocks nothing: Features are empty.
type Simulated struct {
	options SimulatedOptions
	spread  uint64 // MaxLatency − MinLatency + 1, in nanoseconds
}

// NewSimulated returns a simulated gateway. The error, with CodeValidation, says which option is out of its range.
func NewSimulated(options SimulatedOptions) (*Simulated, error) {
	if options.MinLatency < 0 || options.MaxLatency < options.MinLatency {
		return nil, order.Errorf(order.CodeValidation, "The simulated gateway's latency %v-%v must be a range from low to high, not below 0.",
			options.MinLatency, options.MaxLatency)
	}
	if !(options.Success >= 0 && options.Success <= 1) { // written so that NaN is refused
		return nil, order.Errorf(order.CodeValidation, "The simulated gateway's success rate %v must be from 0 to 1.", options.Success)
	}
	return &Simulated{options: options, spread: uint64(options.MaxLatency-options.MinLatency) + 1}, nil
}

// fate is all that will ever be known of a key.
type fate struct {
	succeeds  bool
	latency   time.Duration
	reference [8]byte
}

func (s *Simulated) fate(key string) fate {
	var room [128]byte // keeps the usual seed and key off the heap
	text := append(room[:0], s.options.Seed...)
	text = append(text, 0)
	text = append(text, key...)
	sum := sha256.Sum256(text)
	const steps = 1 << 53 // what a float64 counts exactly
	f := fate{
		succeeds: float64(binary.BigEndian.Uint64(sum[0:])%steps)/steps < s.options.Success,
		latency:  s.options.MinLatency + time.Duration(binary.BigEndian.Uint64(sum[8:])%s.spread),
	}
	copy(f.reference[:], sum[16:])
	return f
}

// Charge answers after the key's latency. Its only error is that ctx ended before.
func (s *Simulated) Charge(ctx context.Context, request Request) (Result, error) {
	f := s.fate(request.Key)
	if f.latency > 0 {
		// No timer at zero: the whole pipeline is measured with a gateway that takes no time.
		if err := wait(ctx, f.latency); err != nil {
			return Result{}, err
		}
	}
	if !f.succeeds {
		return Result{Outcome: order.Declined, Reason: "declined by the simulated gateway"}, nil
	}
	return Result{Outcome: order.Succeeded, Reference: f.name("sim_charge_")}, nil
}

// Void succeeds at once.
func (s *Simulated) Void(_ context.Context, request Request) (Result, error) {
	return Result{Outcome: order.Succeeded, Reference: s.fate(request.Key).name("sim_void_")}, nil
}

// Features are none: a gateway that remembers nothing cannot block a key.
func (s *Simulated) Features() Features { return Features{} }

func (f fate) name(prefix string) string {
	var room [32]byte
	return string(hex.AppendEncode(append(room[:0], prefix...), f.reference[:]))
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("payment: the simulated gateway was not waited for: %w", ctx.Err())
	}
}
