package redis

import "testing"

// TestSentinelLogin: the user of the data is none of the Sentinels', which refuse a name that they do not know; the password
// may be theirs too, and one that asks for none takes any for its default user.
func TestSentinelLogin(t *testing.T) {
	option, err := parse("redis://shop:secret@127.0.0.1:1,127.0.0.1:2?master_set=shop")
	if err != nil {
		t.Fatal(err)
	}
	if option.Username != "shop" || option.Password != "secret" || option.Sentinel.Username != "" || option.Sentinel.Password != "secret" {
		t.Errorf("data %q %q, Sentinels %q %q", option.Username, option.Password, option.Sentinel.Username, option.Sentinel.Password)
	}
}
