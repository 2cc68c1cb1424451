package redis_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"orderflow/internal/bus"
	"orderflow/test/env"
)

// processor returns the processor time of this process, without the server.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkBusShapes measures one publisher of slices, and consumers that fetch and acknowledge up to a limit.
func BenchmarkBusShapes(b *testing.B) {
	for _, shape := range []struct{ size, limit, consumers int }{{64, 256, 1}, {1024, 256, 1}, {1024, 256, 2}, {1024, 8, 2}, {8, 256, 1}, {1, 256, 1}} {
		b.Run(fmt.Sprintf("slices of %d, %d consumers of %d", shape.size, shape.consumers, shape.limit), func(b *testing.B) {
			address, prefix := env.Redis(b)
			shared := newBus(b, address, prefix, bus.Options{})
			ctx, cancel := context.WithCancel(b.Context())
			var readers sync.WaitGroup
			var mu sync.Mutex
			got, fetches, target := 0, 0, b.N*shape.size
			done := make(chan struct{})
			for range shape.consumers {
				g := consumerOf(ctx, b, shared)
				readers.Go(func() {
					for {
						some, err := g.Fetch(ctx, shape.limit)
						if err == nil {
							err = g.Ack(ctx, some)
						}
						if err != nil {
							return
						}
						mu.Lock()
						got += len(some)
						fetches++
						if got >= target {
							close(done)
							target = 1 << 62
						}
						mu.Unlock()
					}
				})
			}
			messages := numbered(1, shape.size)
			before := processor(b)
			b.ResetTimer()
			for range b.N {
				for shared.Publish(ctx, messages) != nil {
					pause(ctx, time.Millisecond)
				}
			}
			<-done
			n := float64(b.N * shape.size)
			b.ReportMetric(n/b.Elapsed().Seconds(), "messages/s")
			b.ReportMetric(float64((processor(b)-before).Nanoseconds())/n, "cpu-ns/message")
			b.ReportMetric(n/float64(fetches), "messages/fetch")
			cancel()
			readers.Wait()
		})
	}
}

// BenchmarkBusLatency measures one message at a time, from Publish to a waiting consumer.
func BenchmarkBusLatency(b *testing.B) {
	address, prefix := env.Redis(b)
	sender, receiver := newBus(b, address, prefix, bus.Options{}), newBus(b, address, prefix, bus.Options{})
	g := consumerOf(b.Context(), b, receiver)
	got := make(chan string)
	go func() {
		defer close(got)
		for range b.N {
			some, err := g.Fetch(b.Context(), 256)
			if err != nil {
				return
			}
			got <- some[0].ID
			_ = g.Ack(b.Context(), some)
		}
	}()
	messages := numbered(0, 0)
	b.ResetTimer()
	for n := range b.N {
		messages[0].ID = strconv.Itoa(n)
		publishAll(b.Context(), b, sender, messages)
		if id := <-got; id != messages[0].ID {
			b.Fatalf("message %s came, want %s", id, messages[0].ID)
		}
	}
}
