package env_test

import (
	"context"
	"testing"
	"time"

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
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for id := 0; id != 7; {
		err := here.QueryRow("SELECT id FROM shop.orders").Scan(&id)
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the replica has order %d: %v", id, err)
		}
	}
}
