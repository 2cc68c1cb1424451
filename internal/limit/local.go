package limit

import (
	"context"
	"hash/maphash"
	"strings"
	"sync"
	"time"
)

// DefaultKeys is the number of buckets that a Local of a server keeps: some 20 MB when all are in use.
const DefaultKeys = 100_000

// maxShards is the number of mutexes over which the keys are spread, so that requests on several processors rarely wait for each other.
const maxShards = 64

// Local is the in-process adapter. It serves the embedded server, and counts while a shared limiter cannot be reached. Each new key drops
// up to two buckets that are full again and, when the bound is reached, the least recently used one. The key of that one then begins
// with a full bucket, which happens only when more keys than the bound come within one period. Make one with NewLocal; there is nothing
// to close.
type Local struct {
	start  time.Time
	seed   maphash.Seed // random for each Local, so that clients cannot choose keys of one shard
	shards []shard
}

// shard is a part of the keys.
type shard struct {
	max int // buckets

	mu      sync.Mutex
	buckets map[identity]*bucket
	ends    bucket // of the ring in order of use: ends.newer is the least recently used bucket, ends.older the most recently used

	_ [64]byte // keeps shards off each other's cache lines
}

// identity identifies a bucket.
type identity struct {
	key  string
	rate Rate
}

// bucket is the bucket of one key and rate.
type bucket struct {
	identity

	level int64         // parts of tokens, see Rate.take
	at    time.Duration // of level, since the Local's start
	full  time.Duration // when the bucket will be full, since the Local's start

	older, newer *bucket
}

// NewLocal returns a Local that keeps at most this number of buckets, at least 1. Servers use DefaultKeys.
func NewLocal(keys int) *Local {
	keys = max(1, keys)
	l := &Local{start: time.Now(), seed: maphash.MakeSeed(), shards: make([]shard, min(maxShards, keys))}
	for i := range l.shards {
		s := &l.shards[i]
		s.max = keys / len(l.shards)
		s.buckets = make(map[identity]*bucket)
		s.ends.older, s.ends.newer = &s.ends, &s.ends
	}
	return l
}

// Features returns that the buckets are of this process only, and how many it keeps.
func (l *Local) Features() Features {
	return Features{Shared: false, Keys: len(l.shards) * l.shards[0].max}
}

// Allow implements Limiter. It does not wait and ignores ctx; its only error is that of a rate outside its bounds.
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

// add adds a full bucket, and drops others for it.
func (s *shard) add(id identity, now time.Duration) *bucket {
	for range 2 { // two are dropped for each one that is added, so that full ones do not accumulate
		if oldest := s.ends.newer; oldest != &s.ends && oldest.full <= now {
			s.drop(oldest)
		}
	}
	if len(s.buckets) >= s.max {
		s.drop(s.ends.newer)
	}
	id.key = strings.Clone(id.key) // the caller's string may be a part of a larger one
	b := &bucket{identity: id, level: id.rate.full(), at: now}
	s.buckets[id] = b
	return b
}

func (s *shard) drop(b *bucket) {
	b.unlink()
	delete(s.buckets, b.identity)
}

// use makes a bucket the most recently used one.
func (s *shard) use(b *bucket) {
	b.older, b.newer = s.ends.older, &s.ends
	b.older.newer, b.newer.older = b, b
}

func (b *bucket) unlink() {
	b.older.newer, b.newer.older = b.newer, b.older
}
