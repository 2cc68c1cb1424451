package config

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

func row(t testing.TB, flag string) Setting {
	t.Helper()
	for _, s := range Table() {
		if s.Flag == flag {
			return s
		}
	}
	t.Fatalf("no setting --%s", flag)
	return Setting{}
}

// Accepted values, and how they are printed.
func TestAccepted(t *testing.T) {
	for flag, values := range map[string]map[string]string{
		"addr": {
			"127.0.0.1:0": "127.0.0.1:0", ":8000": ":8000", "[::1]:80": "[::1]:80", "localhost:65535": "localhost:65535", "off": "off",
			"orderflow_api.internal:8000": "orderflow_api.internal:8000",
		},
		"rate-limit":        {"60/m": "60/m", "1000000/s": "1000000/s", "off": "off", "060/m": "60/m"},
		"trusted-proxies":   {"": "", "10.0.0.0/8, fd00::/8": "10.0.0.0/8,fd00::/8", "192.0.2.7/32": "192.0.2.7/32"},
		"allowed-origins":   {"": "", "https://Shop.example:443,http://localhost:3000": "https://shop.example,http://localhost:3000", "http://[::1]:80": "http://[::1]", "capacitor://localhost,tauri://localhost:1": "capacitor://localhost,tauri://localhost:1"},
		"roles":             {"api": "api", "worker": "worker", "worker, api": "api,worker", "realtime": "realtime", "realtime,worker,api": "api,worker,realtime"},
		"realtime-addr":     {"127.0.0.1:0": "127.0.0.1:0", ":8080": ":8080"},
		"realtime-app-id":   {"orderflow": "orderflow", "1": "1", "a_b-C": "a_b-C"},
		"realtime-key":      {strings.Repeat("k", 64): strings.Repeat("k", 64)},
		"backoff":           {"1s,3s,5s": "1s,3s,5s", "0": "0", "1500ms": "1.5s"},
		"lease":             {"3600s": "1h", "90s": "1m30s", "1h0m1s": "1h0m1s"},
		"max-time":          {"0": "0", "0s": "0", "24h": "24h"},
		"simulated-latency": {"0": "0", "50ms-200ms": "50ms-200ms", "1s": "1s", "0-1s": "0-1s", "5ms-5ms": "5ms"},
		"simulated-success": {"0": "0", "1": "1", ".5": "0.5", "0.80": "0.8", "1.0": "1"},
		"currency":          {"USD": "USD", "EUR": "EUR", "CHF": "CHF"},
		"database": {
			"sqlite:orderflow.db": "sqlite:orderflow.db", "sqlite:/var/lib/my orders/ö.db": "sqlite:/var/lib/my orders/ö.db",
			"mysql://shop:secret@db:3307/shop":                                "mysql://shop:secret@db:3307/shop",
			"mysql://root@127.0.0.1/order-flow_2":                             "mysql://root@127.0.0.1/order-flow_2",
			"mysql://a%40b:p%2Fw%3A%25@[::1]:3306/d":                          "mysql://a%40b:p%2Fw%3A%25@[::1]:3306/d",
			"mysql://u:p@db.internal/d?tls=skip-verify":                       "mysql://u:p@db.internal/d?tls=skip-verify",
			"mysql://u:p@db/d?tls=true":                                       "mysql://u:p@db/d?tls=true",
			"mysql://u:p@db/d?tls=true&ca=/etc/ca.pem":                        "mysql://u:p@db/d?tls=true&ca=/etc/ca.pem",
			"postgres://shop:secret@db:5433/shop":                             "postgres://shop:secret@db:5433/shop",
			"postgresql://shop@db/shop?sslmode=require":                       "postgresql://shop@db/shop?sslmode=require",
			"postgres://u:p@db/d?sslmode=verify-full&sslrootcert=/etc/ca.pem": "postgres://u:p@db/d?sslmode=verify-full&sslrootcert=/etc/ca.pem",
			"mysql://u:@db/" + strings.Repeat("x", 64) + "?":                  "mysql://u:@db/" + strings.Repeat("x", 64) + "?",
		},
		"database-read": {"postgres://u:p@replica/d": "postgres://u:p@replica/d", "": "", "mysql://u:p@replica/d?tls=false": "mysql://u:p@replica/d?tls=false"},
		"database-pool": {"1": "1", "500": "500"},
		"redis": {
			"": "", "redis://localhost": "redis://localhost", "rediss://u:p%20w@r:6380/": "rediss://u:p%20w@r:6380/",
			"redis://:secret@127.0.0.1:6379/15":           "redis://:secret@127.0.0.1:6379/15",
			"redis://a:1,b:2,[::1]:3":                     "redis://a:1,b:2,[::1]:3",
			"redis://[::1]/0":                             "redis://[::1]/0",
			"redis://u:p@s1:26379,s2?master_set=mymaster": "redis://u:p@s1:26379,s2?master_set=mymaster",
			"rediss://r?ca=/etc/ssl/redis-ca.pem":         "rediss://r?ca=/etc/ssl/redis-ca.pem",
		},
		"redis-prefix":       {"": "", "shop:": "shop:", strings.Repeat("~", 64): strings.Repeat("~", 64)},
		"gateway":            {"simulated": "simulated", "http://127.0.0.1:9000": "http://127.0.0.1:9000", "https://pay.example/v1?x=1": "https://pay.example/v1?x=1"},
		"auth":               {"optional": "optional", "required": "required", "": ""},
		"log-level":          {"debug": "debug", "info": "info", "warn": "warn", "error": "error"},
		"worker-concurrency": {"1": "1", "10000": "10000"},
	} {
		for text, want := range values {
			var s Settings
			if err := row(t, flag).set(&s, text); err != nil {
				t.Errorf("--%s %q: %v", flag, text, err)
			} else if got := row(t, flag).print(&s); got != want {
				t.Errorf("--%s %q prints as %q, want %q", flag, text, got, want)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	for flag, values := range map[string][]string{
		"addr": {
			"", "8000", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:http", "127.0.0.1:+80", "::1:80", "a b:80",
			"http://x:80", "127.0.0.1:080", "off ",
		},
		"rate-limit":        {"", "60", "0/m", "-1/s", "60/h", "60/", "60 /m", "1000001/s", "Off", "1.5/s", "60/m/s"},
		"trusted-proxies":   {"10.0.0.1", "10.0.0.1/8", "10.0.0.0/33", "example.com", "10.0.0.0/8,,fd00::/8", "10.0.0.0/8,", "::ffff:10.0.0.0/104"},
		"allowed-origins":   {"*", "shop.example", "https://shop.example/", "https://shop.example/x", "ftp://x", "https://", "https://u@x", "https://x:", "https://x:0x1", "null", "ionic://", "capacitor://localhost/", "file://x"},
		"realtime-addr":     {"", "off", "8080"},
		"realtime-app-id":   {"", "a/b", "a b", "ö", strings.Repeat("x", 65)},
		"realtime-key":      {"", "a?b"},
		"realtime-secret":   {"a\nb", strings.Repeat("x", 4097)},
		"roles":             {"", "realtimes", "api,api", "API", "api,", "all"},
		"backoff":           {"", "1s,", "-1s", "1", "25h", strings.Repeat("1s,", 100) + "1s"},
		"lease":             {"", "30", "0", "-30s", "25h", "+30s", "999ms", "1e3s"},
		"simulated-latency": {"", "200ms-50ms", "50-200", "50ms-", "-50ms", "50ms-200ms-1s", "2h"},
		"simulated-success": {"", "1.1", "-0.1", "80%", "NaN", "Inf", "1e-1", "0x1p-2", "0_1", "."},
		"currency":          {"", "usd", "JPY", "KWD", "XXX", "USD EUR", "D E", "   ", "US"},
		"database": {
			"", "orderflow.db", "sqlite:", "sqlite::memory:", "sqlite://x.db", "sqlite:x.db?mode=ro", "postgres://h/d", "sqlite:a\nb",
			"mysql:", "mysql://", "mysql:shop", "mysql://u:p@h", "mysql://u:p@h/", "mysql://h/d", "mysql://:p@h/d", "mysql://u:p@/d", "mysql://u:p@:3306/d",
			"mysql://u:p@h:/d", "mysql://u:p@h:0x1/d", "mysql://u:p@h:70000/d", "mysql://u:p@h/d/e", "mysql://u:p@h/d`e", "mysql://u:p@h/ö", "mysql://u:p@h/d#x",
			"mysql://u:p@h/d?tls=maybe", "mysql://u:p@h/d?tls=true&tls=true", "mysql://u:p@h/d?ca=x", "mysql://u:p@h/d?tls=skip-verify&ca=x", "mysql://u:p@h/d?tls=true&ca=", "mysql://u:p@h/d?%zz", "mysql://u:%zz@h/d",
			"postgres:", "postgres://h/d", "postgres://u:p@h", "postgres://u:p@h,i/d", "postgres://u:p@h/d?tls=true", "postgres://u:p@h/d?sslmode=no",
			"postgres://u:p@h/d?options=-csearch_path=x", "postgres:u@h/d",
			"mysql://u:p@h/" + strings.Repeat("x", 65), "mysql://u:p@h,i/d", "mysql://u:p@h/d\n", "MySQL://u:p@h/d",
		},
		"database-read": {"sqlite:x.db", "mysql://u:p@h", "x"},
		"database-pool": {"", "0", "501", "-1"},
		"redis": {
			"localhost", "redis://", "redis:localhost", "http://localhost", "redis://a:x", "redis://a:", "redis://a,,b", "redis://a,", "redis://a b", "redis://::1",
			"redis://a/x", "redis://a/-1", "redis://a/1/2", "redis://a,b/1", "redis://a?db=1", "redis://a?ca=x", "rediss://a?ca=", "redis://a?master_set=", "redis://a?master_set=x&master_set=y",
			"redis://a#1", "redis://u:%zz@a", "redis://u:p@", "redis://[::1", "redis://a\n",
		},
		"redis-prefix":       {"a b", "{x}", "x}", "ö", "\t", strings.Repeat("x", 65)},
		"gateway":            {"", "Simulated", "pay.example", "ftp://x", "https://", "https://u:p@x", "https://x#y", "https://a b", "https://x:99999", "http://x\n"},
		"auth":               {"Required", "Optional", "off", "required "},
		"log-level":          {"", "INFO", "info+1", "trace"},
		"log-format":         {"", "xml"},
		"worker-concurrency": {"", "0", "-1", "10001", "1e3", "99999999999999999999", " 1", "1.0", "+1"},
		"batch-max":          {"0", "10001"},
		"gateway-secret":     {"a\nb", "\xff", strings.Repeat("x", 4097)},
		"simulated-seed":     {strings.Repeat("x", 65), "a\tb"},
	} {
		for _, text := range values {
			s := Defaults()
			if err := row(t, flag).set(&s, text); err == nil {
				t.Errorf("--%s %q was accepted as %q", flag, text, row(t, flag).print(&s))
			} else if strings.ContainsAny(err.Error(), "\n\x00") {
				t.Errorf("--%s %q: the error is not one line: %v", flag, text, err)
			}
			if !reflect.DeepEqual(s, Defaults()) {
				t.Errorf("--%s %q: refused, but the settings changed", flag, text)
			}
		}
	}
}

func TestTypedValues(t *testing.T) {
	s := mustParse(t, []string{
		"--rate-limit=5/s", "--simulated-latency=1ms-2ms", "--trusted-proxies=10.0.0.0/8", "--roles=worker", "--backoff=1s,2s",
	}, nil, "")
	if s.RateLimit != (Rate{5, time.Second}) || s.SimulatedLatency != (Span{time.Millisecond, 2 * time.Millisecond}) ||
		s.TrustedProxies[0] != netip.MustParsePrefix("10.0.0.0/8") || s.Roles != (Roles{Worker: true}) || s.Backoff[1] != 2*time.Second {
		t.Errorf("%+v", s)
	}
}

func TestLoopback(t *testing.T) {
	for addr, want := range map[Addr]bool{
		"127.0.0.1:1": true, "127.9.9.9:1": true, "[::1]:1": true, "localhost:1": true, "LocalHost:1": true, "off": true,
		"[::ffff:127.0.0.1]:1": true,
		":1":                   false, "0.0.0.0:1": false, "[::]:1": false, "192.0.2.1:1": false, "localhost.example:1": false, "db:1": false,
	} {
		if addr.Loopback() != want {
			t.Errorf("%s: loopback %v", addr, !want)
		}
	}
}

// A value that a setting accepts prints as a text that parses to the same value. A refused value gives an error of one line.
func FuzzSetting(f *testing.F) {
	table := Table()
	for i, s := range table {
		f.Add(uint8(i), s.Default)
		f.Add(uint8(i), other(s.Flag))
	}
	f.Fuzz(func(t *testing.T, i uint8, text string) {
		row := table[int(i)%len(table)]
		var first, second Settings
		if err := row.set(&first, text); err != nil {
			if strings.ContainsAny(err.Error(), "\n\r\x00\x1b") {
				t.Fatalf("--%s: error %q", row.Flag, err)
			}
			return
		}
		printed := row.print(&first)
		if err := row.set(&second, printed); err != nil {
			t.Fatalf("--%s: %q prints as %q: %v", row.Flag, text, printed, err)
		}
		if !reflect.DeepEqual(first, second) || row.print(&second) != printed {
			t.Fatalf("--%s: %q prints as %q, which reads as %q", row.Flag, text, printed, row.print(&second))
		}
	})
}
