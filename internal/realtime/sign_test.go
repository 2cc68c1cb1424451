package realtime

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"orderflow/internal/order"
)

// documented is the application in the examples of Pusher's documentation.
func documented() App {
	return App{ID: "3", Key: "278d425bdf160c739803", Secret: "7ad3773142a6692b25b8"}
}

func TestSignChannelAsDocumented(t *testing.T) {
	app := documented()
	const want = "278d425bdf160c739803:58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4"
	if got := app.SignChannel("1234.1234", "private-foobar"); got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	if !app.allows(want, "1234.1234", "private-foobar", "") {
		t.Error("the signature is not accepted")
	}
	for name, ok := range map[string]bool{
		"another socket":  app.allows(want, "1234.1235", "private-foobar", ""),
		"another channel": app.allows(want, "1234.1234", "private-foobaz", ""),
		"with data":       app.allows(want, "1234.1234", "private-foobar", "{}"),
		"another key":     app.allows(strings.Replace(want, "278d", "278e", 1), "1234.1234", "private-foobar", ""),
		"cut short":       app.allows(want[:len(want)-1], "1234.1234", "private-foobar", ""),
		"empty":           app.allows("", "1234.1234", "private-foobar", ""),
	} {
		if ok {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestRequestAsDocumented(t *testing.T) {
	const (
		body  = `{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}`
		query = "auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&body_md5=ec365a775a4cd0599faeb73354201b6f" +
			"&auth_signature=da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c"
		path = "/apps/3/events"
	)
	at := time.Unix(1353088179, 0)
	check := func(method, path, query, body string, now time.Time) error {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if err := documented().checkRequest(method, path, values, now); err != nil {
			return err
		}
		return checkBody(values, []byte(body))
	}
	for _, skew := range []time.Duration{0, 600 * time.Second, -600 * time.Second} {
		if err := check("POST", path, query, body, at.Add(skew)); err != nil {
			t.Errorf("%s later: %v", skew, err)
		}
	}
	for name, err := range map[string]error{
		"too late":            check("POST", path, query, body, at.Add(601*time.Second)),
		"too early":           check("POST", path, query, body, at.Add(-601*time.Second)),
		"another body":        check("POST", path, query, body+" ", at),
		"no body":             check("POST", path, query+"&x=1", "", at),
		"another path":        check("POST", "/apps/4/events", query, body, at),
		"another method":      check("PUT", path, query, body, at),
		"another key":         check("POST", path, strings.Replace(query, "278d", "278e", 1), body, at),
		"a parameter more":    check("POST", path, query+"&dry_run=1", body, at),
		"a parameter twice":   check("POST", path, query+"&auth_version=1.0", body, at),
		"no signature":        check("POST", path, query[:strings.Index(query, "&auth_signature")], body, at),
		"another version":     check("POST", path, strings.Replace(query, "version=1.0", "version=1.1", 1), body, at),
		"a time that is none": check("POST", path, strings.Replace(query, "1353088179", "soon", 1), body, at),
	} {
		if order.CodeOf(err) != order.CodeUnauthenticated {
			t.Errorf("%s: %v", name, err)
		}
	}
}

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
		if got := [3]bool{validChannel(name), isPrivate(name), isCache(name)}; got != want {
			t.Errorf("%q: valid, private, cache = %v, want %v", name, got, want)
		}
	}
}
