package limit

import (
	"context"
	"hash/maphash"
	"strings"
	"sync"
	"time"
)

// DefaultKeys is how many buckets a Local keeps at most, save where a test wants fewer: some 20 MB when all are in use.
const DefaultKeys = 100_000

// maxShards is over how many mutexes the keys are spread, so that requests on several processors seldom meet.
const maxShards = 64

// Local is the in-process adapter: the buckets of one process. It is what the embedded server runs on, and what counts
// while a shared limiter cannot be reached. Each new key throws out a few that are full again, and when there is still
// no room, the one that was least lately used: whoever owned it then starts with a full bucket, which only a crowd of
// keys larger than the bound within one period can bring about. Make one with NewLocal; it has nothing to close.
type Local struct {
	start  time.Time
	seed   maphash.Seed // drawn anew for each Local, so that nobody can aim at one shard
	shards []shard
}

// shard is a part of the keys.
type shard struct {
	room int // buckets at most

	mu      sync.Mutex
	buckets map[identity]*bucket
	ends    bucket // of the ring in order of use: ends.newer is the least lately used, ends.older the latest

	_ [64]byte // keeps neighbours off each other's cache line
}

// identity is what makes a bucket another one.
type identity struct {
	key  string
	rate Rate
}

// bucket is one key's.
type bucket struct {
	identity

	level int64         // parts of tokens, see Rate.take
	at    time.Duration // since the Local's start, when level was so
	full  time.Duration // since the Local's start, when it will be full

	older, newer *bucket
}

// NewLocal returns a Local that keeps at most so many buckets (at least 1; DefaultKeys, save in tests).
func NewLocal(keys int) *Local {
	keys = max(1, keys)
	l := &Local{start: time.Now(), seed: maphash.MakeSeed(), shards: make([]shard, min(maxShards, keys))}
	for i := range l.shards {
		s := &l.shards[i]
		s.room = keys / len(l.shards)
		s.buckets = make(map[identity]*bucket)
		s.ends.older, s.ends.newer = &s.ends, &s.ends
	}
	return l
}

// Features says: this process only, and how many keys.
func (l *Local) Features() Features {
	return Features{Shared: false, Keys: len(l.shards) * l.shards[0].room}
}

// Len is the number of buckets kept.
func (l *Local) Len() int {
	n := 0
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		n += len(s.buckets)
		s.mu.Unlock()
	}
	return n
}

// Allow implements Limiter. It waits for nothing and ignores ctx; its only error is that of a rate outside its bounds.
func (l *Local) Allow(_ context.Context, key string, rate Rate) (Decision, error) {
	if rate.Off() {
		return Decision{Allowed: true}, nil
	}
	if err := rate.Check(); err != nil {
		return Decision{}, err
	}
	id := identity{Short(key), rate}
	s := &l.shards[maphash.String(l.seed, id.key)%uint64(len(l.shards))]

	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Since(l.start)
	b := s.buckets[id]
	if b == nil {
		b = s.add(id, now)
	} else {
		b.unlink()
	}
	s.use(b)
	var d Decision
	b.level, d = rate.take(b.level, now-b.at)
	b.at, b.full = now, now+d.Reset
	return d, nil
}

// add makes a full bucket, and room for it first.
func (s *shard) add(id identity, now time.Duration) *bucket {
	for range 2 { // two out for each one in: the full ones go sooner than they come
		if oldest := s.ends.newer; oldest != &s.ends && oldest.full <= now {
			s.drop(oldest)
		}
	}
	if len(s.buckets) >= s.room {
		s.drop(s.ends.newer)
	}
	id.key = strings.Clone(id.key) // the caller's may be a part of something larger
	b := &bucket{identity: id, level: id.rate.full(), at: now}
	s.buckets[id] = b
	return b
}

func (s *shard) drop(b *bucket) {
	b.unlink()
	delete(s.buckets, b.identity)
}

// use puts a bucket at the end of the latest used.
func (s *shard) use(b *bucket) {
	b.older, b.newer = s.ends.older, &s.ends
	b.older.newer, b.newer.older = b, b
}

func (b *bucket) unlink() {
	b.older.newer, b.newer.older = b.newer, b.older
}
