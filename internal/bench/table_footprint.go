package bench

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"time"
)

// startups is the number of start-ups that are timed.
const startups = 5

// megabyte is the unit of sizes: 10^6 bytes.
const megabyte = 1e6

// footprint measures the time from start to the first answer, the memory of an idle server, and the size of the binary.
func (t *table) footprint(ctx context.Context) error {
	var took, memory []float64
	for turn := range startups {
		t.Show.status("start-up: %d of %d", turn+1, startups)
		err := t.withServers(ctx, func(servers []*measuredServer) error {
			first, err := firstAnswer(ctx, servers[0].running)
			if err != nil {
				return err
			}
			took = append(took, milliseconds(first))
			memory = append(memory, resident(servers[0].running))
			return nil
		}, wantedServer{nameOurs, Server{}})
		if err != nil {
			return err
		}
	}
	t.add(threshold{"start-up to the first answer", "ms", 300, 100, true}, Median(took), "process start to /readyz 200; median of %d", startups)
	t.add(threshold{"resident memory, idle", "MB", 60, 30, true}, Median(memory), "after the first answer; median of %d", startups)
	size, err := t.binarySize()
	if err != nil {
		return fmt.Errorf("the binary's size: %w", err)
	}
	t.add(threshold{"binary", "MB", 45, 40, true}, float64(size)/megabyte, "")
	return nil
}

// firstAnswer returns the time from a server's start until it is ready.
func firstAnswer(ctx context.Context, running Running) (time.Duration, error) {
	web := newAPIClient(running.URLs[0])
	defer web.close()
	for {
		status, _, _, err := web.do(ctx, http.MethodGet, "/readyz", "")
		if err == nil && status == http.StatusOK {
			return time.Since(running.Spawned), nil
		}
		if time.Since(running.Spawned) > answerTimeout || !pause(ctx, time.Millisecond) {
			return 0, fmt.Errorf("the server did not become ready: status %d, %w", status, err)
		}
	}
}

// resident returns the memory of a server in MB; NaN when it is unknown.
func resident(running Running) float64 {
	if running.Memory == nil {
		return math.NaN()
	}
	bytes, err := running.Memory()
	if err != nil {
		return math.NaN()
	}
	return float64(bytes) / megabyte
}
