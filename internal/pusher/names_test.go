package pusher_test

import (
	"strings"
	"testing"

	"orderflow/internal/pusher"
)

func TestChannelNames(t *testing.T) {
	for name, want := range map[string][3]bool{ // valid, private, cache
		"news":                          {true, false, false},
		"private-orders.7":              {true, true, false},
		"private-cache-orders.7":        {true, true, true},
		"private-encrypted-cache-x":     {true, true, true},
		"cache-x":                       {true, false, true},
		"presence-cache-x":              {true, false, false},
		"a_b-c=d@e,f.g;h":               {true, false, false},
		"":                              {},
		"with space":                    {},
		"#server-to-user-1":             {},
		"ümlaut":                        {},
		strings.Repeat("x", 164):        {true, false, false},
		strings.Repeat("x", 165):        {},
		"private-" + "\x00":             {false, true, false},
		"private-cache-orders.1\r\nX:y": {false, true, true},
	} {
		if got := [3]bool{pusher.ValidChannel(name), pusher.IsPrivate(name), pusher.IsCache(name)}; got != want {
			t.Errorf("%q: valid, private, cache = %v, want %v", name, got, want)
		}
	}
}

func TestChannelUser(t *testing.T) {
	for name, want := range map[string]int64{
		pusher.OrdersChannel(7):                7,
		pusher.CacheOrdersChannel(7):           7,
		"private-orders.0":                     0,
		"private-orders.07":                    0,
		"private-orders.+7":                    0,
		"private-orders.-7":                    0,
		"private-orders.7x":                    0,
		"private-orders.":                      0,
		"private-orders.99999999999999999999":  0,
		"private-encrypted-cache-orders.7":     0,
		"orders.7":                             0,
		"7":                                    0,
		pusher.FeedChannel:                     0,
		"private-orders.7private-cache-orders": 0,
	} {
		if got := pusher.ChannelUser(name); got != want {
			t.Errorf("%q: user %d, want %d", name, got, want)
		}
	}
}

func TestSocketIDs(t *testing.T) {
	for id, want := range map[string]bool{
		pusher.NewSocketID():           true,
		"1.2":                          true,
		"":                             false,
		"12":                           false,
		"1.":                           false,
		".2":                           false,
		"1.2.3":                        false,
		"1.2:private-orders.1":         false,
		"1.x":                          false,
		"1." + strings.Repeat("2", 21): false,
	} {
		if got := pusher.ValidSocketID(id); got != want {
			t.Errorf("%q: valid = %v, want %v", id, got, want)
		}
	}
}
