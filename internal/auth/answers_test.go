package auth

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestAnswers holds answers against a model: nothing is remembered too long, nothing wrong, never too much, and what is among
// the newest is there.
func TestAnswers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		room := rapid.IntRange(1, 8).Draw(t, "room")
		a := newAnswers[int](room)
		type entry struct {
			key   digest
			value int
			until time.Time
		}
		var put []entry          // newest last
		gone := map[digest]int{} // forgotten when so many were put
		now := time.Unix(1000, 0)
		for i := range rapid.IntRange(1, 100).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "pause")) * time.Second)
			key := digest{byte(rapid.IntRange(0, 11).Draw(t, "key"))}
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				a.forget(key)
				gone[key] = len(put)
			case 1:
				value, ok := a.get(key, now)
				last := entry{value: -1}
				for _, p := range put[gone[key]:] {
					if p.key == key && now.Before(p.until) {
						last = p
					}
				}
				if ok && value != last.value {
					t.Fatalf("step %d: %d is remembered, the last was %+v", i, value, last)
				}
			default:
				put = append(put, entry{key, i, now.Add(5 * time.Second)})
				a.put(key, i, now, now.Add(5*time.Second))
				if value, ok := a.get(key, now); !ok || value != i {
					t.Fatalf("step %d: what was just put is %d, %t", i, value, ok)
				}
			}
			if len(a.known) > room || len(a.queue)-a.first > room || len(a.queue) > 2*room+2 {
				t.Fatalf("%d known, %d in the queue from %d, with room for %d", len(a.known), len(a.queue), a.first, room)
			}
		}
	})
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
