package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// joinWithin is how long a node may take to join: it looks for the others, who look for those that are gone, and copies all
// data from one of them, which serves one at a time.
const joinWithin = 2 * time.Minute

// Galera starts n MariaDB servers below dir (see Folder) as one Galera cluster: each is a copy of the others, and each may
// be written to. One that was killed joins again when it is started again, as long as another one is there. A node that
// does not answer for 2 s is taken out of the cluster.
func Galera(ctx context.Context, dir string, n int, flags ...string) (nodes []*Server, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, endAll(nodes))
			nodes = nil
		}
	}()
	provider, err := findLibrary("libgalera_smm.so", "galera-4")
	if err != nil {
		return nil, err
	}
	if _, err := find("rsync", "rsync"); err != nil { // copies a node's data to one that joins
		return nil, err
	}
	members := make([]string, n)
	ports := make([]int, 3*n) // of the cluster's own talk, and of the two ways to catch up
	for i := range ports {
		if ports[i], err = FreePort(); err != nil {
			return nil, err
		}
	}
	for i := range members {
		members[i] = loopback(ports[3*i])
	}
	for i := range n {
		talk, increment, state := ports[3*i], ports[3*i+1], ports[3*i+2]
		node, err := newMariaDB(ctx, dir, append([]string{
			"--binlog-format=ROW", "--innodb-autoinc-lock-mode=2", "--innodb-buffer-pool-size=128M",
			"--wsrep-on=ON", "--wsrep-provider=" + provider, "--wsrep-cluster-name=orderflow", "--wsrep-node-name=" + strconv.Itoa(i),
			"--wsrep-node-address=127.0.0.1", "--wsrep-cluster-address=gcomm://" + strings.Join(members, ","),
			"--wsrep-sst-method=rsync", "--wsrep-sst-receive-address=" + loopback(state),
			fmt.Sprintf("--wsrep-provider-options=base_port=%d;gmcast.listen_addr=tcp://%s;ist.recv_addr=%s;gcache.size=64M;"+
				"evs.keepalive_period=PT0.5S;evs.suspect_timeout=PT2S;evs.inactive_timeout=PT4S", talk, members[i], loopback(increment)),
		}, flags...)...)
		if err != nil {
			return nodes, err
		}
		nodes = append(nodes, node)
		node.wait = joinWithin
		node.answers = synced(node.port) //nolint:contextcheck // it is asked at later starts, too
		join := node.args
		if i == 0 { // there is nobody to join
			node.args = slices.Concat(join, []string{"--wsrep-new-cluster"})
		}
		err = node.Start(ctx)
		node.args = join
		if err != nil {
			return nodes, err
		}
	}
	return nodes, nil
}

// synced asks a node whether it has all that the cluster has.
func synced(port int) func(net.Conn) error {
	return func(conn net.Conn) error {
		if err := greets(conn); err != nil {
			return err
		}
		said, err := query(context.Background(), port, "SHOW STATUS LIKE 'wsrep_local_state_comment'")
		if err == nil && !strings.Contains(said, "Synced") {
			err = fmt.Errorf("it is not in step with its cluster: %s", said)
		}
		return err
	}
}

// findLibrary returns the path of a library that a server loads, or says what to install.
func findLibrary(name, packages string) (string, error) {
	for _, dir := range []string{"/usr/lib/galera", "/usr/lib64/galera-4", "/usr/lib/galera-4", "/usr/lib64/galera"} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", missing(name, packages)
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// endAll kills servers that were started together.
func endAll(all []*Server) error {
	var errs []error
	for _, s := range all {
		errs = append(errs, s.Kill())
	}
	return errors.Join(errs...)
}
