package redis

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSentinelLogin: Sentinels do not get the user name, which they would refuse, but the password, which may be theirs too. A Sentinel
// without a password accepts any for its default user.
func TestSentinelLogin(t *testing.T) {
	option, err := parse("redis://shop:secret@127.0.0.1:1,127.0.0.1:2?master_set=shop")
	if err != nil {
		t.Fatal(err)
	}
	if option.Username != "shop" || option.Password != "secret" || option.Sentinel.Username != "" || option.Sentinel.Password != "secret" {
		t.Errorf("data %q %q, Sentinels %q %q", option.Username, option.Password, option.Sentinel.Username, option.Sentinel.Password)
	}
}

// TestSentinelOverTLS: Sentinels receive the password over TLS, and each host is verified by its own name.
func TestSentinelOverTLS(t *testing.T) {
	option, err := parse("rediss://shop:secret@one:1,two:2?master_set=shop")
	if err != nil {
		t.Fatal(err)
	}
	if option.Sentinel.TLSConfig == nil {
		t.Error("Sentinels are used without TLS")
	}
	if name := option.TLSConfig.ServerName; name != "" {
		t.Errorf("all hosts are verified as %q", name)
	}
}

// TestBadCA: the error names a file that is missing or has no certificate.
func TestBadCA(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{empty, empty + ".missing"} {
		if _, err := parse("rediss://:secret@host?ca=" + file); err == nil || !strings.Contains(err.Error(), file) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", file, err)
		}
	}
}
