package realtime

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Bounds of what is kept of cache channels.
const (
	lastsKept  = 50_000           // channels whose last event is kept in the process; the least lately used goes first
	lastsFor   = 30 * time.Minute // as Pusher Channels keeps them
	lastsOwed  = 10_000           // that wait to be kept for other nodes; the surplus is kept by this one alone
	lastsLimit = time.Second      // for one call to keep some
)

// Lasts keeps the last events of cache channels for all nodes, and beyond the life of each. Its methods may be called
// from any goroutine, and take a second at most.
type Lasts interface {
	// Keep keeps frames, one a channel, unless something later is kept of the channel. at are their times, in
	// microseconds since 1970; the three slices have the same length. left is how long they are kept.
	Keep(ctx context.Context, channels []string, at []int64, frames [][]byte, left time.Duration) error
	// Last returns the frame that is kept of a channel, nil for none.
	Last(ctx context.Context, channel string) ([]byte, error)
}

// last is what a cache channel said last.
type last struct {
	frame   []byte
	at      int64 // in microseconds since 1970
	expires time.Time
}

// lasts are the last events of cache channels that this node knows of, and on their way to the others.
type lasts struct {
	shared Lasts // nil for none
	bell   chan struct{}

	mu   sync.Mutex
	kept *simplelru.LRU[string, last]
	owed map[string]last // to shared
}

func newLasts(shared Lasts) (*lasts, error) {
	kept, err := simplelru.NewLRU[string, last](lastsKept, nil)
	return &lasts{shared: shared, bell: make(chan struct{}, 1), kept: kept, owed: map[string]last{}}, err
}

// put keeps what a channel said. Of two the later counts, whatever the order in which they come.
func (l *lasts) put(channel string, frame []byte, at time.Time) {
	said := last{frame, at.UnixMicro(), time.Now().Add(lastsFor)}
	l.mu.Lock()
	defer l.mu.Unlock()
	if before, known := l.kept.Peek(channel); known && before.at > said.at {
		return
	}
	l.kept.Add(channel, said)
	if l.shared == nil || len(l.owed) >= lastsOwed {
		return
	}
	l.owed[channel] = said
	select {
	case l.bell <- struct{}{}:
	default:
	}
}

// get returns what a channel said last, nil when nothing is known.
func (l *lasts) get(channel string) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	said, known := l.kept.Get(channel)
	if !known {
		return nil
	}
	if time.Now().After(said.expires) {
		l.kept.Remove(channel)
		return nil
	}
	return said.frame
}

// learn asks the others what a channel said last, unless it is known here.
func (l *lasts) learn(ctx context.Context, channel string) {
	if l.shared == nil || l.get(channel) != nil {
		return
	}
	frame, err := l.shared.Last(ctx, channel)
	if err != nil || frame == nil {
		return // nobody can say: the subscriber is told that nothing is kept
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.kept.Contains(channel) { // its time is not known: whatever comes counts as later
		l.kept.Add(channel, last{frame: frame, expires: time.Now().Add(lastsFor)})
	}
}

// run hands what is said to the others until ctx ends, and then what is left.
func (l *lasts) run(ctx context.Context, logger *slog.Logger) {
	for ended := false; !ended; {
		select {
		case <-l.bell:
		case <-ctx.Done():
			ended = true
		}
		if err := l.share(context.WithoutCancel(ctx)); err != nil {
			logger.DebugContext(ctx, "the last events of cache channels are kept by this node alone", "event", "lasts.alone", "error", err)
		}
	}
}

// share hands over what is owed. What cannot be handed over stays with this node.
func (l *lasts) share(ctx context.Context) error {
	l.mu.Lock()
	owed := l.owed
	l.owed = map[string]last{}
	l.mu.Unlock()
	if len(owed) == 0 {
		return nil
	}
	channels, at, frames := make([]string, 0, len(owed)), make([]int64, 0, len(owed)), make([][]byte, 0, len(owed))
	for channel, said := range owed {
		channels, at, frames = append(channels, channel), append(at, said.at), append(frames, said.frame)
	}
	ctx, cancel := context.WithTimeout(ctx, lastsLimit)
	defer cancel()
	return l.shared.Keep(ctx, channels, at, frames, lastsFor)
}
