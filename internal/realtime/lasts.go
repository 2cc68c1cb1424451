package realtime

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Bounds of what is kept of cache channels.
const (
	lastsKept  = 50_000           // channels whose last event is kept in the process; the least lately used goes first
	lastsFor   = 30 * time.Minute // as Pusher Channels keeps them
	lastsBytes = 64 << 20         // of them all, likewise
	lastsOwed  = 10_000           // that wait to be kept for other nodes; the surplus is kept by this one alone
	lastsPart  = 256              // that are handed over in one call
	lastsLimit = time.Second      // for one call
	lastsAgain = time.Second      // between two tries
)

// ChannelCache keeps the last events of cache channels for all nodes, and beyond the life of each. Its methods may be called
// from any goroutine, and take a second at most.
type ChannelCache interface {
	// Put keeps frames, one a channel, unless something later is kept of the channel. at are their times, in
	// microseconds since 1970; the three slices have the same length. left is how long they are kept.
	Put(ctx context.Context, channels []string, at []int64, frames [][]byte, left time.Duration) error
	// Get returns the frame that is kept of a channel, nil for none.
	Get(ctx context.Context, channel string) ([]byte, error)
}

// last is what a cache channel said last.
type last struct {
	frame   []byte
	at      int64 // in microseconds since 1970
	expires time.Time
}

// lasts are the last events of cache channels that this node knows of, and on their way to the others.
type lasts struct {
	shared ChannelCache // nil for none
	bell   chan struct{}

	mu    sync.Mutex
	kept  *simplelru.LRU[string, last]
	bytes int             // of the frames in kept
	owed  map[string]last // to shared
}

func newLasts(shared ChannelCache) (*lasts, error) {
	l := &lasts{shared: shared, bell: make(chan struct{}, 1), owed: map[string]last{}}
	var err error
	l.kept, err = simplelru.NewLRU(lastsKept, func(_ string, gone last) { l.bytes -= len(gone.frame) })
	return l, err
}

// keep keeps what a channel said; mu is held.
func (l *lasts) keep(channel string, said last) {
	l.kept.Remove(channel)
	l.kept.Add(channel, said)
	for l.bytes += len(said.frame); l.bytes > lastsBytes; {
		l.kept.RemoveOldest()
	}
}

// forget drops what this node knows: it has missed something, and who keeps it for all knows better. Without such a keeper
// subscribers are told that nothing is kept, which is true, rather than something old.
func (l *lasts) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept.Purge()
	l.bytes = 0
}

// put keeps what a channel said. Of two the later counts, whatever the order in which they come.
func (l *lasts) put(channel string, frame []byte, at time.Time) {
	said := last{frame, at.UnixMicro(), time.Now().Add(lastsFor)}
	l.mu.Lock()
	defer l.mu.Unlock()
	if before, known := l.kept.Peek(channel); known && before.at > said.at {
		return
	}
	l.keep(channel, said)
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
	frame, err := l.shared.Get(ctx, channel)
	if err != nil || frame == nil {
		return // nobody can say: the subscriber is told that nothing is kept
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.kept.Contains(channel) { // its time is not known: whatever comes counts as later
		l.keep(channel, last{frame: frame, expires: time.Now().Add(lastsFor)})
	}
}

// run hands what is said to the others until ctx ends, and then what is left. What cannot be handed over is tried again.
func (l *lasts) run(ctx context.Context, logger *slog.Logger) {
	again := time.NewTimer(lastsAgain)
	again.Stop()
	defer again.Stop()
	for ended := false; !ended; {
		select {
		case <-l.bell:
		case <-again.C:
		case <-ctx.Done():
			ended = true
		}
		if err := l.share(context.WithoutCancel(ctx)); err != nil {
			logger.DebugContext(ctx, "the last events of cache channels are kept by this node alone", "event", "lasts.alone", "error", err)
			again.Reset(lastsAgain)
		}
	}
}

// share hands over what is owed, part by part. What cannot be handed over is still owed, unless its channel has said more.
func (l *lasts) share(ctx context.Context) error {
	l.mu.Lock()
	owed := l.owed
	l.owed = map[string]last{}
	l.mu.Unlock()
	for part := range slices.Chunk(slices.Collect(maps.Keys(owed)), lastsPart) {
		if err := l.hand(ctx, part, owed); err != nil {
			l.owe(owed)
			return err
		}
	}
	return nil
}

// owe puts back what could not be handed over.
func (l *lasts) owe(owed map[string]last) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for channel, said := range owed {
		if _, newer := l.owed[channel]; !newer && len(l.owed) < lastsOwed {
			l.owed[channel] = said
		}
	}
}

// hand hands over what some channels said, and takes it out of what is owed.
func (l *lasts) hand(ctx context.Context, channels []string, owed map[string]last) error {
	at, frames := make([]int64, len(channels)), make([][]byte, len(channels))
	for i, channel := range channels {
		at[i], frames[i] = owed[channel].at, owed[channel].frame
	}
	ctx, cancel := context.WithTimeout(ctx, lastsLimit)
	defer cancel()
	err := l.shared.Put(ctx, channels, at, frames, lastsFor)
	if err == nil {
		for _, channel := range channels {
			delete(owed, channel)
		}
	}
	return err
}
