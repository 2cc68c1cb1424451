package serverstest_test

import (
	"context"
	"testing"
	"time"

	"orderflow/internal/servers"
	"orderflow/internal/servers/serverstest"
)

// TestReplicated: the replica follows the primary.
func TestReplicated(t *testing.T) {
	t.Parallel()
	primary, replica, err := servers.Replicated(t.Context(), serverstest.Folder(t))
	serverstest.Started(t, primary, err)
	serverstest.Started(t, replica, err)
	there := serverstest.Admin(t, servers.MySQLURL(primary.Addr(), ""))
	here := serverstest.Admin(t, servers.MySQLURL(replica.Addr(), ""))
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
