package servers

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// RedisCluster starts a Redis Cluster of three masters below dir (see Folder), each with that many replicas, and waits until
// all of it works. A master that does not answer for a second is replaced by a replica of its own, if it has one. The
// masters come first.
func RedisCluster(ctx context.Context, dir string, replicas int, flags ...string) (nodes []*Server, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, endAll(nodes))
			nodes = nil
		}
	}()
	tool, err := find("redis-cli", "redis-tools")
	if err != nil {
		return nil, err
	}
	const masters = 3
	create := []string{"--cluster", "create"}
	for range masters * (1 + replicas) {
		port, err := FreePort()
		if err != nil {
			return nodes, err
		}
		// Without a delay before a replica's first copy, since a master that is lost before that has no heir.
		node, err := Redis(ctx, dir, append([]string{
			"--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-port", strconv.Itoa(port),
			"--cluster-node-timeout", "1000", "--repl-diskless-sync-delay", "0",
		}, flags...)...)
		if err != nil {
			return nodes, err
		}
		nodes = append(nodes, node)
		create = append(create, node.Addr())
	}
	create = append(create, "--cluster-replicas", strconv.Itoa(replicas), "--cluster-yes")
	if said, err := exec.CommandContext(ctx, tool, create...).CombinedOutput(); err != nil {
		return nodes, fmt.Errorf("redis-cli: %w: %s", err, said)
	}
	for i, node := range nodes {
		if err := says(ctx, node.Addr(), "CLUSTER INFO", "cluster_state:ok", fmt.Sprintf("cluster_known_nodes:%d", len(nodes))); err != nil {
			return nodes, err
		}
		if i < masters {
			continue
		}
		if err := says(ctx, node.Addr(), "INFO replication", "master_link_status:up"); err != nil {
			return nodes, err
		}
	}
	return nodes, nil
}

// RedisClusterURL is the address of a Redis Cluster, as --redis takes it.
func RedisClusterURL(nodes []*Server) string {
	addrs := make([]string, len(nodes))
	for i, node := range nodes {
		addrs[i] = node.Addr()
	}
	return RedisURL(strings.Join(addrs, ","))
}
