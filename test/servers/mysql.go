package servers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// EnvMySQLD selects MySQL for the private servers of tests: the folder that scripts/mysql.sh prints. Without it they are MariaDB.
const EnvMySQLD = "ORDERFLOW_TEST_MYSQLD"

// Database starts the SQL server that tests run on, on a new, empty data folder below dir (see Folder): MySQL where EnvMySQLD
// names one, else MariaDB. It is durable unless flags state otherwise: --NAME=VALUE, as both servers spell it; later ones win.
// Its user root has no password.
func Database(ctx context.Context, dir string, flags ...string) (*Server, error) {
	home := os.Getenv(EnvMySQLD)
	if home == "" {
		return MariaDB(ctx, dir, flags...)
	}
	s, err := newMySQL(ctx, home, dir, flags...)
	if err != nil {
		return nil, err
	}
	return s, s.Start(ctx)
}

// newMySQL makes a MySQL server that is not started yet, from the folder home. It runs as the user of this process.
func newMySQL(ctx context.Context, home, dir string, flags ...string) (s *Server, err error) {
	s = &Server{name: "mysqld", path: filepath.Join(home, "mysqld"), answers: greets}
	if s.port, err = FreePort(); err != nil {
		return nil, err
	}
	s.dir = filepath.Join(dir, "mysql-"+strconv.Itoa(s.port))
	if err := own(s.dir, nil); err != nil {
		return nil, err
	}
	data := filepath.Join(s.dir, "data")
	fill := exec.CommandContext(ctx, "cp", "-R", filepath.Join(home, "data"), data)
	if output, err := fill.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("copy MySQL's data directory (%s is for the folder that scripts/mysql.sh prints): %w: %s", EnvMySQLD, err, output)
	}
	s.args = append([]string{
		"--datadir=" + data, "--tmpdir=" + s.dir, "--socket=" + filepath.Join(s.dir, "s"), "--pid-file=" + filepath.Join(s.dir, "pid"),
		"--port=" + strconv.Itoa(s.port), "--bind-address=127.0.0.1", "--skip-name-resolve",
		"--innodb-flush-log-at-trx-commit=1", "--sync-binlog=1", "--innodb-buffer-pool-size=256M", "--max-connections=500",
		// By default it takes half a gigabyte before the first table, and several servers run at the same time.
		"--innodb-redo-log-capacity=64M", "--innodb-log-buffer-size=8M", "--key-buffer-size=8K",
		"--table-open-cache=1000", "--table-definition-cache=1000",
		"--performance-schema-max-thread-instances=600", "--performance-schema-max-table-instances=1000",
		"--performance-schema-accounts-size=10", "--performance-schema-hosts-size=10", "--performance-schema-users-size=10",
		"--performance-schema-digests-size=200", "--performance-schema-error-size=100",
	}, flags...)
	return s, nil
}
