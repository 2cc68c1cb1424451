package cli

import "sync"

// lastBytes keeps the end of what is written to it.
type lastBytes struct {
	max  int
	lock sync.Mutex
	kept []byte
}

// Write implements io.Writer; it never fails.
func (l *lastBytes) Write(p []byte) (int, error) {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.kept = append(l.kept, p...)
	if over := len(l.kept) - l.max; over > 0 {
		l.kept = append(l.kept[:0], l.kept[over:]...)
	}
	return len(p), nil
}

// String is what was kept.
func (l *lastBytes) String() string {
	l.lock.Lock()
	defer l.lock.Unlock()
	return string(l.kept)
}
