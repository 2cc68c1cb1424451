package api

import (
	"net/http"
	"sync"

	"orderflow/internal/order"
)

const (
	freeAnswer = 32 << 10 // bytes of an answer that count for nothing: connections are bounded
	maxUnread  = 32 << 20 // bytes of larger answers that are being written
)

// unread bounds the memory of large answers. Until its client has read it, or its time is over, an answer stays in memory, and
// clients that ask and do not read cost nothing to run. Bytes that several requests share, such as the list of products, count
// once.
type unread struct {
	mu      sync.Mutex
	bytes   int
	writers map[*byte]int // requests that write an answer, by its first byte
}

// reserve reserves budget for an answer. It returns false when there is none; else release must follow.
func (u *unread) reserve(body []byte) bool {
	if len(body) <= freeAnswer {
		return true
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	first := &body[0]
	if u.writers[first] == 0 {
		if u.bytes > 0 && u.bytes+len(body) > maxUnread { // one may be larger than the whole budget
			return false
		}
		u.bytes += len(body)
	}
	if u.writers == nil {
		u.writers = map[*byte]int{}
	}
	u.writers[first]++
	return true
}

// release releases the budget of an answer.
func (u *unread) release(body []byte) {
	if len(body) <= freeAnswer {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	first := &body[0]
	if u.writers[first]--; u.writers[first] == 0 {
		delete(u.writers, first)
		u.bytes -= len(body)
	}
}

// sendMade answers with a body that was made for this request, or for those of the same moment. An answer to a request that only
// reads is CodeOverloaded when too many large ones are being written; the answer to a change is always sent.
func (x *requestContext) sendMade(status int, body []byte) error {
	if x.r.Method != http.MethodGet {
		x.send(status, body)
		return nil
	}
	if !x.api.unread.reserve(body) {
		return errUnread()
	}
	defer x.api.unread.release(body)
	x.send(status, body)
	return nil
}

func errUnread() error {
	return order.Errorf(order.CodeOverloaded, "Too many clients are slow to read their answers. Try again shortly.")
}
