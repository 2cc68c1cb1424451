package servers

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
)

// Replicated starts two MariaDB servers below dir (see Folder): a primary, and a read-only replica that follows it, as soon
// as it can and no sooner.
func Replicated(ctx context.Context, dir string, flags ...string) (primary, replica *Server, err error) {
	primary, err = MariaDB(ctx, dir, append([]string{"--log-bin=binlog", "--binlog-format=ROW", "--server-id=1"}, flags...)...)
	if err != nil {
		return nil, nil, err
	}
	replica, err = MariaDB(ctx, dir, append([]string{"--server-id=2", "--read-only"}, flags...)...)
	if err == nil {
		_, err = query(ctx, replica.port, fmt.Sprintf(
			"CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=%d, MASTER_USER='root', MASTER_USE_GTID=slave_pos; START SLAVE", primary.port))
	}
	if err != nil {
		err = errors.Join(err, primary.Kill())
		if replica != nil {
			err = errors.Join(err, replica.Kill())
		}
		return nil, nil, err
	}
	return primary, replica, nil
}

// query has a MariaDB server carry statements out, by the client that comes with it, and returns what they print.
func query(ctx context.Context, port int, statements string) (string, error) {
	client, err := find("mariadb", "mariadb-client")
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	said, err := exec.CommandContext(ctx, client, "--no-defaults", "--user=root", "--host=127.0.0.1", "--port="+strconv.Itoa(port),
		"--connect-timeout=1", "--skip-column-names", "--execute="+statements).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", statements, err, said)
	}
	return string(said), err
}
