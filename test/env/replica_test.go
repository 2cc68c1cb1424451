package env_test

import (
	"testing"

	"orderflow/test/env"
	"orderflow/test/servers"
)

// TestReplicated: the replica follows the primary.
func TestReplicated(t *testing.T) {
	t.Parallel()
	primary, replica, err := servers.Replicated(t.Context(), env.Folder(t))
	env.Started(t, primary, err)
	env.Started(t, replica, err)
	there := env.Admin(t, servers.MySQLURL(primary.Addr(), ""))
	here := env.Admin(t, servers.MySQLURL(replica.Addr(), ""))
	if _, err := there.Exec("CREATE DATABASE shop; CREATE TABLE shop.orders (id INT PRIMARY KEY); INSERT INTO shop.orders VALUES (7)"); err != nil {
		t.Fatal(err)
	}
	env.EventuallyNil(t, "the replica has the order", func() error {
		var id int
		return here.QueryRow("SELECT id FROM shop.orders WHERE id = 7").Scan(&id)
	})
}
