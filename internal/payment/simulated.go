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

// SimulatedOptions configure the simulated gateway.
type SimulatedOptions struct {
	MinLatency, MaxLatency time.Duration // of a charge, uniformly distributed, both included; 0 answers at once
	Success                float64       // share of the keys whose charge succeeds, 0 to 1
	Seed                   string        // changes which keys succeed
}

// Simulated is a gateway that moves no money and stores nothing: outcome, latency and reference are a pure function of seed and
// key. So all processes with the same seed give the same answer to the same charge, also after a crash, as the contract
// requires. Because it stores nothing, a void cannot block a charge: Features is empty.
type Simulated struct {
	options SimulatedOptions
	spread  uint64 // MaxLatency − MinLatency + 1, in nanoseconds
}

// NewSimulated returns a simulated gateway. The error, with CodeValidation, names the option that is out of its range.
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

// fate is the predetermined result of a key.
type fate struct {
	succeeds  bool
	latency   time.Duration
	reference [8]byte
}

func (s *Simulated) fate(key string) fate {
	var buffer [128]byte // keeps the usual seed and key off the heap
	text := append(buffer[:0], s.options.Seed...)
	text = append(text, 0)
	text = append(text, key...)
	sum := sha256.Sum256(text)
	const steps = 1 << 53 // the integers that a float64 represents exactly
	f := fate{
		succeeds: float64(binary.BigEndian.Uint64(sum[0:])%steps)/steps < s.options.Success,
		latency:  s.options.MinLatency + time.Duration(binary.BigEndian.Uint64(sum[8:])%s.spread),
	}
	copy(f.reference[:], sum[16:])
	return f
}

// Charge answers after the key's latency. It returns an error only if ctx ends before.
func (s *Simulated) Charge(ctx context.Context, request Request) (Result, error) {
	f := s.fate(request.Key)
	if f.latency > 0 {
		// No timer without a latency: benchmarks of the whole pipeline use a gateway that answers at once.
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

// Features returns none: a gateway that stores nothing cannot block a key.
func (s *Simulated) Features() Features { return Features{} }

func (f fate) name(prefix string) string {
	var buffer [32]byte
	return string(hex.AppendEncode(append(buffer[:0], prefix...), f.reference[:]))
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("payment: the call was cancelled before the answer: %w", ctx.Err())
	}
}
