package api

import (
	"net/http"
	"sync"

	"orderflow/internal/order"
)

const (
	smallAnswer = 32 << 10 // bytes of an answer that need no budget: the number of connections is bounded
	maxUnread   = 32 << 20 // bytes of larger answers that are being written
)

// answerBudget bounds the memory of large answers. An answer stays in memory until its client has read it or its time limit has
// passed, and a client that does not read can open many requests. Bytes that several requests share, such as the list of products,
// count once.
type answerBudget struct {
	mu      sync.Mutex
	bytes   int
	writers map[*byte]int // requests that write an answer, by its first byte
}

// reserve reserves budget for an answer. It returns false when none is left; otherwise release must follow.
func (b *answerBudget) reserve(body []byte) bool {
	if len(body) <= smallAnswer {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	first := &body[0]
	if b.writers[first] == 0 {
		if b.bytes > 0 && b.bytes+len(body) > maxUnread { // a single answer may exceed the budget
			return false
		}
		b.bytes += len(body)
	}
	if b.writers == nil {
		b.writers = map[*byte]int{}
	}
	b.writers[first]++
	return true
}

// release returns the budget of an answer.
func (b *answerBudget) release(body []byte) {
	if len(body) <= smallAnswer {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	first := &body[0]
	if b.writers[first]--; b.writers[first] == 0 {
		delete(b.writers, first)
		b.bytes -= len(body)
	}
}

// sendLarge answers with a body that may be large. The answer to a read is CodeOverloaded when no budget is left; the answer to a
// change is always sent.
func (rc *requestContext) sendLarge(status int, body []byte) error {
	if rc.r.Method != http.MethodGet {
		rc.send(status, body)
		return nil
	}
	if !rc.api.budget.reserve(body) {
		return order.Errorf(order.CodeOverloaded, "Too many clients read their answers slowly. Try again shortly.")
	}
	defer rc.api.budget.release(body)
	rc.send(status, body)
	return nil
}
