package auth

import (
	"testing"
	"time"
)

func TestCache(t *testing.T) {
	c, now := newCache[int](2), time.Unix(1000, 0)
	want := func(key byte, at time.Time, value int, found bool) {
		t.Helper()
		if got, ok := c.get(digest{key}, at); got != value || ok != found {
			t.Errorf("%d at %v is %d, %t, want %d, %t", key, at, got, ok, value, found)
		}
	}
	c.put(digest{1}, 10, now.Add(time.Second))
	want(1, now.Add(time.Second-1), 10, true)
	want(1, now.Add(time.Second), 0, false) // expired
	c.put(digest{1}, 11, now.Add(time.Minute))
	c.put(digest{2}, 20, now.Add(time.Minute))
	want(1, now, 11, true)
	c.put(digest{3}, 30, now.Add(time.Minute))
	want(2, now, 0, false) // the least recently used one was dropped
	want(1, now, 11, true)
	want(3, now, 30, true)
}

func TestWellFormed(t *testing.T) {
	for token, want := range map[string]bool{
		"of_ABCDEFGHIJKLMNOPQRSTUVWXYZ": true, "of_23456723456723456723456723": true,
		"": false, "of_": false, "of_ABCDEFGHIJKLMNOPQRSTUVWXY": false, "of_ABCDEFGHIJKLMNOPQRSTUVWXYZ2": false,
		"of_abcdefghijklmnopqrstuvwxyz": false, "OF_ABCDEFGHIJKLMNOPQRSTUVWXYZ": false, "xx_ABCDEFGHIJKLMNOPQRSTUVWXYZ": false,
		"of_ABCDEFGHIJKLMNOPQRSTUVWXY1": false, "of_ABCDEFGHIJKLMNOPQRSTUVWXY\x00": false, "of_ABCDEFGHIJKLMNOPQRSTUVWXY'": false,
	} {
		if wellFormed(token) != want {
			t.Errorf("%q: want %t", token, want)
		}
	}
}
