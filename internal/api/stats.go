package api

import (
	"context"
	"strconv"
	"time"

	"orderflow/internal/order"
)

// statsAge is how old the figures may be. All orders are counted for them.
const statsAge = 5 * time.Second

func (a *API) showStats(rc *requestContext) error {
	body, err := a.stats.get(rc.r.Context())
	if err != nil {
		return err
	}
	return rc.jsonLarge(body)
}

// fetchStats counts the figures and returns the answer.
func (a *API) fetchStats(ctx context.Context) ([]byte, error) {
	stats, err := a.options.Admin.Stats(ctx)
	if err != nil {
		return nil, err
	}
	return append(appendStats(nil, &stats), '\n'), nil
}

func appendStats(dst []byte, s *order.Stats) []byte {
	number := func(name string, n int64) {
		dst = append(dst, name...)
		dst = strconv.AppendInt(dst, n, 10)
	}
	total := int64(0)
	for _, n := range s.ByStatus {
		total += n
	}
	number(`{"data":{"orders":{"total":`, total)
	dst = append(dst, `,"by_status":{`...)
	for i, status := range order.Statuses() {
		if i > 0 {
			dst = append(dst, ',')
		}
		number(`"`+string(status)+`":`, s.ByStatus[status])
	}
	number(`},"due":`, s.Due)
	number(`,"overdue":`, s.Overdue)
	number(`,"longest_overdue_ms":`, s.LongestOverdue.Milliseconds())
	number(`},"failed_jobs":{"open":`, s.FailedJobs)
	number(`},"outbox":{"unpublished":`, s.Unpublished)
	number(`,"owed":`, s.Unpublished) // the former name
	number(`,"oldest_ms":`, s.OldestUnpublished.Milliseconds())
	number(`},"products":{"total":`, s.Products)
	number(`,"sold_out":`, s.SoldOut)
	dst = append(dst, `},"timestamp":`...)
	dst = appendTime(dst, s.At)
	return append(dst, '}', '}')
}
