package pusher_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"orderflow/internal/pusher"
)

// documented is the application in the examples of Pusher's documentation.
func documented() pusher.App {
	return pusher.App{ID: "3", Key: "278d425bdf160c739803", Secret: "7ad3773142a6692b25b8"}
}

func TestSignChannelAsDocumented(t *testing.T) {
	app := documented()
	const want = "278d425bdf160c739803:58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4"
	if got := app.SignChannel("1234.1234", "private-foobar"); got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	if !app.AllowsChannel(want, "1234.1234", "private-foobar", "") {
		t.Error("the signature is refused")
	}
	for name, allowed := range map[string]bool{
		"another socket":  app.AllowsChannel(want, "1234.1235", "private-foobar", ""),
		"another channel": app.AllowsChannel(want, "1234.1234", "private-foobaz", ""),
		"with data":       app.AllowsChannel(want, "1234.1234", "private-foobar", "{}"),
		"another key":     app.AllowsChannel(strings.Replace(want, "278d", "278e", 1), "1234.1234", "private-foobar", ""),
		"cut short":       app.AllowsChannel(want[:len(want)-1], "1234.1234", "private-foobar", ""),
		"empty":           app.AllowsChannel("", "1234.1234", "private-foobar", ""),
	} {
		if allowed {
			t.Errorf("%s: the signature is accepted", name)
		}
	}
}

// The request that Pusher's documentation of the HTTP API signs.
const (
	requestPath  = "/apps/3/events"
	requestBody  = `{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}`
	requestTime  = 1353088179
	requestQuery = "auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&body_md5=ec365a775a4cd0599faeb73354201b6f" +
		"&auth_signature=da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c"
)

// check checks a request as a server does: first the query, then the body.
func check(t *testing.T, method, path, query, body string, now time.Time) error {
	t.Helper()
	values, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	if err := documented().CheckRequest(method, path, values, now); err != nil {
		return err
	}
	return pusher.CheckBody(values, []byte(body))
}

func TestSignRequestAsDocumented(t *testing.T) {
	at := time.Unix(requestTime, 0)
	want, err := url.ParseQuery(requestQuery)
	if err != nil {
		t.Fatal(err)
	}
	if got := documented().SignRequest("POST", requestPath, []byte(requestBody), at); got.Encode() != want.Encode() {
		t.Errorf("got %s, want %s", got.Encode(), want.Encode())
	}
	for _, skew := range []time.Duration{0, 600 * time.Second, -600 * time.Second} {
		if err := check(t, "POST", requestPath, requestQuery, requestBody, at.Add(skew)); err != nil {
			t.Errorf("%s later: %v", skew, err)
		}
	}
}

func TestForgedRequest(t *testing.T) {
	at := time.Unix(requestTime, 0)
	const path, body, query = requestPath, requestBody, requestQuery
	for name, c := range map[string]struct {
		method, path, query, body string
		now                       time.Time
		want                      string
	}{
		"too late":              {"POST", path, query, body, at.Add(601 * time.Second), "auth_timestamp differs"},
		"too early":             {"POST", path, query, body, at.Add(-601 * time.Second), "auth_timestamp differs"},
		"another body":          {"POST", path, query, body + " ", at, "body_md5 does not match"},
		"no body":               {"POST", path, query, "", at, "body_md5 does not match"},
		"another path":          {"POST", "/apps/4/events", query, body, at, "wrong auth_signature"},
		"another method":        {"PUT", path, query, body, at, "wrong auth_signature"},
		"another key":           {"POST", path, strings.Replace(query, "278d", "278e", 1), body, at, "unknown auth_key"},
		"an added parameter":    {"POST", path, query + "&dry_run=1", body, at, "wrong auth_signature"},
		"a repeated parameter":  {"POST", path, query + "&auth_version=1.0", body, at, "duplicate query parameter"},
		"no signature":          {"POST", path, query[:strings.Index(query, "&auth_signature")], body, at, "wrong auth_signature"},
		"another version":       {"POST", path, strings.Replace(query, "version=1.0", "version=1.1", 1), body, at, "auth_version must be 1.0"},
		"a malformed timestamp": {"POST", path, strings.Replace(query, "1353088179", "soon", 1), body, at, "wrong auth_signature"},
	} {
		if err := check(t, c.method, c.path, c.query, c.body, c.now); !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// A body that was signed cannot be removed; a request without a body needs no MD5.
func TestCheckBody(t *testing.T) {
	if err := pusher.CheckBody(url.Values{}, nil); err != nil {
		t.Errorf("no body and no MD5: %v", err)
	}
	if err := pusher.CheckBody(url.Values{}, []byte("x")); err == nil {
		t.Error("a body without MD5 is accepted")
	}
}
